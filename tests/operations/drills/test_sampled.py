"""A case of more predictions than are looked at: a sample of them says the same."""

from pathlib import Path
from typing import cast
from weakref import ref

import polars as pl
import pytest
from attrs import evolve
from drill_world import RESCORE, SPAN, START_US, traffic
from test_diagnosed import ONSET_US, case_of

from charkha.monitoring.collect import predictions_table
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.drawn import Drawn, draw_predictions
from charkha.monitoring.parts import Part, day_of
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import INCIDENTS, inject
from charkha.operations.drills.fault import Fault
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import Home
from charkha.storage.parquet_tables import ParquetTables

WORLD = traffic(per_day=2_000)
MOST = WORLD.predictions.height // 2
MODEL = "late"


class Tables(ParquetTables):
    """Those of a folder, which know how many parts that were read are in memory at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._read: list[ref[pl.DataFrame]] = []
        self.most_alive = 0

    def read(self, table: str, part: str) -> pl.DataFrame:
        frame = super().read(table, part)
        self._read.append(ref(frame))
        self.most_alive = max(self.most_alive, sum(each() is not None for each in self._read))
        return frame


class Kept:
    """As much of a home as is read here."""

    def __init__(self, folder: Path, rows: pl.DataFrame) -> None:
        self.tables = Tables(folder)
        by_day = rows.with_columns(_day=pl.col("_at_us") // DAY_US).partition_by("_day", include_key=False)
        for number, of_day in enumerate(by_day):
            part = Part(day_of(int(of_day["_at_us"][0])), "web-0", number, number + 1)
            self.tables.write(predictions_table(MODEL), part.name, of_day)


def drawn(folder: Path, seen: Traffic, *, cut: list[Span] | None = None, most: int = MOST) -> tuple[Drawn, Tables]:
    home = Kept(folder, seen.predictions)
    return draw_predictions(cast("Home", home), MODEL, SPAN, cut or [], most), home.tables


def sampled(folder: Path, seen: Traffic) -> Traffic:
    found, _ = drawn(folder, seen)
    rows = found.rows.select(seen.predictions.columns)
    labels, made = (each.join(rows, on="id", how="semi") for each in (seen.labels, seen.recomputed))
    return evolve(seen, predictions=rows, labels=labels, recomputed=made, total=found.total)


@pytest.mark.parametrize("kind", ["unit_change", "null_flood"])
def test_an_incident_is_found_in_a_sample_as_in_all(kind: str, tmp_path: Path) -> None:
    fault = Fault(kind, ONSET_US, subject="weather.temp")
    bent = inject(WORLD, fault, RESCORE)
    of_all, of_some = (diagnose(case_of(each)) for each in (bent, sampled(tmp_path, bent)))
    assert of_some.cause == of_all.cause == INCIDENTS[kind].cause
    assert of_some.culprit.sources == of_all.culprit.sources == ("weather",)
    assert of_some.remedy.action == of_all.remedy.action
    for found in (of_all, of_some):
        assert found.began_us is not None
        assert abs(found.began_us - ONSET_US) <= 2 * HOUR_US
    # Of the rows since it began, which is eight hours ago: to the hour in one, and in the other an hour later.
    assert of_some.share == pytest.approx(of_all.share, abs=1 / 8)


def test_nothing_is_wrong_with_a_sample_of_healthy_traffic(tmp_path: Path) -> None:
    some = sampled(tmp_path, WORLD)
    assert diagnose(case_of(some, until_us=START_US + 40 * DAY_US)).cause is None
    assert some.weight == pytest.approx(WORLD.predictions.height / some.predictions.height)


def test_no_more_is_held_than_the_bound_and_a_part(tmp_path: Path) -> None:
    found, tables = drawn(tmp_path, WORLD, most=5_000)
    assert 2_000 < found.rows.height <= 5_000
    assert found.total == WORLD.predictions.height
    assert tables.most_alive <= 2  # the one that is looked at, and the one that comes next
    days = found.rows.group_by(pl.col("_at_us") // DAY_US).len()["len"].to_list()
    assert len(days) == 40
    assert max(days) < 2 * min(days)  # as often of each day


def test_a_later_look_draws_what_the_one_before_drew(tmp_path: Path) -> None:
    early = evolve(WORLD, predictions=WORLD.predictions.filter(pl.col("_at_us") < START_US + 30 * DAY_US))
    (before, _), (later, _) = drawn(tmp_path / "a", early, most=9_000), drawn(tmp_path / "b", WORLD, most=9_000)
    again = later.rows.filter(pl.col("_at_us") < START_US + 30 * DAY_US)
    assert again.join(before.rows, on="id", how="semi").height == again.height


def test_all_versions_of_an_id_are_drawn_together(tmp_path: Path) -> None:
    both = pl.concat([WORLD.predictions, WORLD.predictions.with_columns(version=pl.lit("v2"), role=pl.lit("shadow"))])
    found, _ = drawn(tmp_path, evolve(WORLD, predictions=both), most=20_000)
    assert set(found.rows.group_by("id").len()["len"]) == {2}


def test_what_is_cut_out_counts_for_nothing(tmp_path: Path) -> None:
    cut = Span(START_US + 3 * DAY_US, START_US + 5 * DAY_US)
    found, _ = drawn(tmp_path, WORLD, cut=[cut])
    outside = WORLD.predictions.filter((pl.col("_at_us") < cut.since_us) | (pl.col("_at_us") >= cut.until_us))
    assert found.total == outside.height
    assert set(found.rows["id"]) <= set(outside["id"])
