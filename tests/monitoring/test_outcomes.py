"""Outcomes: every prediction with the label that was known at a time, and nothing that was known later."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import BUNDLES, START_US, Version, label, make_model, predict

from charkha.monitoring.outcomes import OutcomeReader, collect, outcomes
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import Home, open_home

LATE = make_model()
CHAMPION = Version("v1", "champion", [0.2, 0.8])
SHADOW = Version("v2", "shadow", [0.3, 0.7])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path) as home:
        yield home


def labels_by_id(rows: pl.DataFrame) -> dict[str, float | None]:
    return dict(rows.select("id", "_label").iter_rows())


def test_a_row_per_version_with_its_slices(home: Home) -> None:
    ids = predict(home, START_US, [CHAMPION, SHADOW])
    label(home, ids[:1], [1.0], START_US + HOUR_US)
    collect(home, LATE, BUNDLES)
    rows = outcomes(home, LATE, START_US, START_US + 1, START_US + DAY_US)
    assert rows.sort("id", "version").rows(named=True) == [
        {
            "id": ids[row],
            "_at_us": START_US,
            "version": version.name,
            "role": version.role,
            "score": version.scores[row],
            "decision": None,
            "request.carrier": carrier,
            "_label": truth,
            "_label_known_us": known,
        }
        for row, carrier, truth, known in [(0, "UA", 1.0, START_US + HOUR_US), (1, "AA", None, None)]
        for version in (CHAMPION, SHADOW)
    ]


@pytest.mark.parametrize("hours", [24, 30])
def test_a_label_counts_from_when_it_was_known(home: Home, hours: int) -> None:
    ids, known_us = predict(home, START_US, [CHAMPION]), START_US + hours * HOUR_US
    label(home, ids, [1.0, 0.0], known_us)
    collect(home, LATE, BUNDLES)
    before = outcomes(home, LATE, START_US, START_US + 1, known_us - 1)
    assert labels_by_id(before) == dict.fromkeys(ids)
    at = outcomes(home, LATE, START_US, START_US + 1, known_us)
    assert labels_by_id(at) == {ids[0]: 1.0, ids[1]: 0.0}


def test_the_label_known_last_counts(home: Home) -> None:
    ids = predict(home, START_US, [CHAMPION])
    label(home, ids, [1.0, 1.0], START_US + 9 * DAY_US, "web-0")
    label(home, ids[:1], [0.0], START_US + 2 * DAY_US, "web-1")
    label(home, ids[:1], [0.0], START_US + 9 * DAY_US, "web-0")
    collect(home, LATE, BUNDLES)
    found = [outcomes(home, LATE, START_US, START_US + 1, START_US + days * DAY_US) for days in (2, 9)]
    assert [labels_by_id(rows) for rows in found] == [{ids[0]: 0.0, ids[1]: None}, {ids[0]: 0.0, ids[1]: 1.0}]


def test_a_label_may_come_first(home: Home) -> None:
    """The clock of the process that logs labels may be a little behind."""
    ids = predict(home, START_US, [CHAMPION])
    label(home, ids, [1.0, 0.0], START_US - HOUR_US)
    collect(home, LATE, BUNDLES)
    assert labels_by_id(outcomes(home, LATE, START_US, START_US + 1, START_US)) == {ids[0]: 1.0, ids[1]: 0.0}


def test_labels_of_unknown_predictions_are_left_out(home: Home) -> None:
    predict(home, START_US, [CHAMPION])
    label(home, ["013dc2cb-b400-7000-8000-000000000000"], [1.0], START_US)
    collect(home, LATE, BUNDLES)
    assert outcomes(home, LATE, START_US, START_US + 1, START_US).get_column("_label").null_count() == 2


def test_a_window_holds_its_beginning_and_not_its_end(home: Home) -> None:
    ids = [predict(home, START_US + hours * HOUR_US, [CHAMPION])[0] for hours in (0, 12, 24)]
    collect(home, LATE, BUNDLES)
    rows = outcomes(home, LATE, START_US, START_US + DAY_US, START_US + DAY_US)
    assert set(rows.get_column("id")) >= set(ids[:2])
    assert ids[2] not in set(rows.get_column("id"))


def test_nothing_predicted_is_an_empty_table(home: Home) -> None:
    rows = outcomes(home, LATE, START_US, START_US + DAY_US, START_US + DAY_US)
    assert rows.height == 0
    assert {"id", "_label", "_label_known_us", "request.carrier"} <= set(rows.columns)


def test_a_slice_that_requests_had_not_is_null(home: Home) -> None:
    predict(home, START_US, [CHAMPION])
    collect(home, LATE, BUNDLES)
    rows = outcomes(home, make_model(slices=["carrier", "origin"]), START_US, START_US + 1, START_US)
    assert rows.get_column("request.origin").null_count() == 2


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), max_size=3)),
        min_size=1,
        max_size=12,
    ),
    st.integers(0, 6),
    st.integers(0, 5),
)
def test_outcomes_are_those_of_three_loops(
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[int, list[tuple[int, int]]]],
    as_of: int,
    since: int,
) -> None:
    """Predictions on days, their labels known days later; collected now and then, read by one reader all along."""
    with open_home(tmp_path_factory.mktemp("home")) as home:
        reader = OutcomeReader(home, LATE)
        expected: dict[str, float | None] = {}
        for number, (day, later) in enumerate(asked):
            (name,) = predict(home, START_US + day * DAY_US, [Version("v1", "champion", [0.5])])
            known: list[tuple[int, float]] = []
            for days, truth in later:
                known_us = START_US + (day + days) * DAY_US
                label(home, [name], [float(truth)], known_us)
                known.append((known_us, float(truth)))
            in_time = [pair for pair in known if pair[0] <= START_US + as_of * DAY_US]
            newest = max((time for time, _ in in_time), default=0)
            if since <= day < 4:
                expected[name] = next((truth for time, truth in reversed(in_time) if time == newest), None)
            if number % 3 == 0:
                collect(home, LATE, BUNDLES)
                reader.outcomes(START_US, START_US + DAY_US, START_US + as_of * DAY_US)
        collect(home, LATE, BUNDLES)
        window = (START_US + since * DAY_US, START_US + 4 * DAY_US, START_US + as_of * DAY_US)
        assert labels_by_id(reader.outcomes(*window)) == expected
        assert labels_by_id(outcomes(home, LATE, *window)) == expected
