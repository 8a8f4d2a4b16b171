"""The gates on the test rows: each says what it measured, what it asked for, and whether the model may pass."""

from collections.abc import Iterator, Mapping
from functools import singledispatch

import polars as pl
from attrs import field, frozen

from charkha.bundles.manifest import Estimate, GateResult
from charkha.spec.gates import AtLeast, BeatsChampion, BeatsRules, BeatsTrivial, Calibrated, NoSliceWorse, TestedGate
from charkha.spec.model import FloatArray
from charkha.training.champion import Champion
from charkha.training.compare import improvement, paired_difference
from charkha.training.metrics import (
    Clusters,
    MetricUndefined,
    estimate,
    higher_is_better,
    rows_of_slices,
)


@frozen(eq=False, kw_only=True)
class Evidence:
    """What is known of a new model on the test rows; all arrays are (n,), float64 unless said.

    clusters: which rows stand or fall together, such as the day of each.
    champion: the champion on the same rows; None while there is none.
    rules: the scores of the rules alone. trivial: the answer of the model that always says the same.
    slices: the request fields by which the model is sliced, each (n,).
    """

    labels: FloatArray
    scores: FloatArray
    clusters: Clusters
    champion: Champion | None
    rules: FloatArray
    trivial: FloatArray
    slices: Mapping[str, pl.Series] = field(factory=dict)


def check_gate(gate: TestedGate, evidence: Evidence) -> GateResult:
    """Return what the gate says. A metric that these rows cannot give is a gate that was not passed, not an error."""
    try:
        return _check(gate, evidence)
    except MetricUndefined as undefined:
        return GateResult(_name(gate), passed=False, value=None, target=None, reason=f"cannot be measured: {undefined}")


@singledispatch
def _check(gate: object, evidence: Evidence) -> GateResult:
    raise TypeError(f"expected a gate of charkha.spec.gates, got {type(gate).__name__}")


@_check.register
def _at_least(gate: AtLeast, evidence: Evidence) -> GateResult:
    measured = estimate(gate.metric, evidence.labels, evidence.scores, evidence.clusters)
    up = higher_is_better(gate.metric)
    passed = measured.value >= gate.value if up else measured.value <= gate.value
    asked = f"{'at least' if up else 'at most'} {gate.value:g} is asked for"
    return GateResult(_name(gate), passed, measured, gate.value, f"{gate.metric} is {_figures(measured)}; {asked}")


@_check.register
def _calibrated(gate: Calibrated, evidence: Evidence) -> GateResult:
    measured = estimate("calibration_error", evidence.labels, evidence.scores, evidence.clusters)
    reason = f"the expected calibration error is {_figures(measured)}; at most {gate.max_error:g} is asked for"
    return GateResult(_name(gate), measured.value <= gate.max_error, measured, gate.max_error, reason)


@_check.register
def _beats_champion(gate: BeatsChampion, evidence: Evidence) -> GateResult:
    champion = _rival(_name(gate), evidence.champion)
    if isinstance(champion, GateResult):
        return champion
    gain = _gain(gate.metric, evidence, champion.scores)
    verdict = "not significantly worse" if gain.high >= 0 else "significantly worse"
    reason = f"{verdict} than the champion {champion.version}: {_gained(gate.metric, gain)}"
    return GateResult(_name(gate), gain.high >= 0, gain, 0.0, reason)


@_check.register
def _no_slice_worse(gate: NoSliceWorse, evidence: Evidence) -> GateResult:
    champion = _rival(_name(gate), evidence.champion)
    if isinstance(champion, GateResult):
        return champion
    gains = dict(_gains_in_slices(gate.metric, evidence, champion.scores))
    if not gains:
        raise MetricUndefined(gate.metric, "rows in a slice", "too few")
    which, worst = min(gains.items(), key=lambda each: each[1].high)
    verdict = "in no slice significantly worse" if worst.high >= 0 else f"significantly worse where {which}"
    of = f", least so of {len(gains)} where {which}" if worst.high >= 0 else ""
    reason = f"{verdict} than the champion {champion.version}: {_gained(gate.metric, worst)}{of}"
    return GateResult(_name(gate), worst.high >= 0, worst, 0.0, reason)


@frozen(eq=False)
class _Rival:
    version: str
    scores: FloatArray


def _rival(gate: str, champion: Champion | None) -> _Rival | GateResult:
    """Return whom to compare with; what the gate says where there is nobody, or nothing of it."""
    if champion is None:
        return GateResult(gate, passed=True, value=None, target=0.0, reason="there is no champion yet")
    if champion.scores is None:
        reason = f"cannot be compared: {champion.trouble}. Keep them, or leave this gate out of one training"
        return GateResult(gate, passed=False, value=None, target=0.0, reason=reason)
    return _Rival(champion.version, champion.scores)


def _gains_in_slices(metric: str, evidence: Evidence, rival: FloatArray) -> Iterator[tuple[str, Estimate]]:
    """Yield each slice in words with what is gained in it, at a level that all of them share."""
    found = [(f"{name}={value}", rows) for name, at in evidence.slices.items() for value, rows in rows_of_slices(at)]
    confidence = 1 - 0.05 / max(1, len(found))
    for which, rows in found:
        labels, ours, theirs = evidence.labels[rows], evidence.scores[rows], rival[rows]
        clusters = evidence.clusters[rows]
        try:
            difference = paired_difference(metric, labels, ours, theirs, clusters, confidence=confidence)
        except MetricUndefined:
            continue
        yield which, improvement(metric, difference)


@_check.register
def _beats_rules(gate: BeatsRules, evidence: Evidence) -> GateResult:
    return _beats(_name(gate), gate.metric, evidence, evidence.rules, "the rules alone")


@_check.register
def _beats_trivial(gate: BeatsTrivial, evidence: Evidence) -> GateResult:
    return _beats(_name(gate), gate.metric, evidence, evidence.trivial, "always answering the mean")


def _beats(name: str, metric: str, evidence: Evidence, scores: FloatArray, rival: str) -> GateResult:
    gain = _gain(metric, evidence, scores)
    verdict = "significantly better" if gain.low > 0 else "not significantly better"
    return GateResult(name, gain.low > 0, gain, 0.0, f"{verdict} than {rival}: {_gained(metric, gain)}")


def _gain(metric: str, evidence: Evidence, rival: FloatArray) -> Estimate:
    difference = paired_difference(metric, evidence.labels, evidence.scores, rival, evidence.clusters)
    return improvement(metric, difference)


def _gained(metric: str, gain: Estimate) -> str:
    return f"{metric} is better by {_figures(gain)}"


def _figures(measured: Estimate) -> str:
    return f"{measured.value:.4g} ({measured.low:.4g} to {measured.high:.4g}, {measured.n:,} test rows)"


def _name(gate: TestedGate) -> str:
    subject = "" if isinstance(gate, Calibrated) else f" {gate.metric}"
    return _NAMES[type(gate)] + subject


_NAMES: dict[type, str] = {
    AtLeast: "at_least",
    BeatsChampion: "beats_champion",
    BeatsRules: "beats_rules",
    BeatsTrivial: "beats_trivial",
    NoSliceWorse: "no_slice_worse",
    Calibrated: "calibrated",
}
