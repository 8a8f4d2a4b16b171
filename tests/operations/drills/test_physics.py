"""Faults do to features what the rows of a source would: at once, little by little, by key, and no more."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from drill_world import END_US, ONSET_US, PLAN, RESCORE, SPAN, traffic
from polars.testing import assert_series_equal

import charkha as ck
from charkha.engines.local import LocalEngine
from charkha.features.lineage import derived_from, downstream
from charkha.features.offline import offline_features
from charkha.features.plan import plan_features
from charkha.features.rows import mark_versions, stamped
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import inject
from charkha.operations.drills.derivation import reached
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.questions import questions
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import Model

HEALTHY = traffic()


def in_span(bent: Traffic) -> pl.DataFrame:
    return bent.predictions.filter(pl.col("_at_us").is_between(ONSET_US, END_US, closed="left"))


def bent_by(kind: str, subject: str | None = None, size: float | None = None, *, healthy: Traffic = HEALTHY) -> Traffic:
    return inject(healthy, Fault(kind, ONSET_US, END_US, subject, size, seed=1), RESCORE)


def test_the_declaration_says_which_features_read_a_field() -> None:
    found = {each.feature: (each.kind, each.power) for each in derived_from(PLAN, "rides", "minutes")}
    assert found == {"traffic.mean_minutes_1h": ("mean", 1), "traffic.mean_minutes_7d": ("mean", 1)}
    assert downstream(PLAN, ["traffic.mean_minutes_7d"]) == ["ride.pace"]
    assert downstream(PLAN, ["asked_at"]) == ["ride.hour"]


def test_a_variance_goes_with_the_square_and_a_ratio_of_one_field_not_at_all() -> None:
    view = ck.FeatureView(
        "v",
        ck.Entity("city"),
        PLAN.views[0].source,
        windows=[ck.variance("km", over="1d"), ck.ratio(ck.sum("km", over="1h"), ck.sum("km", over="1d"))],
    )
    powers = [each.power for each in derived_from(evolve(PLAN, views=(view,)), "rides", "km")]
    assert powers == [2, 0]


def test_a_unit_reaches_a_window_little_by_little_and_the_request_features_that_read_it() -> None:
    before, after = in_span(HEALTHY), in_span(bent_by("unit_change", "rides.minutes", 60.0))
    known = before["_at_us"] - before["age.traffic"] * 1e6 >= ONSET_US
    share = ((before["_at_us"] - ONSET_US) / (7 * DAY_US)).clip(0, 1) * known.cast(pl.Float64)
    times = 1 + 59 * share
    seven = before["traffic.mean_minutes_7d"] * times
    assert_series_equal(after["traffic.mean_minutes_7d"], seven, check_names=False)
    assert_series_equal(after["ride.pace"], after["request.km"] * seven, check_names=False)
    late = before["_at_us"] > ONSET_US + 7 * DAY_US + HOUR_US
    ratio = (after["traffic.mean_minutes_1h"] / before["traffic.mean_minutes_1h"]).filter(late)
    assert ratio.to_list() == pytest.approx([60.0] * len(ratio))
    assert after.select("traffic.sum_km_7d", "sky.temp").equals(before.select("traffic.sum_km_7d", "sky.temp"))


def test_a_unit_of_one_segment_alone() -> None:
    before, after = in_span(HEALTHY), in_span(bent_by("unit_change", "weather.temp[city=Pune]", 10.0))
    changed = before["sky.temp"].ne_missing(after["sky.temp"])
    assert set(before.filter(changed)["request.city"]) == {"Pune"}


def test_the_reach_agrees_with_features_made_of_bent_rows() -> None:
    """The same unit change put into the rows of a source themselves, and computed by the offline kernel."""
    model, rows, spine = _rides(np.random.default_rng(3))
    plan, onset_us = plan_features(model), SPAN.since_us + 10 * DAY_US
    source = model.sources[0]
    bent = rows.with_columns(km=pl.when(pl.col("_known_us") >= onset_us).then(pl.col("km") * 60).otherwise("km"))
    right, made = (
        offline_features(plan, spine, {source.name: mark_versions(each, source)}, LocalEngine(1))
        for each in (rows, bent)
    )
    asked = spine.with_columns(pl.lit(0.0).alias("age.v"))
    for derived in derived_from(plan, "rides", "km"):
        guess = right[derived.feature] * (1 + 59 * pl.Series(reached(derived, asked, onset_us)))
        late = (spine["_at_us"] > onset_us + 2 * DAY_US) & right[derived.feature].is_not_null()
        apart = ((guess - made[derived.feature]).abs() / made[derived.feature]).filter(late)
        assert apart.median() == pytest.approx(0.0, abs=0.1), derived.feature
        early = spine["_at_us"] < onset_us
        assert_series_equal(guess.filter(early), made[derived.feature].filter(early), check_names=False)


def _rides(random: np.random.Generator) -> tuple[Model, pl.DataFrame, pl.DataFrame]:
    source = ck.Source("rides", {"ride": int, "city": str, "km": float, "at": datetime}, time="at", key="ride")
    view = ck.FeatureView(
        "v",
        ck.Entity("city"),
        source,
        windows=[ck.mean("km", over=["1h", "7d"]), ck.sum("km", over="1d")],
        latest=["km"],
    )
    model = ck.Model(
        "m",
        label=ck.Label(source, pl.col("km") > 1, at="at", delay="1d"),
        request=["city"],
        features=[view],
        estimator=ck.Linear(),
        purpose="tests",
        owner="tests",
    )
    at_us = np.sort(random.integers(SPAN.since_us, SPAN.since_us + 30 * DAY_US, 20_000))
    frame = pl.DataFrame({"ride": range(20_000), "city": "Pune", "km": random.uniform(5, 15, 20_000), "at": at_us})
    rows = stamped(frame.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))), source)
    asked = np.sort(random.integers(SPAN.since_us + 8 * DAY_US, SPAN.since_us + 30 * DAY_US, 400))
    return model, rows.with_columns(_pushed=False), pl.DataFrame({"city": ["Pune"] * 400, "_at_us": asked})


def test_a_stale_store_keeps_what_each_key_had_and_its_ages_grow() -> None:
    after = in_span(bent_by("stale_store", "traffic"))
    last = HEALTHY.predictions.filter(pl.col("_at_us") < ONSET_US).group_by("request.city").last()
    both = after.join(last, on="request.city", suffix="_then")
    assert both["traffic.count_1d"].equals(both["traffic.count_1d_then"], check_names=False)
    waited = (both["_at_us"] - both["_at_us_then"]) / 1e6
    assert_series_equal(both["age.traffic"], both["age.traffic_then"] + waited, check_names=False)


def test_a_latest_value_of_a_stale_store_is_null_once_it_is_too_old() -> None:
    after = in_span(bent_by("stale_store", "sky"))
    too_old = after["age.sky"] > 12 * 3600
    assert after.filter(too_old)["sky.sky"].null_count() == too_old.sum()
    assert after.filter(~too_old)["sky.sky"].null_count() == 0


def test_late_events_are_those_of_hours_before_and_are_seen_arriving_late() -> None:
    bent = bent_by("late_events", "rides", 6.0)
    after = in_span(bent).filter(pl.col("_at_us") > ONSET_US + 7 * HOUR_US)
    assert after["age.traffic"].min() >= 6 * 3600  # type: ignore[operator]
    hours = bent.arrivals.filter((pl.col("source") == "rides") & (pl.col("_hour_us") >= ONSET_US + 6 * HOUR_US))
    assert hours.filter(pl.col("_hour_us") < END_US)["late_s"].unique().to_list() == [600.0 + 6 * 3600]
    assert bent.arrivals.filter(pl.col("source") == "weather").equals(
        HEALTHY.arrivals.filter(pl.col("source") == "weather").sort("_hour_us")
    )


def test_rows_that_a_key_tells_apart_are_not_counted_twice() -> None:
    counted = in_span(bent_by("duplicate_events", "rides", 1.0))["traffic.count_1d"]
    assert (counted / in_span(HEALTHY)["traffic.count_1d"]).max() == 2.0
    keyed = bent_by("duplicate_events", "weather", 1.0)
    assert keyed.predictions.equals(HEALTHY.predictions)
    assert keyed.arrivals["duplicates"].sum() > 0


def test_a_category_that_nobody_knows_has_no_history() -> None:
    after = in_span(bent_by("category_rename", "request.city"))
    renamed = after.filter(pl.col("request.city") == "Pune_")
    assert renamed.height == in_span(HEALTHY).filter(pl.col("request.city") == "Pune").height
    assert renamed["traffic.count_1d"].unique().to_list() == [0.0]
    assert renamed.select("traffic.mean_minutes_7d", "sky.temp", "age.sky").null_count().row(0) == (renamed.height,) * 3


def test_a_wrong_key_gives_each_row_the_features_of_another_one_whole() -> None:
    before, after = in_span(HEALTHY), in_span(bent_by("wrong_join_key", "traffic"))
    names = [name for name in before.columns if name.startswith("traffic.") or name == "age.traffic"]
    assert after.select(names).sort(names).equals(before.select(names).sort(names))
    assert (after["traffic.mean_minutes_1h"] != before["traffic.mean_minutes_1h"]).mean() > 0.9  # type: ignore[operator]


def test_a_concept_drifts_in_labels_alone_and_against_the_model() -> None:
    bent = bent_by("concept_sudden", "sky.temp", 2.0)
    assert bent.predictions.equals(HEALTHY.predictions)
    asked = questions(bent).filter(pl.col("_at_us").is_between(ONSET_US, END_US))
    was = questions(HEALTHY).filter(pl.col("_at_us").is_between(ONSET_US, END_US))
    assert abs(_corr(asked)) < abs(_corr(was))


def _corr(asked: pl.DataFrame) -> float:
    return float(asked.select(pl.corr("score", "label"))["score"][0])


def test_a_gradual_drift_begins_small() -> None:
    bent = bent_by("concept_gradual", "sky.temp", 3.0)
    both = questions(HEALTHY).join(questions(bent).select("id", now="label"), on="id")
    both = both.filter(pl.col("_at_us").is_between(ONSET_US, END_US)).sort("_at_us")
    turned = (both["label"] != both["now"]).cast(pl.Float64)
    assert turned.head(100).mean() < turned.tail(100).mean()  # type: ignore[operator]


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_a_prior_shift_changes_the_odds_by_its_factor_and_not_what_the_true_look_like(factor: float) -> None:
    before, after = (
        questions(each).filter(pl.col("_at_us").is_between(ONSET_US, END_US))
        for each in (HEALTHY, bent_by("prior_shift", size=factor))
    )
    shares = [float(each.select(pl.col("label").mean()).item()) for each in (before, after)]
    odds = [share / (1 - share) for share in shares]
    assert odds[1] / odds[0] == pytest.approx(factor, rel=0.35)
    means = [each.filter(pl.col("label") == 1)["request.km"].mean() for each in (before, after)]
    assert means[0] == pytest.approx(means[1], abs=1.5)


def test_labels_of_an_outage_come_when_it_ends_or_never() -> None:
    ended = bent_by("label_outage").labels
    assert ended.height == HEALTHY.labels.height
    assert ended.filter(pl.col("_label_known_us").is_between(ONSET_US, END_US - 1)).is_empty()
    never = inject(HEALTHY, Fault("label_outage", ONSET_US), RESCORE).labels
    assert never.filter(pl.col("_label_known_us") >= ONSET_US).is_empty()


def test_a_bad_replica_is_wrong_alone() -> None:
    after = in_span(bent_by("bad_replica", "web-1"))
    differ = after["score"] != in_span(HEALTHY)["score"]
    assert set(after.filter(differ)["replica"]) == {"web-1"}
    assert after["bundle"].n_unique() == 1


def test_an_announced_artifact_is_on_the_timeline_and_in_the_log() -> None:
    bent = bent_by("wrong_artifact_announced")
    assert [(change.kind, change.time_us) for change in bent.changes] == [("deploy", ONSET_US)]
    assert bent.predictions["bundle"].n_unique() == 2


def test_a_burst_brings_more_of_one_segment_and_their_labels() -> None:
    bent = bent_by("marketing_burst", "city=Agra", 2.0)
    more = bent.predictions.height - HEALTHY.predictions.height
    assert more == in_span(HEALTHY).height
    new = bent.predictions.join(HEALTHY.predictions, on="id", how="anti")
    assert set(new["request.city"]) == {"Agra"}
    assert bent.labels.height == HEALTHY.labels.height + more
