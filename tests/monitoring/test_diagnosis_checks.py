"""Each check finds its own fault since when it began, names who is at fault, and is silent without one."""

import re
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from served_world import (
    FEATURES,
    HEALTHY,
    ONSET_US,
    WATCHED,
    case_of,
    found,
    quiet,
    served_otherwise,
    told_otherwise,
)

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.ages import age_signals
from charkha.monitoring.diagnosis.checks.arrivals import arrival_signals
from charkha.monitoring.diagnosis.checks.artifacts import artifact_signals, spread
from charkha.monitoring.diagnosis.checks.replicas import replica_signals
from charkha.monitoring.diagnosis.checks.server import server_signals
from charkha.monitoring.diagnosis.checks.skew import skew_signals
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic, empty_traffic
from charkha.spec.durations import HOUR_US

Family = Callable[[Case], list[Signal]]
FAMILIES = (age_signals, arrival_signals, artifact_signals, replica_signals, server_signals, skew_signals)
QUIET = quiet()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_found_where_nothing_is_wrong(family: Family, seed: int) -> None:
    assert family(case_of(quiet(seed))) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_evidence_that_is_missing_is_no_error(family: Family) -> None:
    features = dict.fromkeys(FEATURES, pl.Float64())
    nothing = empty_traffic(
        "late", Span(HEALTHY.since_us, WATCHED.until_us), features=features, request={}, views=["sky"]
    )
    assert family(case_of(nothing)) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_columns_that_were_never_logged_are_no_error(family: Family) -> None:
    names = [name for name in QUIET.predictions.columns if name not in ("id", "_at_us", "version", "role")]
    names.remove("features_logged")
    bare = QUIET.predictions.with_columns(
        pl.lit(None).cast(QUIET.predictions.schema[name]).alias(name) for name in names
    )
    vitals = QUIET.vitals.with_columns(clock_ahead_us=pl.lit(None, pl.Int64))
    bare = bare.with_columns(features_logged=pl.lit(value=False))
    assert family(case_of(evolve(QUIET, predictions=bare, vitals=vitals))) == []


def since_onset(signal: Signal, hours: float) -> None:
    """Check that a signal came within so many hours, and that its interval has the onset."""
    assert ONSET_US <= signal.alarmed_us <= ONSET_US + hours * HOUR_US
    assert signal.earliest_us <= ONSET_US <= signal.latest_us + HOUR_US
    assert abs(signal.began_us - ONSET_US) <= 2 * HOUR_US


def test_another_digest_is_of_the_version_and_of_a_replica_where_others_keep_it() -> None:
    everywhere = found(artifact_signals, served_otherwise(QUIET, bundle=pl.lit("c" * 64)))
    assert list(everywhere) == [("digest", "v1")]
    since_onset(everywhere["digest", "v1"], 1)
    one = served_otherwise(QUIET, pl.col("replica") == "web-1", bundle=pl.lit("c" * 64))
    assert list(found(artifact_signals, one)) == [("digest", "web-1")]


def test_a_score_that_the_registered_bundle_does_not_give_again() -> None:
    bent = served_otherwise(QUIET, pl.col("replica") == "web-2", score=pl.col("score") + 1e-4)
    (signal,) = found(artifact_signals, bent).values()
    first = bent.predictions.filter((pl.col("replica") == "web-2") & (pl.col("_at_us") >= ONSET_US))["_at_us"][0]
    assert (signal.check, signal.subject, signal.began_us, signal.evidence) == ("replay", "web-2", first, np.inf)
    assert signal.now == 1.0
    last_digit = served_otherwise(QUIET, score=pl.col("score") + 1e-9)
    assert found(artifact_signals, last_digit) == {}


