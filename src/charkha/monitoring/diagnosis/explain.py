"""An ordered differential diagnosis: the first stage that explains what was found is believed, and says why.

Stages are ordered by how exactly their null is known: identities of what serves, then of what was computed, then how
data came, then what they say, then labels, then the model. A later stage's signals are what an earlier fault would
bring about; they are kept as its evidence, and later hypotheses as its rivals, ruled out by it.
"""

from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen

from charkha.monitoring.diagnosis.causes.arrivals import arrival_hypotheses
from charkha.monitoring.diagnosis.causes.categories import category_hypotheses
from charkha.monitoring.diagnosis.causes.infrastructure import infrastructure_hypotheses
from charkha.monitoring.diagnosis.causes.silence import silence_hypotheses
from charkha.monitoring.diagnosis.causes.skew import skew_hypotheses
from charkha.monitoring.diagnosis.causes.source import source_hypotheses
from charkha.monitoring.diagnosis.causes.truth import label_hypotheses, model_hypotheses
from charkha.monitoring.diagnosis.evidence import Evidence, earliest
from charkha.monitoring.diagnosis.incident import Action, DiagnosedCause, Diagnosis, Hypothesis, Remedy
from charkha.monitoring.diagnosis.unexplained import unexplained

STAGES: Sequence[tuple[str, Callable[[Evidence], Iterator[Hypothesis]]]] = (
    ("what serves", infrastructure_hypotheses),
    ("what was computed", skew_hypotheses),
    ("what comes", silence_hypotheses),
    ("how data came", arrival_hypotheses),
    ("who asked, and how it is written", category_hypotheses),
    ("what data say", source_hypotheses),
    ("labels", label_hypotheses),
    ("the model", model_hypotheses),
)
REMEDIES: dict[DiagnosedCause, tuple[Action, str]] = {
    "infrastructure": ("mend_serving", "Mend what serves; nothing is to be learnt from this time."),
    "skew": ("mend_serving", "Mend the serving path, or take the feature out; retraining would learn the fault."),
    "source": ("page_source_owner", "Page the owner of the source, set its rows aside, serve the fallback meanwhile."),
    "label": ("mend_labels", "Mend the labels; measure and train on none of this time."),
    "concept": ("retrain", "Retrain on what is true since then, or add a rule until it has matured."),
    "prior": ("recalibrate", "Move the intercept or the threshold; nothing else has changed."),
    "population": ("collect_labels", "Collect labels of those who ask now, then retrain."),
}


@frozen
class _Placed:
    stage: int
    hypothesis: Hypothesis


def explain(evidence: Evidence) -> Diagnosis:
    """Return the first stage's strongest hypothesis as the diagnosis, and the others as its rivals.

    Where there is none, what moved is benign, the model is degraded and nobody knows why, or nothing is wrong.
    """
    case = evidence.case
    placed = [_Placed(number, found) for number, (_, stage) in enumerate(STAGES) for found in stage(evidence)]
    placed.sort(key=lambda each: (each.stage, -each.hypothesis.support))
    healthy = Diagnosis(model=case.traffic.model, watched=case.watched, healthy=case.healthy)
    if not placed:
        return unexplained(evidence, healthy)
    best = placed[0]
    chosen = best.hypothesis
    began_us, earliest_us, latest_us = earliest(chosen.evidence)
    action, words = REMEDIES[chosen.cause]
    if action == "mend_serving" and chosen.cause == "infrastructure":
        action, words = _of_server(chosen)
    rivals = tuple(evolve(each.hypothesis, against=_why_not(best, each)) for each in placed[1:])
    same_stage = [each.hypothesis.support for each in placed[1:] if each.stage == best.stage]
    return evolve(
        healthy,
        cause=chosen.cause,
        kind=chosen.kind,
        culprit=chosen.culprit,
        began_us=began_us,
        earliest_us=earliest_us,
        latest_us=latest_us,
        evidence=chosen.evidence,
        rivals=rivals,
        share=_share(chosen),
        remedy=Remedy(action=action, words=words),
        margin=chosen.support - max(same_stage, default=0.0),
    )


def _of_server(chosen: Hypothesis) -> tuple[Action, str]:
    if chosen.culprit.replicas:
        return "eject_replica", f"Take {chosen.culprit.words} out of service and start it anew."
    if chosen.culprit.versions:
        return "roll_back", f"Deploy the registered bundle of {chosen.culprit.words} anew, or roll back."
    return REMEDIES["infrastructure"]


def _why_not(best: _Placed, other: _Placed) -> str:
    if other.stage > best.stage:
        return f"{STAGES[best.stage][0]} explains it: {best.hypothesis.kind}"
    return f"weaker: {other.hypothesis.support:.0f} beside {best.hypothesis.support:.0f} in log odds"


def _share(chosen: Hypothesis) -> float:
    shares = [signal.now for signal in chosen.evidence if signal.unit == "share of rows"]
    return min(1.0, max(shares, default=1.0))
