"""Situations made up for tests of the pure rules."""

import polars as pl

import charkha as ck
from charkha.bundles.estimators.linear import Linear
from charkha.bundles.manifest import Estimate as Reference
from charkha.bundles.manifest import GateResult
from charkha.monitoring.diagnosis.documents import as_document
from charkha.monitoring.diagnosis.incident import ALLOWED, DiagnosedCause, Diagnosis, Remedy
from charkha.monitoring.performance import Contest, Performance, Span
from charkha.monitoring.skew_tally import FirstDifference, VerifiedFeature
from charkha.monitoring.skew_watch import SkewMeasure
from charkha.monitoring.skew_words import Cause
from charkha.operations.situation import Training, Waiting
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.ledger import Assignment, Deployment, Incident
from charkha.training.metrics import Estimate

START_US = 15_706 * DAY_US  # 2013-01-01
NOW_US = START_US + 100 * DAY_US

ROWS = ck.Source("rows", {"at": str, "x": float, "y": bool}, time="at", key=("at",))


def model(metric: str = "roc_auc", **changes: object) -> Model:
    """Return a model with a shadow of 7 days, 200 labels, a label delay of 1 day and a cooldown of 14 days."""
    settings: dict[str, object] = {
        "label": ck.Label(ROWS, pl.col("y"), at="at", delay="1d"),
        "request": ("x",),
        "features": (ck.RequestFeatures("asked", x=pl.col("x")),),
        "estimator": Linear(),
        "metrics": (metric,),
        "purpose": "tests",
        "owner": "tests",
        **changes,
    }
    return Model("late", **settings)  # type: ignore[arg-type]


def deployed(champion: str | None = "v1", shadow: str | None = None, generation: int = 1) -> Deployment:
    """Return a deployment of at most one champion and one shadow."""
    assignments = [Assignment(champion, "champion")] if champion else []
    assignments += [Assignment(shadow, "shadow")] if shadow else []
    return Deployment("late", generation, tuple(assignments), START_US)


def waiting(version: str, *failed: str) -> Waiting:
    """Return a version with three gates, some of which failed."""
    gates = [GateResult(name, name not in failed, None, None, f"{name} says so") for name in ("a", "b", "c")]
    return Waiting(version=version, passed=not failed, gates=tuple(gates))


def training(state: str, **changes: object) -> Training:
    """Return a training decided on ten days ago."""
    settings: dict[str, object] = {
        "run_key": "late/train/1",
        "first": False,
        "decided_us": NOW_US - 10 * DAY_US,
        "reason": "because",
        "evidence": {"champion": "v1"},
        "state": state,
        **changes,
    }
    return Training(**settings)  # type: ignore[arg-type]


def health(value: float, half: float, *, labels: int = 12_034, metric: str = "roc_auc") -> Performance:
    """Return what v1 shows over 28 days."""
    return Performance(
        version="v1",
        role=None,
        metric=metric,
        estimate=Estimate(value, value - half, value + half, labels),
        predictions=labels + 50,
        labels=labels,
        days=28,
        span=Span(NOW_US - 29 * DAY_US, NOW_US - DAY_US),
    )


def reference(value: float, half: float) -> Reference:
    """Return what a champion showed on its test rows."""
    return Reference(value, value - half, value + half, 4_000)


def skew(*features: str) -> SkewMeasure:
    """Return what a sample of v2's predictions showed: these features differ."""
    cause = Cause("lost_event", "source trips", "without row 2")
    first = FirstDifference("0", "2013-04-08T09:00:00Z", "v2", "shadow", {"city": "Pune"}, 2.0, 3.0, cause)
    skewed = tuple(VerifiedFeature(name, True, 300, 12, 1.0, first) for name in features)
    return SkewMeasure("v2", NOW_US - 8 * DAY_US, NOW_US, 300, skewed)


def contest(low: float, high: float, *, labels: int = 5_412, confidence: float = 0.95) -> Contest:
    """Return a contest of v2 against v1, whose difference has this interval."""
    middle = (low + high) / 2
    return Contest(
        champion="v1",
        challenger="v2",
        metric="log_loss",
        confidence=confidence,
        champion_loss=Estimate(0.452, 0.44, 0.46, labels),
        challenger_loss=Estimate(0.452 + middle, 0.42, 0.44, labels),
        difference=Estimate(middle, low, high, labels),
        labels=labels,
        days=7,
        span=Span(NOW_US - 8 * DAY_US, NOW_US - DAY_US),
    )


def incident(cause: DiagnosedCause = "source", days_ago: float = 2.0, **changes: object) -> Incident:
    """Return late-3, which is open and began so many days ago; it was seen up to now."""
    began_us = NOW_US - int(days_ago * DAY_US)
    found = Diagnosis(
        model="late",
        watched=Span(NOW_US - 7 * DAY_US, NOW_US),
        healthy=Span(NOW_US - 35 * DAY_US, NOW_US - 7 * DAY_US),
        cause=cause,
        kind="null flood of weather.temp",
        began_us=began_us,
        earliest_us=began_us,
        latest_us=began_us,
        remedy=Remedy(action=ALLOWED[cause][0]),
    )
    settings: dict[str, object] = {
        "model": "late",
        "number": 3,
        "status": "open",
        "cause": cause,
        "culprit": "source weather",
        "began_us": began_us,
        "opened_us": began_us,
        "looked_us": NOW_US,
        "seen_us": NOW_US,
        "diagnosis": as_document(found),
        **changes,
    }
    return Incident(**settings)  # type: ignore[arg-type]
