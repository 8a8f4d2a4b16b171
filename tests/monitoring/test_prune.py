"""Retention of labels: those of predictions that are gone go, never one whose prediction is kept, wherever it dies."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import BUNDLES, MODEL, START_US, Version, label, make_model, predict

import charkha as ck
from charkha.monitoring.collect import collect, collected_until, labels_table
from charkha.monitoring.compact import compact
from charkha.monitoring.logged import logged_predictions
from charkha.monitoring.outcomes import outcomes
from charkha.monitoring.prune import prune
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.prediction_ids import first_id, format_ids, time_of_ids
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import Home, open_home

KEPT_DAYS = 34
MODEL_KEPT = evolve(make_model(), log=ck.LogPolicy(keep_days=KEPT_DAYS))
STREAM = label_stream(MODEL)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path) as opened:
        yield opened


def known(home: Home) -> list[str]:
    """Return the ids of the labels that the table has; each is in the log as well."""
    parts = [home.tables.read(labels_table(MODEL), name) for name in home.tables.parts(labels_table(MODEL))]
    ids = sorted(id for part in parts for id in part["id"])
    assert set(ids) <= set(logged(home))
    return ids


def logged(home: Home) -> list[str]:
    return sorted(decode_labels(home.log.read(STREAM))["id"])


def live(home: Home, until_day: int, delay_days: int = 2) -> dict[int, list[str]]:
    """Predict every day and label it some days later, as a server would; look once a day. Return the ids by day."""
    ids: dict[int, list[str]] = {}
    for day in range(until_day):
        ids[day] = predict(home, START_US + day * DAY_US + HOUR_US, [Version("v1", "champion", [0.3, 0.6])])
        if day >= delay_days:
            label(home, ids[day - delay_days], [1.0, 0.0], START_US + day * DAY_US + 2 * HOUR_US)
        look(home, START_US + day * DAY_US + 3 * HOUR_US)
    return ids


def look(home: Home, now_us: int) -> int:
    collect(home, MODEL_KEPT, BUNDLES)
    compact(home, MODEL_KEPT, BUNDLES, now_us)
    return prune(home, MODEL_KEPT, now_us).labels


def test_labels_go_with_their_predictions_and_the_log_follows_within_a_week(home: Home) -> None:
    ids = live(home, 60)
    first_kept = 59 - KEPT_DAYS
    kept = [each for day in range(first_kept - 2, 58) for each in ids[day]]
    assert known(home) == sorted(kept)  # those that were known on a day that is kept
    oldest_us = min(decode_labels(home.log.read(STREAM))["_label_known_us"])
    assert START_US + (first_kept - 9) * DAY_US < oldest_us < START_US + first_kept * DAY_US
    assert prune(home, MODEL_KEPT, START_US + 59 * DAY_US).labels == 0
    judged = outcomes(home, MODEL_KEPT, START_US + first_kept * DAY_US, START_US + 57 * DAY_US, START_US + 60 * DAY_US)
    assert judged["_label"].null_count() == 0
    assert judged.height == 2 * (57 - first_kept)


def test_a_label_of_a_kept_prediction_stays_though_its_clock_was_behind(home: Home) -> None:
    predicted_us = START_US + 40 * DAY_US
    ids = predict(home, predicted_us, [Version("v1", "champion", [0.3])])
    label(home, ids, [1.0], START_US)  # by a clock that was far behind
    other = format_ids(first_id(START_US), 1)
    label(home, other, [0.0], START_US, "web-1")
    made_up = ["ffffffff-ffff-4fff-bfff-ffffffffffff"]
    label(home, made_up, [0.0], START_US, "web-2")
    now_us = START_US + 60 * DAY_US
    assert look(home, now_us) == 2
    assert known(home) == logged(home) == ids
    assert look(home, predicted_us + (KEPT_DAYS + 2) * DAY_US) == 1
    assert known(home) == logged(home) == []


def test_what_was_not_collected_stays(home: Home) -> None:
    label(home, format_ids(first_id(START_US), 3), [1.0] * 3, START_US)
    now_us = START_US + 400 * DAY_US
    assert prune(home, MODEL_KEPT, now_us).labels == 0
    assert len(logged(home)) == 3
    assert look(home, now_us) == 3
    assert logged(home) == []
    label(home, format_ids(first_id(now_us), 1), [1.0], now_us)  # the partition goes on where it was
    collect(home, MODEL_KEPT, BUNDLES)
    assert known(home) == logged(home)
    assert len(known(home)) == 1
    assert collected_until(home, STREAM) == dict(home.log.end(STREAM))


@given(
    said=st.lists(
        st.tuples(st.integers(0, 80), st.integers(-40, 80), st.sampled_from(["web-0", "web-1"]), st.integers(1, 4)),
        max_size=25,
    ),
    looks=st.lists(st.integers(30, 160), max_size=6),
)
@settings(max_examples=40)
def test_no_label_of_a_kept_prediction_ever_goes(said: list[tuple[int, int, str, int]], looks: list[int]) -> None:
    """Predictions on any day, labels that became known before or after by any clock, looks at any time."""
    with TemporaryDirectory() as folder, open_home(Path(folder)) as home:
        labelled: set[str] = set()
        for day, later, partition, rows in said:
            ids = predict(home, START_US + day * DAY_US, [Version("v1", "champion", [0.5] * rows)], partition)
            label(home, ids, [1.0] * rows, START_US + max(0, day + later) * DAY_US, partition)
            labelled |= set(ids)
        for now in sorted(looks):
            look(home, START_US + max(now, 81) * DAY_US)
            kept = set(logged_predictions(home, MODEL, BUNDLES)["id"])
            assert kept & labelled <= set(known(home))
        look(home, START_US + 500 * DAY_US)
        assert known(home) == logged(home) == []


def test_the_time_of_an_id_is_that_of_its_prediction() -> None:
    times = [0, 1_000, START_US, START_US + 123_456]
    ids = [format_ids(first_id(time_us), 1)[0] for time_us in times]
    found = pl.DataFrame({"id": ids}).select(time_of_ids(pl.col("id"))).to_series().to_list()
    assert found == [time_us // 1000 * 1000 for time_us in times]


PRUNE_AGAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from attrs import evolve
from logged import START_US, make_model
import charkha as ck
from charkha.monitoring.prune import prune
from charkha.spec.durations import DAY_US
from charkha.storage.home import open_home
model = evolve(make_model(), log=ck.LogPolicy(keep_days=34))
with open_home(Path(sys.argv[1])) as home:
    print("ready", flush=True)
    for day in range(60, 92):
        prune(home, model, START_US + day * DAY_US)
"""


def test_a_process_killed_while_it_prunes_leaves_all_that_is_kept(tmp_path: Path) -> None:
    instants, killed, seen = random.Random(5), 0, []
    with open_home(tmp_path) as home:
        ids = live(home, 60)
        kept = {each for day in range(90 - KEPT_DAYS, 58) for each in ids[day]}
        for _ in range(8):
            arguments = [sys.executable, "-c", PRUNE_AGAIN, str(tmp_path), str(Path(__file__).parent)]
            with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
                assert child.stdout is not None
                child.stdout.readline()
                time.sleep(instants.uniform(0, 0.06))
                killed += child.poll() is None
                child.kill()
            assert kept <= set(known(home))
            seen.append(len(known(home)))
        assert killed > 0
        assert all(after <= before for before, after in pairwise(seen))
        look(home, START_US + 91 * DAY_US)
        gone = {each for day in range(91 - KEPT_DAYS - 2) for each in ids[day]}
        assert not gone & set(known(home))
        assert kept <= set(known(home))
