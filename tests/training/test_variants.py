"""Versions that are not plain: without the time of incidents, without views, and calibrated anew."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec
import polars as pl
import pytest
from small_world import AS_OF, FIRST_US, LATE, write_trips

import charkha as ck
from charkha.bundles.manifest import Lineage, SetAside, WindowLeftOut
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.features.file_marks import FileMark, write_marks
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.home import Home, open_home
from charkha.training.pipeline import Candidate, Order, train
from charkha.training.recalibrate import CannotRecalibrate
from charkha.training.reduced import NothingLeft, without_views
from charkha.training.split import SplitTooSmall
from charkha.training.tracking import NoTracker


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    write_trips(tmp_path)
    with open_home(tmp_path / ".charkha") as home:
        yield home


def trained(home: Home, key: str = "first", model: Model = LATE, **changes: Any) -> Candidate:
    order = Order(model, home.folder.parent, AS_OF, key)
    return train(attrs.evolve(order, **changes), home, SimulatedClock(AS_OF), LocalEngine(1), NoTracker())


def window(since_day: int, until_day: int) -> WindowLeftOut:
    return WindowLeftOut("late-1", "source", FIRST_US + since_day * DAY_US, FIRST_US + until_day * DAY_US)


def test_what_was_left_out_is_in_the_lineage_and_on_the_card(home: Home) -> None:
    mark = FileMark(
        file="data/trips/bad.parquet", mark="aside", digest="0", number=1, time_us=1, actor="asha", reason=""
    )
    write_marks(home.log, "trips", [mark])
    plain, less = trained(home), trained(home, "second", left_out=(window(5, 9),))
    (left_out,) = less.manifest.lineage.windows_left_out
    assert left_out.rows > 0
    assert less.manifest.parts["train"].rows == plain.manifest.parts["train"].rows - left_out.rows
    assert less.manifest.lineage.rows == plain.manifest.lineage.rows - left_out.rows
    assert less.manifest.lineage.set_aside == {"trips": SetAside(files=1)}
    card = BundleStore(home.bundles).card(less.manifest.model, less.version)
    assert f"{left_out.rows:,} more were left out: the time of incident late-1 (source), from 2024-01-06" in card
    assert "In quarantine, and not read, of trips: 1 files." in card


def test_a_part_that_is_left_out_is_told_with_it(home: Home) -> None:
    with pytest.raises(SplitTooSmall, match=r"rows of the time of incidents are left out\. Train as of"):
        trained(home, left_out=(window(40, 60),))


def test_a_version_without_a_view_has_nothing_of_it_and_need_not_beat_the_champion(home: Home) -> None:
    first = trained(home)
    found = trained(home, "second", without=("habits",))
    assert found.manifest.lineage.without == ("habits",)
    assert [*found.manifest.schema.names] == ["trip.km", "trip.city"]
    assert {gate.name.split("(")[0] for gate in first.gates} - {gate.name.split("(")[0] for gate in found.gates}
    assert len(found.gates) == len(first.gates) - 1
    assert "It was made without habits." in BundleStore(home.bundles).card("late", found.version)


def test_what_reads_a_view_goes_with_it() -> None:
    read = pl.col("habits.count_7d")
    derived = ck.RequestFeatures("derived", often=read > 3, twice=pl.col("derived.often") & True, km=pl.col("km"))
    model = attrs.evolve(LATE, features=[*LATE.features, derived], rules=[*LATE.rules, ck.Rule("busy", read > 9)])
    reduced = without_views(model, ["habits"])
    assert [feature for part in reduced.request_features for feature in part.by_full_name()] == [
        "trip.km",
        "trip.city",
        "derived.km",
    ]
    assert [rule.name for rule in reduced.rules] == ["far", "sure"]
    assert without_views(model, []) is model
    with pytest.raises(NothingLeft, match="expected features beside those of habits, got none"):
        without_views(attrs.evolve(LATE, features=LATE.features[:1], rules=[]), ["habits"])


def test_a_version_calibrated_anew_is_the_same_in_all_else(home: Home) -> None:
    first = trained(home)
    since_us = FIRST_US + 30 * DAY_US
    found = trained(home, "second", champion=first.version, recalibrates_since_us=since_us)
    bundles = BundleStore(home.bundles)
    old, new = bundles.read("late", first.version), bundles.read("late", found.version)
    assert (new.state, new.manifest.schema, new.manifest.plan_json) == (
        old.state,
        old.manifest.schema,
        old.manifest.plan_json,
    )
    assert new.manifest.calibration != old.manifest.calibration
    assert found.manifest.lineage.recalibrated == first.version
    assert found.manifest.parts["validation"].from_us >= since_us
    assert found.manifest.parts["test"].from_us >= since_us
    assert found.manifest.parts["test"].until_us < AS_OF
    assert f"It is {first.version} in all but its calibration and threshold." in bundles.card("late", found.version)


def test_what_cannot_be_calibrated_anew_says_so(home: Home) -> None:
    first = trained(home)
    order = {"champion": first.version, "recalibrates_since_us": FIRST_US + 30 * DAY_US}
    with pytest.raises(CannotRecalibrate, match="the definition has no calibrate="):
        trained(home, "second", attrs.evolve(LATE, calibrate=None), **order)
    with pytest.raises(CannotRecalibrate, match="the definition has other features by now"):
        trained(home, "third", attrs.evolve(LATE, features=LATE.features[1:]), **order)


def test_lineages_of_before_are_read() -> None:
    plain = {"fingerprint": "", "rows": 1, "definition_digest": "", "as_of_us": 1, "seed": 1, "versions": {}}
    lineage = msgspec.convert({**plain, "source_rows": {}}, Lineage)
    assert (lineage.windows_left_out, lineage.set_aside, lineage.without, lineage.recalibrated) == ((), {}, (), None)
