"""Labels and performance: each fault of a small world under its own name, and nothing in a world that is well."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from scipy.stats import t as student

from charkha.features.plan import FeaturePlan
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.effects import DEGREES, Effects
from charkha.monitoring.diagnosis.checks.estimate import estimated_performance
from charkha.monitoring.diagnosis.checks.labels import label_signals
from charkha.monitoring.diagnosis.checks.loss import loss_signals
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import LABELS, Traffic, empty_traffic
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import FloatArray

DAYS, PER_DAY, HEALTHY = 35, 600, 28
SPAN = Span(20_000 * DAY_US, (20_000 + DAYS) * DAY_US)
ONSET_US = SPAN.since_us + HEALTHY * DAY_US
PLAN = FeaturePlan(views=(), request={}, at="at", expressions={}, names=())
Bend = Callable[[pl.DataFrame], pl.DataFrame]


def world(bend: Bend | None = None, *, seed: int = 3) -> Case:
    """Thirty-five days of questions; bend: what changes from the onset on, of columns p, x, label, known_us."""
    random, n = np.random.default_rng(seed), DAYS * PER_DAY
    at_us = np.sort(random.integers(SPAN.since_us, SPAN.until_us, n))
    x, other = random.normal(size=(2, n))
    p = 1 / (1 + np.exp(1.5 - 1.2 * x - 0.8 * other))
    label = (random.random(n) < p).astype(np.float64)
    known_us = at_us + random.integers(HOUR_US, 3 * HOUR_US, n)
    city = random.choice(["Pune", "Surat", "Agra"], n)
    rows = pl.DataFrame({"_at_us": at_us, "x": x, "p": p, "label": label, "known_us": known_us, "city": city})
    if bend is not None:
        later = rows["_at_us"] >= ONSET_US
        rows = pl.concat([rows.filter(~later), bend(rows.filter(later)).select(rows.columns)])
    span = Span(SPAN.since_us, ONSET_US)
    return Case(
        traffic=_traffic(rows),
        healthy=span,
        watched=Span(ONSET_US, SPAN.until_us),
        task="binary",
        plan=PLAN,
        segments=["city"],
    )


def _traffic(rows: pl.DataFrame) -> Traffic:
    features: dict[str, pl.DataType] = {"f.x": pl.Float64()}
    empty = empty_traffic("late", SPAN, features=features, request={"city": pl.String()}, views=[])
    ids = pl.Series("id", [f"q{number}" for number in range(rows.height)])
    answered = rows.select(
        ids, "_at_us", pl.col("p").alias("score"), pl.col("x").alias("f.x"), pl.col("city").alias("request.city")
    ).with_columns(role=pl.lit("champion"), version=pl.lit("v1"), features_logged=pl.lit(value=True))
    labels = rows.select(ids, "label", _label_known_us="known_us").drop_nulls().cast(LABELS)
    predictions = pl.concat([empty.predictions, answered], how="diagonal")
    return evolve(empty, predictions=predictions, labels=labels.sort("_label_known_us"))


def drawn(rows: pl.DataFrame, p: FloatArray, seed: int = 5) -> pl.DataFrame:
    lot = np.random.default_rng(seed).random(rows.height)
    return rows.with_columns(pl.Series("label", (lot < p).astype(np.float64)))


def moved(rows: pl.DataFrame, shift: FloatArray) -> pl.DataFrame:
    """Let other things be true, by so much in log odds."""
    p = rows["p"].to_numpy()
    return drawn(rows, 1 / (1 + (1 / p - 1) * np.exp(-shift)))


def outage(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(label=pl.lit(None, pl.Float64))


def biased_delay(rows: pl.DataFrame) -> pl.DataFrame:
    late = pl.when(pl.col("label") > 0).then(7 * DAY_US).otherwise(0)
    return rows.with_columns(known_us=pl.col("known_us") + late)


def corruption(rows: pl.DataFrame) -> pl.DataFrame:
    p = rows["p"].to_numpy()
    return drawn(rows, 0.6 * p + 0.2)


def prior(rows: pl.DataFrame) -> pl.DataFrame:
    return moved(rows, np.full(rows.height, 1.1))


def drift(rows: pl.DataFrame) -> pl.DataFrame:
    return moved(rows, np.where(rows["x"].to_numpy() > 0, -1.5, 1.5))


def in_one_slice(rows: pl.DataFrame) -> pl.DataFrame:
    return moved(rows, np.where(rows["city"].to_numpy() == "Agra", 1.5, 0.0))


def pattern(rows: pl.DataFrame) -> pl.DataFrame:
    hit = pl.Series(np.random.default_rng(1).random(rows.height) < 0.1)
    lowest = float(rows["p"].quantile(0.01) or 0.0)
    return rows.with_columns(
        p=pl.when(hit).then(lowest).otherwise("p"), label=pl.when(hit).then(1.0).otherwise("label")
    )


def shifted(rows: pl.DataFrame) -> pl.DataFrame:
    """Let others ask, of whom the model knows as much as ever."""
    kept = np.random.default_rng(2).random(rows.height) < np.where(rows["x"].to_numpy() > 0, 0.9, 0.3)
    return rows.filter(pl.Series(kept))


def names(case: Case) -> set[str]:
    return {signal.check for signal in (*label_signals(case), *loss_signals(case))}


@pytest.mark.parametrize("seed", [3, 4])
def test_a_world_that_is_well_is_silent(seed: int) -> None:
    assert names(world(seed=seed)) == set()


def test_others_who_ask_are_no_loss() -> None:
    assert names(world(shifted)) == set()


@pytest.mark.parametrize(
    ("bend", "expected", "never"),
    [
        (outage, "arrival", "flips"),
        (biased_delay, "label_bias", "flips"),
        (corruption, "flips", "pattern"),
        (prior, "prior", "flips"),
        (drift, "loss", "flips"),
        (pattern, "pattern", "flips"),
    ],
)
def test_a_fault_is_found_under_its_name(bend: Bend, expected: str, never: str) -> None:
    found = names(world(bend))
    assert expected in found
    assert never not in found


def test_the_rate_of_wrong_labels_is_told() -> None:
    (flips,) = (signal for signal in label_signals(world(corruption)) if signal.check == "flips")
    assert flips.now == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize(("bend", "culprit"), [(drift, "f.x"), (in_one_slice, "city=Agra")])
def test_the_culprit_is_named_first_among_slices(bend: Bend, culprit: str) -> None:
    slices = [signal for signal in loss_signals(world(bend)) if signal.check == "loss" and signal.subject]
    assert slices[0].subject == culprit
    assert abs(slices[0].began_us - ONSET_US) <= DAY_US
    assert slices[0].alarmed_us <= ONSET_US + 3 * DAY_US


def test_labels_of_the_future_are_not_looked_at() -> None:
    case = world(drift)
    early = evolve(case, watched=Span(ONSET_US, ONSET_US + HOUR_US))
    assert names(early) == set()


def test_without_labels_nothing_is_said() -> None:
    case = world()
    none = evolve(case, traffic=evolve(case.traffic, labels=case.traffic.labels.clear()))
    assert names(none) == set()
    assert estimated_performance(none, none.watched, "log_loss") is None


@pytest.mark.parametrize("metric", ["log_loss", "brier", "roc_auc"])
def test_an_estimate_holds_what_is_realised_unless_the_world_changed(metric: str) -> None:
    for bend, held in ((None, True), (shifted, True), (drift, False)):
        case = world(bend)
        found = estimated_performance(case, case.watched, metric)  # type: ignore[arg-type]
        assert found is not None
        assert found.realised is not None
        assert (found.low <= found.realised <= found.high) == held


def test_with_all_labels_the_current_figure_is_the_realised_one() -> None:
    case = world()
    found = estimated_performance(case, Span(ONSET_US, ONSET_US + 3 * DAY_US), "roc_auc")
    assert found is not None
    assert found.mature > 0.9
    assert found.realised == pytest.approx(found.current, abs=0.02)


def test_a_metric_of_another_task_is_refused() -> None:
    case = world()
    with pytest.raises(ValueError, match="expected a metric of binary models"):
        estimated_performance(case, case.watched, "squared_error")


@pytest.mark.parametrize("wander", [0.0, 0.5, 2.0])
def test_evidence_of_healthy_effects_is_at_most_one_in_mean(wander: float) -> None:
    random = np.random.default_rng(7)
    variance = random.uniform(0.05, 0.5, (400, 1_000))
    effect = random.normal(0, np.sqrt(variance + wander))
    null = Effects.of(effect[:200], variance[:200])
    evidence = np.exp(null.log_e(effect[200:], variance[200:]))
    assert (evidence.mean(axis=(0, 1)) < 1.0).all()


def test_a_block_without_an_effect_is_no_evidence() -> None:
    random = np.random.default_rng(7)
    null = Effects.of(random.normal(0, 1, (200, 1)), np.ones((200, 1)))
    assert not null.log_e(np.full((1, 1), np.nan), np.full((1, 1), np.inf)).any()


@pytest.mark.parametrize("spread", [0.05, 0.2, 1.0, 4.0])
def test_the_evidence_of_an_effect_is_an_e_value(spread: float) -> None:
    at = np.linspace(-400, 400, 400_001)[:, None]
    one = np.ones(1)
    null = Effects(centre=0 * one, wander=0 * one, error=0 * one, width=one, alike=one)
    e = np.exp(null.log_e(at * spread, np.full_like(at, spread**2)))[:, 0]
    means = np.trapezoid(e * student.pdf(at, DEGREES), at, axis=0)
    assert means == pytest.approx(np.ones_like(means), abs=1e-3)
