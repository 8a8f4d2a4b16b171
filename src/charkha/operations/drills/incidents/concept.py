"""The world changes: given the same features other things become true, at once, slowly, by turns or in one slice."""

import numpy as np
import polars as pl

from charkha.features.plan import FeaturePlan
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.questions import questions, within
from charkha.operations.drills.targets import in_segment, numeric_features, segments
from charkha.operations.drills.truths import moved_truth
from charkha.spec.durations import DAY_US
from charkha.spec.model import FloatArray

# How long a gradual drift takes to its full size, and how long each turn of a recurring one is, unless the span of the
# fault is too short: then half of it, and a sixth.
RAMP_US = 28 * DAY_US
TURN_US = 7 * DAY_US
UNIT = "log-odds; of a number, standard deviations of the model's errors"


def _turned(traffic: Traffic, fault: Fault, strength: FloatArray, asked: pl.DataFrame) -> Traffic:
    """Raise the truth on that side of the subject's median where the model says less, and lower it on the other."""
    values = asked[str(fault.subject)]
    above = (values > values.median()).fill_null(value=False)
    sides = [asked["score"].filter(side).mean() for side in (above, ~above)]
    more = above.to_numpy() if (sides[0] or 0.0) < (sides[1] or 0.0) else ~above.to_numpy()  # type: ignore[operator]
    shift = np.where(more, 1.0, -1.0) * strength * (fault.size or 0.0)
    return moved_truth(traffic, asked, shift, fault.seed)


def _hit(traffic: Traffic, fault: Fault) -> tuple[pl.DataFrame, FloatArray, int]:
    """Return the questions that are hit, how long after the onset each was asked, and how long it all takes (µs)."""
    every, span = questions(traffic), fault.within(traffic.span)
    asked = every.filter(pl.Series(within(every, span)))
    return asked, (asked["_at_us"].to_numpy() - span.since_us).astype(np.float64), span.until_us - span.since_us


def _sudden(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    asked, elapsed, _ = _hit(traffic, fault)
    return _turned(traffic, fault, np.ones(len(elapsed)), asked)


def _gradual(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    asked, elapsed, length = _hit(traffic, fault)
    return _turned(traffic, fault, np.minimum(elapsed / min(RAMP_US, length / 2), 1.0), asked)


def _recurring(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    asked, elapsed, length = _hit(traffic, fault)
    is_on = elapsed // min(TURN_US, length / 6) % 2 == 0
    return _turned(traffic, fault, is_on.astype(np.float64), asked)


def _in_one_slice(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    asked, _, _ = _hit(traffic, fault)
    inside = in_segment(asked, fault.subject).astype(np.float64)
    return moved_truth(traffic, asked, inside * (fault.size or 0.0), fault.seed)


def by_weight(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Return the features that are numbers, those first that go most with the score."""
    rows = traffic.predictions.select(*numeric_features(traffic, plan), "score").drop_nulls("score").head(20_000)
    names = [name for name in rows.columns if name != "score"]
    found = rows.select(pl.corr(name, "score", method="spearman").abs().fill_nan(0.0).alias(name) for name in names)
    weights = {name: found[name][0] or 0.0 for name in names}
    return sorted(names, key=lambda name: -weights[name])


INCIDENTS = (
    Incident(
        kind="concept_sudden",
        cause="concept",
        words="a feature means the contrary: the truth is higher on the side of its median where it was lower",
        inject=_sudden,
        subjects=by_weight,
        unit=UNIT,
        size=1.5,
        within="3d",
        rows=1_000,
        by_labels=True,
        touches={"labels"},
    ),
    Incident(
        kind="concept_gradual",
        cause="concept",
        words="a feature comes to mean the contrary, little by little over four weeks",
        inject=_gradual,
        subjects=by_weight,
        unit=UNIT,
        size=1.5,
        within="28d",
        rows=3_000,
        by_labels=True,
        touches={"labels"},
    ),
    Incident(
        kind="concept_recurring",
        cause="concept",
        words="a feature means the contrary every other week",
        inject=_recurring,
        subjects=by_weight,
        unit=UNIT,
        size=1.5,
        every_row=False,
        within="14d",
        rows=2_000,
        by_labels=True,
        touches={"labels"},
    ),
    Incident(
        kind="concept_in_one_slice",
        cause="concept",
        words="in one segment the truth is higher than it was, given the same features",
        inject=_in_one_slice,
        subjects=segments,
        unit=UNIT,
        size=1.5,
        every_row=False,
        within="7d",
        rows=2_000,
        by_labels=True,
        touches={"labels"},
    ),
)
