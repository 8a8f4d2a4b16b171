"""Business metrics in outcomes: of each prediction the value known last, beside its label and apart from it."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import BUNDLES, MODEL, START_US, Version, label, make_model, predict

from charkha.monitoring.collect import collect, labels_table
from charkha.monitoring.outcomes import OutcomeReader, outcomes
from charkha.monitoring.performance import Span
from charkha.monitoring.recorded import _labels
from charkha.serving.labels import LabelLog
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import Home, open_home

LATE = evolve(make_model(), business={"margin": "higher", "complaints": "lower"})
CHAMPION = Version("v1", "champion", [0.2, 0.8])
NUMBERS = st.none() | st.sampled_from([0.0, 1.0])
CALLS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), NUMBERS, NUMBERS, st.booleans()), max_size=8)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path) as home:
        yield home


def tell(home: Home, ids: list[str], labels: list[float | None], known_us: int, **metrics: list[float | None]) -> None:
    log = LabelLog(home.log, MODEL, "web-0")
    log.append(ids, labels, known_us, metrics)
    log.close()


def margins(home: Home, as_of_us: int, metric: str = "margin") -> dict[str, tuple[float | None, float | None]]:
    """Return the label and the metric of each prediction of the first moment."""
    rows = OutcomeReader(home, LATE, metric=metric).outcomes(START_US, START_US + 1, as_of_us)
    return {id_: (truth, value) for id_, truth, value in rows.select("id", "_label", f"_metric.{metric}").iter_rows()}


def test_a_metric_and_a_label_may_come_apart(home: Home) -> None:
    ids = predict(home, START_US, [CHAMPION])
    label(home, ids, [1.0, 0.0], START_US + HOUR_US)  # as older versions wrote them
    assert collect(home, LATE, BUNDLES).labels == 2
    assert margins(home, START_US + DAY_US) == {ids[0]: (1.0, None), ids[1]: (0.0, None)}
    tell(home, ids, [None, 1.0], START_US + 2 * HOUR_US, margin=[12.5, None])
    tell(home, ids, [None, None], START_US + 3 * HOUR_US, margin=[-3.0, None], complaints=[None, 1.0])
    collect(home, LATE, BUNDLES)
    assert margins(home, START_US + HOUR_US) == {ids[0]: (1.0, None), ids[1]: (0.0, None)}
    assert margins(home, START_US + 2 * HOUR_US) == {ids[0]: (1.0, 12.5), ids[1]: (1.0, None)}
    assert margins(home, START_US + DAY_US) == {ids[0]: (1.0, -3.0), ids[1]: (1.0, None)}
    assert margins(home, START_US + DAY_US, "complaints") == {ids[0]: (1.0, None), ids[1]: (1.0, 1.0)}


def test_a_metric_alone_is_no_label(home: Home) -> None:
    ids = predict(home, START_US, [CHAMPION])
    label(home, ids[:1], [1.0], START_US + HOUR_US)
    tell(home, ids, [None, None], START_US + 5 * HOUR_US, margin=[1.0, 2.0])
    collect(home, LATE, BUNDLES)
    rows = outcomes(home, LATE, START_US, START_US + 1, START_US + DAY_US)
    assert dict(rows.select("id", "_label_known_us").iter_rows()) == {ids[0]: START_US + HOUR_US, ids[1]: None}
    assert "_metric.margin" not in rows.columns
    recorded = _labels(home, LATE, pl.Series(ids), Span(START_US, START_US + DAY_US), START_US + DAY_US)
    assert recorded.select("id", "label").rows() == [(ids[0], 1.0)]


def test_nothing_told_is_null(home: Home) -> None:
    ids = predict(home, START_US, [CHAMPION])
    collect(home, LATE, BUNDLES)
    assert margins(home, START_US + DAY_US) == {ids[0]: (None, None), ids[1]: (None, None)}


@settings(max_examples=25, deadline=None)
@given(calls=CALLS)
def test_the_last_of_each_counts(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int, float | None, float | None, bool]]
) -> None:
    """As a dictionary would have it, however the calls were collected."""
    with open_home(tmp_path_factory.mktemp("home")) as home:
        ids = predict(home, START_US, [CHAMPION])
        expected: dict[str, list[float | None]] = {id_: [None, None] for id_ in ids}
        for hours, which, truth, value, collects in sorted(calls, key=lambda call: call[0]):
            if truth is None and value is None:
                continue
            tell(home, [ids[which]], [truth], START_US + hours * HOUR_US, margin=[value])
            known = expected[ids[which]]
            expected[ids[which]] = [known[0] if truth is None else truth, known[1] if value is None else value]
            if collects:
                collect(home, LATE, BUNDLES)
        collect(home, LATE, BUNDLES)
        assert margins(home, START_US + DAY_US) == {id_: tuple(values) for id_, values in expected.items()}
        told = [home.tables.read(labels_table(MODEL), part) for part in home.tables.parts(labels_table(MODEL))]
        assert sum(part.height for part in told) == sum(call[2] is not None or call[3] is not None for call in calls)
