"""Rows of another key, nulls where something is stored, and a store that is not written any more."""

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from served_world import FEATURES, HEALTHY, ONSET_US, PLAN, WATCHED, case_of, found, quiet, served_otherwise

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.hollow import hollow_signals
from charkha.monitoring.diagnosis.checks.keys import key_signals
from charkha.monitoring.diagnosis.stores import Stillness, stillness
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic, empty_traffic
from charkha.spec.durations import HOUR_US

QUIET = quiet()
SKY = next(view for view in PLAN.views if view.name == "sky")


def lot(share: float) -> pl.Expr:
    return pl.col("id").hash(3) % 1000 < 1000 * share


@pytest.mark.parametrize("family", [hollow_signals, key_signals])
def test_nothing_is_found_where_nothing_is_wrong_or_logged(family: object) -> None:
    assert callable(family)
    assert family(case_of(QUIET)) == []
    features = dict.fromkeys(FEATURES, pl.Float64())
    span = Span(HEALTHY.since_us, WATCHED.until_us)
    assert family(case_of(empty_traffic("late", span, features=features, request={}, views=["sky"]))) == []


def test_nulls_of_what_is_stored_are_found_where_few_rows_have_them() -> None:
    flooded = served_otherwise(QUIET, lot(0.4), **{"sky.temp": pl.lit(None, pl.Float64)})
    signal = found(hollow_signals, flooded)["hollow", "sky.temp"]
    assert ONSET_US <= signal.alarmed_us <= ONSET_US + 6 * HOUR_US
    assert 0.4 < signal.now < 0.52
    assert 0.08 < signal.usual < 0.12


def test_nulls_of_keys_of_which_nothing_is_stored_are_who_asks() -> None:
    nothing = pl.lit(None, pl.Float64)
    assert found(hollow_signals, served_otherwise(QUIET, lot(0.4), **{"sky.temp": nothing, "age.sky": nothing})) == {}


def test_values_of_another_key_are_not_what_the_key_had_a_moment_ago() -> None:
    order = np.arange(QUIET.predictions.height)
    random = np.random.default_rng(5)
    for start in range(0, len(order), 24):
        random.shuffle(order[start : start + 24])
    others = QUIET.predictions["traffic.mean_minutes_1h"].gather(pl.Series(order))
    mixed = served_otherwise(QUIET, **{"traffic.mean_minutes_1h": pl.lit(others)})
    signals = found(key_signals, mixed)
    assert set(signals) == {("same", "traffic.mean_minutes_1h")}
    signal = signals["same", "traffic.mean_minutes_1h"]
    assert ONSET_US <= signal.alarmed_us <= ONSET_US + 8 * HOUR_US
    assert signal.now < signal.usual / 2


def test_another_unit_of_a_number_is_no_other_key() -> None:
    larger = served_otherwise(QUIET, **{"traffic.mean_minutes_1h": pl.col("traffic.mean_minutes_1h") * 60})
    assert not any(check == "same" for check, _ in found(key_signals, larger))


def seen(traffic: Traffic, until_us: int = WATCHED.until_us) -> Stillness:
    case: Case = evolve(case_of(traffic), watched=Span(WATCHED.since_us, until_us))
    told = stillness(case, SKY)
    assert told is not None
    return told


def frozen_store() -> Traffic:
    since = (pl.col("_at_us") - ONSET_US) / 1e6
    return served_otherwise(QUIET, **{"age.sky": since + pl.col("age.sky")})


def test_a_store_that_is_written_does_not_stand_still() -> None:
    assert not seen(QUIET).stands_still
    assert seen(QUIET).newest_us > WATCHED.until_us - HOUR_US


def test_a_store_stands_still_once_enough_have_asked() -> None:
    stale = seen(frozen_store(), ONSET_US + 6 * HOUR_US)
    assert stale.stands_still
    assert stale.newest_us <= ONSET_US
    assert not seen(frozen_store(), ONSET_US + HOUR_US // 6).stands_still


def test_few_who_ask_do_not_make_a_store_stand_still() -> None:
    stale = frozen_store()
    few = stale.predictions.filter((pl.col("_at_us") < ONSET_US) | lot(0.01))
    assert not seen(evolve(stale, predictions=few), ONSET_US + 6 * HOUR_US).stands_still


def test_without_ages_nothing_is_said_of_a_store() -> None:
    bare = QUIET.predictions.with_columns(pl.lit(None, pl.Float64).alias("age.sky"))
    assert stillness(case_of(evolve(QUIET, predictions=bare)), SKY) is None
