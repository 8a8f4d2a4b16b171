"""How figures are said in the reasons of decisions: enough digits to see the interval, and no more."""

from math import ceil, log10
from typing import cast

from charkha.bundles import manifest
from charkha.clock import to_iso
from charkha.operations.steps import (
    EndRun,
    Expose,
    HoldTraining,
    Mend,
    Note,
    NoteFailure,
    Promote,
    Propose,
    Reject,
    Retract,
    StartShadow,
    Step,
    Train,
    TrainFirst,
)
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.training.metrics import Estimate

METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "absolute_error": "absolute error",
    "squared_error": "squared error",
    "cost": "cost per decision",
}

_PLAINLY: dict[type[Step], str] = {
    EndRun: "end a training that was cancelled",
    NoteFailure: "write down that a training failed",
    HoldTraining: "write down that a training waits",
}

_OF_VERSIONS: dict[type[Step], str] = {
    StartShadow: "start {} as a shadow",
    Promote: "promote {}",
    Reject: "reject {}",
    Retract: "take {} out",
}
_MENDING: dict[str, str] = {
    "serve_fallback": "put the model on its fallback",
    "end_fallback": "let the model answer again",
    "substitute": "let {} stand in for the champion",
    "restore": "let {} answer again",
    "roll_back": "roll back to {}",
    "eject_replica": "have {} replaced",
}

# Measured now, or read from a manifest.
Interval = Estimate | manifest.Estimate


def step_in_words(step: Step) -> str:
    """Return what a step does, such as "promote v3"."""
    match step:
        case StartShadow() | Promote() | Reject() | Retract():
            return _OF_VERSIONS[type(step)].format(step.version)
        case Expose():
            return f"let {step.version} answer {percent(step.share)}"
        case Propose() | Note():
            said = step.proposes if isinstance(step, Propose) else step.action.replace("_", " ")
            return f"propose to {said}" if isinstance(step, Propose) else f"write down: {said}"
        case Mend():
            return _MENDING[step.kind].format(step.subject)
        case Train():
            return _training_in_words(step)
        case _:
            return _PLAINLY[type(step)]


def _training_in_words(step: Train) -> str:
    if step.evidence.get("recalibrates_since_us") is not None:
        return f"calibrate {step.evidence.get('champion')} anew"
    if without := step.evidence.get("without"):
        return f"train a version without {', '.join(cast('list[str]', without))}"
    if version := step.evidence.get("updates"):
        return f"update {version}"
    return "train the first champion" if isinstance(step, TrainFirst) else "train"


def metric_name(metric: str) -> str:
    """Return a metric as people call it."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def digits_for(measured: Interval) -> int:
    """Return how many decimals show the interval's half width with two figures: 3 to 6."""
    half = (measured.high - measured.low) / 2
    return 3 if half <= 0 else max(3, min(6, ceil(-log10(half)) + 1))


def figure(value: float, digits: int, *, signed: bool = False) -> str:
    """Return a number with that many decimals, such as "0.431" or "-0.021"; never "-0.000"."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}" if signed else f"{rounded:.{digits}f}"


def with_interval(measured: Interval, digits: int, *, confidence: float = 0.95, signed: bool = False) -> str:
    """Return a value and its interval, such as "0.702 (95 % 0.695 to 0.709)"."""
    value, low, high = (figure(x, digits, signed=signed) for x in (measured.value, measured.low, measured.high))
    return f"{value} ({percent(confidence)} {low} to {high})"


def percent(share: float) -> str:
    """Return a share as a percentage, such as "95 %" or "99.9 %"."""
    return f"{round(share * 100, 6):g} %"


def count_of(count: int, noun: str) -> str:
    """Return a number of things, such as "5,412 labels" or "1 label"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def length_of(duration_us: int) -> str:
    """Return a duration in words, such as "7 days", "36 hours" or "12 minutes"; parts of a unit are left out."""
    if duration_us >= 3 * DAY_US or (duration_us >= DAY_US and duration_us % DAY_US == 0):
        return count_of(duration_us // DAY_US, "day")
    if duration_us >= HOUR_US:
        return count_of(duration_us // HOUR_US, "hour")
    return count_of(duration_us // (HOUR_US // 60), "minute")


def moment(time_us: int) -> str:
    """Return a time to the minute, such as "2013-04-01 06:30 UTC"."""
    return f"{to_iso(time_us)[:16].replace('T', ' ')} UTC"