def test_a_sample_is_spread_over_replicas_and_hours() -> None:
    rows = spread(QUIET.predictions, 2_000)
    assert rows.height == 2_000
    counts = rows.group_by("replica", pl.col("_at_us") // HOUR_US).len()["len"]
    assert (counts.min(), counts.max()) in ((1, 1), (1, 2))


@pytest.mark.parametrize(
    ("column", "bent"),
    [("score", pl.col("score") + 0.2), ("sky.temp", pl.lit(None)), ("age.sky", pl.col("age.sky") + 3600)],
)
def test_a_replica_that_differs_is_the_only_one_named(column: str, bent: pl.Expr) -> None:
    signals = found(replica_signals, served_otherwise(QUIET, pl.col("replica") == "web-1", **{column: bent}))
    assert list(signals) == [("replica", "web-1")]
    since_onset(signals["replica", "web-1"], 12)
    assert column in signals["replica", "web-1"].words


def test_what_moves_all_replicas_moves_none_of_them() -> None:
    bent = served_otherwise(QUIET, score=pl.col("score") + 0.2, **{"sky.temp": pl.lit(None)})
    assert found(replica_signals, bent) == {}


def test_failures_are_seen_within_the_hour() -> None:
    for name in ("errors", "sheds", "timeouts"):
        vitals = told_otherwise(QUIET.vitals, "_minute_us", **{name: (pl.col("requests") * 0.4).ceil()})
        (signal,) = found(server_signals, evolve(QUIET, vitals=vitals)).values()
        assert (signal.check, signal.subject) == (name, "")
        since_onset(signal, 1)


def test_latency_fallbacks_and_clocks() -> None:
    slow = served_otherwise(QUIET, latency_us=pl.col("latency_us") * 5)
    (latency,) = found(server_signals, slow).values()
    assert latency.check == "latency"
    assert latency.now == pytest.approx(5 * latency.usual, rel=0.1)
    since_onset(latency, 1)
    failed = served_otherwise(
        QUIET, pl.col("id").hash(0) % 5 == 0, role=pl.lit("fallback"), fallback=pl.lit("model_failed")
    )
    (fallbacks,) = found(server_signals, failed).values()
    assert fallbacks.check == "fallbacks"
    assert fallbacks.now == pytest.approx(0.2, abs=0.03)
    ahead = told_otherwise(
        QUIET.vitals, "_minute_us", pl.col("replica") == "web-0", clock_ahead_us=pl.col("clock_ahead_us") + 60_000_000
    )
    (clock,) = found(server_signals, evolve(QUIET, vitals=ahead)).values()
    assert (clock.check, clock.subject) == ("clock", "web-0")
    assert clock.now == pytest.approx(60, abs=1)


def test_volume_is_against_the_hours_of_the_week() -> None:
    kept = QUIET.predictions.filter((pl.col("_at_us") < ONSET_US) | (pl.col("id").hash(1) % 4 == 0))
    (signal,) = found(server_signals, evolve(QUIET, predictions=kept)).values()
    assert signal.check == "volume"
    assert signal.now < 0.4 * signal.usual
    since_onset(signal, 6)


def test_a_stale_store_ages_by_the_time_that_passes_and_late_events_do_once() -> None:
    passed = (pl.col("_at_us") - ONSET_US) / 1e6
    stale = found(age_signals, served_otherwise(QUIET, **{"age.sky": pl.max_horizontal(pl.col("age.sky"), passed)}))
    assert list(stale) == [("age", "sky")]
    assert "nothing is stored" in stale["age", "sky"].words
    since_onset(stale["age", "sky"], 6)
    late = found(age_signals, served_otherwise(QUIET, **{"age.sky": pl.col("age.sky") + 12 * 3600}))
    assert "comes late" in late["age", "sky"].words
    missing = found(age_signals, served_otherwise(QUIET, **{"age.traffic": pl.lit(None)}))
    assert missing["age", "traffic"].now == 1.0


def skewed(traffic: Traffic) -> dict[str, str]:
    return {subject: signal.words for (_, subject), signal in found(skew_signals, traffic).items()}


@pytest.mark.parametrize(
    ("name", "served", "words"),
    [
        ("traffic.mean_minutes_7d", pl.col("traffic.mean_minutes_7d").log1p(), r"log\(1 \+ x\)"),
        ("traffic.mean_minutes_7d", pl.col("traffic.mean_minutes_7d") * 60, "60 times as large"),
        ("traffic.mean_minutes_7d", pl.col("traffic.mean_minutes_7d") ** 3, "monotone"),
        ("traffic.mean_minutes_7d", pl.col("traffic.mean_minutes_1h"), r"mean_minutes_1h \(another window"),
        ("sky.temp", pl.col("sky.temp").fill_null(-1.0), r"-1\.0 stands where it is null"),
        ("sky.temp", pl.lit(None), "null was served"),
        ("sky.temp", pl.col("sky.temp").shift(1), "wrong key"),
        ("traffic.mean_minutes_7d", pl.col("traffic.mean_minutes_7d").shift(300).over("request.city"), "earlier ones"),
    ],
)
def test_a_skew_names_its_feature_and_its_pattern(name: str, served: pl.Expr, words: str) -> None:
    told = skewed(served_otherwise(QUIET, **{name: served}))
    assert list(told) == [name]
    assert re.search(words, told[name])


def test_a_skew_is_not_of_the_features_that_follow_from_it() -> None:
    hour = pl.col("traffic.mean_minutes_1h") + 7
    bent = served_otherwise(QUIET, **{"traffic.mean_minutes_1h": hour, "ride.pace": pl.col("ride.km") * hour})
    assert list(skewed(bent)) == ["traffic.mean_minutes_1h"]


def test_rows_that_were_always_lost_are_no_skew_but_more_of_them_are() -> None:
    lossy = QUIET.predictions.with_columns(
        pl.when(pl.col("id").hash(3) % 50 == 0)
        .then(None)
        .otherwise(pl.col("traffic.mean_minutes_7d"))
        .alias("traffic.mean_minutes_7d")
    )
    usual = evolve(QUIET, predictions=lossy)
    assert skewed(usual) == {}
    more = served_otherwise(usual, pl.col("id").hash(4) % 3 == 0, **{"traffic.mean_minutes_7d": pl.lit(None)})
    assert list(skewed(more)) == ["traffic.mean_minutes_7d"]


def arrivals(where: str, **columns: pl.Expr) -> dict[tuple[str, str], Signal]:
    told = told_otherwise(QUIET.arrivals, "_hour_us", pl.col("source") == where, **columns)
    return found(arrival_signals, evolve(QUIET, arrivals=told))


def test_arrivals_name_their_source() -> None:
    shifted = arrivals("weather", late_s=pl.col("late_s") + 5 * 3600)
    assert list(shifted) == [("late", "weather")]
    assert "+5 hours, as if their times were of another zone" in shifted["late", "weather"].words
    since_onset(shifted["late", "weather"], 3)
    twice = arrivals("rides", rows=pl.col("rows") * 2, duplicates=pl.col("rows"))
    assert list(twice) == [("arrivals", "rides"), ("duplicates", "rides")]
    assert twice["duplicates", "rides"].now == pytest.approx(0.5)
    stopped = arrivals("rides", rows=pl.lit(0), late_s=pl.lit(None))
    assert list(stopped) == [("arrivals", "rides")]
    since_onset(stopped["arrivals", "rides"], 3)
