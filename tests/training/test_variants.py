"""Versions that are not plain: less the time of incidents, less views, calibrated anew, or gone on from another one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np
import polars as pl
import pytest
from small_world import AS_OF, FIRST_US, LATE, dataset_of, trips, write_trips

import charkha as ck
from charkha.bundles.encoding import encode
from charkha.bundles.estimators.online_linear import OnlineLinearState
from charkha.bundles.manifest import Lineage, SetAside, WindowLeftOut
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.features.file_marks import FileMark, write_marks
from charkha.spec.durations import DAY_US
from charkha.spec.model import Lesson, Model
from charkha.storage.home import Home, open_home
from charkha.training.lineage import definition_digest
from charkha.training.pipeline import Candidate, Order, train
from charkha.training.recalibrate import CannotRecalibrate
from charkha.training.reduced import NothingLeft, without_views
from charkha.training.split import SplitTooSmall
from charkha.training.tracking import NoTracker
from charkha.training.update import CannotUpdate, TooFewNew, learnt_until_us


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


# Going on from another version.

GOES_ON = attrs.evolve(
    LATE, estimator=ck.OnlineLinear(), retrain=ck.Retrain(update="1d", update_held_out="8d"), name="goes"
)
EARLIER = AS_OF - 10 * DAY_US


def begun(home: Home, model: Model = GOES_ON) -> Candidate:
    return trained(home, model=model, as_of_us=EARLIER)


def test_an_update_learns_what_matured_since_and_nothing_else(home: Home) -> None:
    first = begun(home)
    found = trained(home, "second", GOES_ON, champion=first.version, updates=first.version)
    lineage, train = found.manifest.lineage, found.manifest.parts["train"]
    assert lineage.updated is not None
    assert lineage.updated.version == first.version
    assert train.from_us > first.manifest.parts["train"].until_us == learnt_until_us(first.manifest)
    assert (lineage.updated.rows, lineage.updated.until_us) == (train.rows, learnt_until_us(found.manifest))
    bundles = BundleStore(home.bundles)
    old, new = bundles.read("goes", first.version), bundles.read("goes", found.version)
    assert steps(new.state) == steps(old.state) + train.rows
    assert new.manifest.schema == old.manifest.schema
    assert found.manifest.parts["validation"].from_us > train.until_us
    assert found.gates[1].name.startswith("beats_champion")
    assert found.gates[1].value is not None
    card = bundles.card("goes", found.version)
    assert f"It updates {first.version} with {train.rows:,} rows from 2024-01-" in card


def test_an_update_is_what_one_learner_in_memory_would_be(home: Home) -> None:
    """The rows of the first training and of two updates, through one estimator that is never saved."""
    first = begun(home)
    second = trained(home, "second", GOES_ON, updates=first.version, as_of_us=AS_OF - 5 * DAY_US)
    third = trained(home, "third", GOES_ON, updates=second.version)
    bundles = BundleStore(home.bundles)
    known = dataset_of(GOES_ON, home.folder.parent)
    schema, at_us = first.manifest.schema, known.at_us
    nothing = (np.empty((0, len(schema.columns))), np.empty(0))
    state, learner = b"", ck.OnlineLinear()
    for candidate in (first, second, third):
        part = candidate.manifest.parts["train"]
        rows = np.flatnonzero((at_us >= part.from_us) & (at_us <= part.until_us))
        assert len(rows) == part.rows
        taught = Lesson("binary", (encode(schema, known.features[rows]), known.labels[rows]), nothing,
                        schema.categorical, 7)  # fmt: skip
        state = learner.update(state, taught) if state else learner.fit(taught)
    assert bundles.read("goes", third.version).state == state


def test_an_update_made_again_is_the_same_version_and_nothing_is_learnt_twice(home: Home) -> None:
    first = begun(home)
    found = trained(home, "second", GOES_ON, updates=first.version)
    again = trained(home, "second", GOES_ON, updates=first.version)
    assert (again.version, len(home.ledger.versions("goes"))) == (found.version, 2)
    with pytest.raises(TooFewNew, match=r"v2 is not updated: expected at least 50 new rows .* got 0\. Wait for"):
        trained(home, "third", GOES_ON, updates=found.version)
    few = AS_OF + DAY_US // 2
    with pytest.raises(TooFewNew, match=r"got [1-4]?\d\. Wait for more"):
        trained(home, "fourth", GOES_ON, updates=found.version, as_of_us=few)


def test_an_update_never_learns_what_an_earlier_one_was_tested_on_by_a_shorter_split(home: Home) -> None:
    """A version that learnt until yesterday is not tested on rows it has learnt from."""
    short = attrs.evolve(GOES_ON, split=ck.Split(validation="2d", test="2d"), retrain=ck.Retrain(update="1d"))
    first = trained(home, model=short)
    with pytest.raises(TooFewNew, match="got 0"):
        trained(home, "second", attrs.evolve(short, split=LATE.split), updates=first.version, as_of_us=AS_OF + DAY_US)


def test_the_time_of_incidents_is_left_out_of_an_update(home: Home) -> None:
    first = begun(home)
    plain = trained(home, "second", GOES_ON, updates=first.version)
    train = plain.manifest.parts["train"]
    bad = WindowLeftOut("goes-1", "label", train.from_us, train.from_us + 4 * DAY_US, by_label=True)
    less = trained(home, "third", GOES_ON, updates=first.version, left_out=(bad,))
    assert less.manifest.parts["train"].from_us >= bad.until_us
    (left_out,) = less.manifest.lineage.windows_left_out
    assert less.manifest.parts["train"].rows + left_out.rows == train.rows


def test_a_version_calibrated_anew_goes_on_from_where_its_weights_are(home: Home) -> None:
    first = begun(home)
    since_us = FIRST_US + 30 * DAY_US
    second = trained(home, "second", GOES_ON, champion=first.version, recalibrates_since_us=since_us)
    assert learnt_until_us(second.manifest) == learnt_until_us(first.manifest)
    third = trained(home, "third", GOES_ON, updates=second.version)
    other = trained(home, "fourth", GOES_ON, updates=first.version)
    states = [BundleStore(home.bundles).read("goes", each.version).state for each in (third, other)]
    assert states[0] == states[1]


def test_what_cannot_go_on_says_so(home: Home) -> None:
    first = begun(home)
    faster = attrs.evolve(GOES_ON, estimator=ck.OnlineLinear(rate=0.5))
    with pytest.raises(CannotUpdate, match=r"another estimator or other parameters by now\. Train instead"):
        trained(home, "second", faster, updates=first.version)
    with pytest.raises(CannotUpdate, match="the definition has other features by now"):
        trained(home, "third", attrs.evolve(GOES_ON, features=GOES_ON.features[1:]), updates=first.version)
    plain = attrs.evolve(LATE, name="goes", retrain=GOES_ON.retrain)
    with pytest.raises(CannotUpdate, match="linear cannot go on learning"):
        trained(home, "fourth", plain, updates=first.version)


def test_an_update_from_poisoned_labels_does_not_pass_its_gates(home: Home) -> None:
    model = attrs.evolve(GOES_ON, retrain=ck.Retrain(update="1d"))
    first = begun(home, model)
    assert trained(home, "second", model, champion=first.version, updates=first.version).passed
    since_us = learnt_until_us(first.manifest)
    poisoned = pl.when(pl.col("asked_at").dt.epoch("us").is_between(since_us, since_us + 12 * DAY_US))
    turned = poisoned.then(10 - pl.col("late_by")).otherwise(pl.col("late_by")).alias("late_by")
    write_trips(home.folder.parent, trips().with_columns(turned))
    found = trained(home, "third", model, champion=first.version, updates=first.version)
    assert not found.passed
    assert "beats_champion log_loss" in [gate.name for gate in found.gates if not gate.passed]


def test_the_digest_is_that_of_the_definition_however_a_version_was_made(home: Home) -> None:
    first = begun(home)
    since_us = FIRST_US + 30 * DAY_US
    others = [
        trained(home, "second", GOES_ON, champion=first.version, recalibrates_since_us=since_us),
        trained(home, "third", GOES_ON, without=("habits",)),
        trained(home, "fourth", GOES_ON, updates=first.version),
    ]
    assert {each.manifest.lineage.definition_digest for each in (first, *others)} == {definition_digest(GOES_ON)}


def steps(state: bytes) -> float:
    return msgspec.json.decode(state, type=OnlineLinearState).steps
