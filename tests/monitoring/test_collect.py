"""Collecting: tables and profiles hold what the log holds, each row once, wherever a collection died."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from attrs import evolve
from logged import BUNDLES, MODEL, START_US, Version, label, make_model, predict

from charkha.bundles.profile import Profile, merge, profile_of
from charkha.monitoring import collect as collecting
from charkha.monitoring import logged as logged_rows
from charkha.monitoring.collect import collect, labels_table, predictions_table, profiles_table
from charkha.monitoring.parts import current, parse_part
from charkha.monitoring.profiles import ProfileReader
from charkha.monitoring.tiles import summed
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import Home, open_home

TABLES = (predictions_table(MODEL), labels_table(MODEL), profiles_table(MODEL))
LATE = make_model()


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """A store whose owner is killed at the `calls`-th call that changes something, before or after it."""

    def __init__(self, store: Any, calls: Iterator[None], *, after: bool) -> None:
        self._store, self._calls, self._after = store, calls, after

    def __getattr__(self, name: str) -> Any:
        return self._mortal(getattr(self._store, name)) if name in CHANGES else getattr(self._store, name)

    def _mortal(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> None:
            dies = next(self._calls, self) is self
            if dies and not self._after:
                raise Killed
            change(*arguments)
            if dies:
                raise Killed

        return call


def mortal(home: Home, deaths: int, *, after: bool) -> Home:
    calls = iter([None] * (deaths - 1))
    tables: Any = Mortal(home.tables, calls, after=after)
    ledger: Any = Mortal(home.ledger, calls, after=after)
    return evolve(home, tables=tables, ledger=ledger)


CHANGES = ("write", "delete", "set_checkpoint")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path) as home:
        yield home


def busy_day(home: Home, day: int) -> None:
    """Log a day of two partitions that runs over midnight, with a shadow; and labels for half of it."""
    for hour in (1, 23, 25):
        for partition in ("web-0", "web-1"):
            scores = [0.1, 0.4, 0.7]
            versions = [Version("v1", "champion", scores), Version("v2", "shadow", scores[::-1])]
            time_us = START_US + day * DAY_US + hour * HOUR_US + day
            ids = predict(home, time_us, versions, partition)
            label(home, ids[:2], [1.0, 0.0], time_us + HOUR_US, partition)


def rows_of(home: Home, table: str) -> pl.DataFrame:
    """Return a table, and check that what is there without looking at names is there once."""
    names = home.tables.parts(table)
    assert len(current(map(parse_part, names))) == len(names)
    return home.tables.scan(table).collect()


def expect_all(home: Home) -> None:
    """Check the three tables against the whole log."""
    predictions = decode_predictions(home.log.read(prediction_stream(MODEL)), BUNDLES)
    found = rows_of(home, predictions_table(MODEL))
    assert found.select(predictions.columns).sort("id", "version").equals(predictions.sort("id", "version"))
    labels = decode_labels(home.log.read(label_stream(MODEL)))
    if labels.height:
        assert rows_of(home, labels_table(MODEL)).sort("id").equals(labels.sort("id"))
    assert profiled(home) == {key: whole_profile(rows) for key, rows in by_version(predictions)}


def by_version(predictions: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.DataFrame]]:
    keys = predictions.select("version", "role").unique(maintain_order=True)
    for version, role in keys.iter_rows():
        yield (version, role), predictions.filter((pl.col("version") == version) & (pl.col("role") == role))


def whole_profile(rows: pl.DataFrame) -> Profile:
    return profile_of(BUNDLES.manifest(MODEL, "v1").shape, rows, rows.get_column("score").to_numpy())


def profiled(home: Home) -> dict[tuple[str, str], Profile]:
    table, merged = profiles_table(MODEL), dict[tuple[str, str], Profile]()
    for part in home.tables.parts(table):
        tiles = home.tables.read(table, part)
        for key, of_role in tiles.partition_by("version", "role", as_dict=True).items():
            profile = summed(BUNDLES.manifest(MODEL, "v1").shape, of_role)
            assert profile is not None
            merged[key] = merge(merged[key], profile) if key in merged else profile
    return merged


def test_tables_hold_what_the_log_holds(home: Home) -> None:
    for day in range(3):
        busy_day(home, day)
        collected = collect(home, LATE, BUNDLES)
        assert (collected.predictions, collected.labels) == (36, 12)
        expect_all(home)


def test_collecting_again_changes_nothing(home: Home) -> None:
    busy_day(home, 0)
    collect(home, LATE, BUNDLES)
    before = {table: home.tables.parts(table) for table in TABLES}
    assert collect(home, LATE, BUNDLES) == collecting.Collected(0, 0)
    assert before == {table: home.tables.parts(table) for table in TABLES}


def test_nothing_logged_is_nothing_collected(home: Home) -> None:
    assert collect(home, LATE, BUNDLES) == collecting.Collected(0, 0)
    assert home.tables.parts(predictions_table(MODEL)) == []


def test_a_day_is_one_part_of_each_partition_however_often_it_is_collected(home: Home) -> None:
    for minute in range(5):
        predict(home, START_US + minute, [Version("v1", "champion", [0.5])])
        collect(home, LATE, BUNDLES)
    assert len(home.tables.parts(predictions_table(MODEL))) == 1
    assert len(home.tables.parts(profiles_table(MODEL))) == 1
    expect_all_predictions(home, 5)


def expect_all_predictions(home: Home, count: int) -> None:
    assert rows_of(home, predictions_table(MODEL)).get_column("id").n_unique() == count


def test_a_full_part_is_not_written_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "FULL_PART_ROWS", 4)
    for minute in range(5):
        predict(home, START_US + minute, [Version("v1", "champion", [0.5, 0.6, 0.7])])
        collect(home, LATE, BUNDLES)
    rows = [home.tables.read(predictions_table(MODEL), part).height for part in home.tables.parts(TABLES[0])]
    assert rows == [6, 6, 3]
    expect_all_predictions(home, 15)


def test_a_backlog_is_taken_in_steps(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged_rows, "STEP_RECORDS", 3)
    for day in range(2):
        busy_day(home, day)
    collect(home, LATE, BUNDLES)
    expect_all(home)


@pytest.mark.parametrize(("after", "late_records"), [(False, True), (True, False)])
def test_killed_at_every_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool, late_records: bool
) -> None:
    """Kill the second of two collections at its n-th change, for every n; more may be logged before the third."""
    monkeypatch.setattr(logged_rows, "STEP_RECORDS", 3)
    died = 0
    for deaths in range(1, 200):
        with open_home(tmp_path / str(deaths)) as home:
            busy_day(home, 0)
            collect(home, LATE, BUNDLES)
            busy_day(home, 1)
            try:
                collect(mortal(home, deaths, after=after), LATE, BUNDLES)
            except Killed:
                died += 1
            else:
                break
            if late_records:
                busy_day(home, 1)
            collect(home, LATE, BUNDLES)
            expect_all(home)
    assert died > 20


def test_without_its_checkpoints_everything_is_collected_anew(home: Home) -> None:
    busy_day(home, 0)
    collect(home, LATE, BUNDLES)
    for stream in (prediction_stream(MODEL), label_stream(MODEL)):
        home.ledger.set_checkpoint(f"collected/{stream}", {})
    busy_day(home, 1)
    collect(home, LATE, BUNDLES)
    expect_all(home)


def test_a_field_whose_type_changed_within_a_day_is_kept(home: Home) -> None:
    old = pl.DataFrame({"request.gate": [1, 2]})
    new = pl.DataFrame({"request.gate": ["B7"], "request.pier": ["B"]})
    together = collecting._append(old, new)
    assert together.to_dicts() == [
        {"request.gate": "1", "request.pier": None},
        {"request.gate": "2", "request.pier": None},
        {"request.gate": "B7", "request.pier": "B"},
    ]


def test_profiles_of_a_window_are_by_version(home: Home) -> None:
    for day in range(3):
        busy_day(home, day)
    collect(home, LATE, BUNDLES)
    reader = ProfileReader(home, MODEL, BUNDLES)
    predictions = decode_predictions(home.log.read(prediction_stream(MODEL)), BUNDLES)
    of_day = predictions.filter(pl.col("_at_us").is_between(START_US + DAY_US, START_US + 2 * DAY_US, closed="left"))
    for (version, _), rows in by_version(of_day):
        assert reader.profile(version, START_US + DAY_US, START_US + 2 * DAY_US) == whole_profile(rows)
    assert reader.profile("v1", START_US - DAY_US, START_US) is None
    assert reader.profile("v9", START_US, START_US + DAY_US) is None


def test_a_partition_whose_name_begins_like_another_is_its_own(home: Home) -> None:
    for partition in ("web.1", "web", "web.1", "web"):
        predict(home, START_US, [Version("v1", "champion", [0.5])], partition)
        collect(home, LATE, BUNDLES)
    expect_all(home)
