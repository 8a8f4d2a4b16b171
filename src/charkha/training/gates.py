"""The gates on the test rows: each says what it measured, what it asked for, and whether the model may pass."""

from functools import singledispatch

from attrs import frozen

from charkha.bundles.manifest import Estimate, GateResult
from charkha.spec.gates import AtLeast, BeatsChampion, BeatsRules, BeatsTrivial, Calibrated, TestedGate
from charkha.spec.model import FloatArray
from charkha.training.champion import Champion
from charkha.training.compare import improvement, paired_difference
from charkha.training.metrics import Clusters, MetricUndefined, estimate, higher_is_better


@frozen(eq=False, kw_only=True)
class Evidence:
    """What is known of a new model on the test rows; all arrays are (n,), float64 unless said.

    clusters: which rows stand or fall together, such as the day of each.
    champion: the champion on the same rows; None while there is none.
    rules: the scores of the rules alone. trivial: the answer of the model that always says the same.
    """

    labels: FloatArray
    scores: FloatArray
    clusters: Clusters
    champion: Champion | None
    rules: FloatArray
    trivial: FloatArray


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
    if evidence.champion is None:
        return GateResult(_name(gate), passed=True, value=None, target=0.0, reason="there is no champion yet")
    if evidence.champion.scores is None:
        reason = f"cannot be compared: {evidence.champion.trouble}. Keep them, or leave this gate out of one training"
        return GateResult(_name(gate), passed=False, value=None, target=0.0, reason=reason)
    gain = _gain(gate.metric, evidence, evidence.champion.scores)
    verdict = "not significantly worse" if gain.high >= 0 else "significantly worse"
    reason = f"{verdict} than the champion {evidence.champion.version}: {_gained(gate.metric, gain)}"
    return GateResult(_name(gate), gain.high >= 0, gain, 0.0, reason)


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
    Calibrated: "calibrated",
}
