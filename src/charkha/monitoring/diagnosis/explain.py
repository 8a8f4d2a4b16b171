"""An ordered differential diagnosis: the first stage that explains what was found is believed, and says why.

Stages are ordered by how exactly their null is known: identities of what serves, then of what was computed, then how
data came, then what they say, then labels, then the model. A later stage's signals are mostly what an earlier fault
would bring about: their hypotheses are its rivals, ruled out by it. Those that it cannot have brought about (`reach`)
stand as well: they are faults of their own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import log

from attrs import evolve, frozen

from charkha.clock import to_iso
from charkha.monitoring.changes import Change, ChangeKind
from charkha.monitoring.diagnosis.causes.arrivals import arrival_hypotheses
from charkha.monitoring.diagnosis.causes.categories import category_hypotheses
from charkha.monitoring.diagnosis.causes.infrastructure import infrastructure_hypotheses
from charkha.monitoring.diagnosis.causes.silence import silence_hypotheses
from charkha.monitoring.diagnosis.causes.skew import skew_hypotheses
from charkha.monitoring.diagnosis.causes.source import source_hypotheses
from charkha.monitoring.diagnosis.causes.truth import label_hypotheses, model_hypotheses
from charkha.monitoring.diagnosis.evidence import Evidence, earliest
from charkha.monitoring.diagnosis.incident import Action, DiagnosedCause, Diagnosis, Hypothesis, Remedy
from charkha.monitoring.diagnosis.reach import explains, is_the_same
from charkha.monitoring.diagnosis.unexplained import unexplained
from charkha.spec.durations import HOUR_US

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
    "source": (
        "page_source_owner",
        "Page the owner of the source, set its rows aside, and serve the fallback meanwhile, if one is declared.",
    ),
    "label": ("mend_labels", "Mend the labels; measure and train on none of this time."),
    "concept": ("retrain", "Retrain on what is true since then, or add a rule until it has matured."),
    "prior": ("recalibrate", "Move the intercept or the threshold; nothing else has changed."),
    "population": ("collect_labels", "Collect labels of those who ask now, then retrain."),
}


# What a change of each kind may bring about, where it comes so near to the onset.
BRINGS_ABOUT: Mapping[ChangeKind, tuple[DiagnosedCause, ...]] = {
    "deploy": ("infrastructure", "skew"),
    "definition": ("skew", "infrastructure"),
    "rule": ("infrastructure",),
    "schema": ("source", "skew"),
    "backfill": ("source", "skew"),
}
NEAR_US = 3 * HOUR_US
SELDOMEST = 1e-3


@frozen
class _Placed:
    stage: int
    hypothesis: Hypothesis


def explain(evidence: Evidence) -> Diagnosis:
    """Return the first stage's strongest hypothesis as the diagnosis, and the others as its rivals.

    Where there is none, what moved is benign, the model is degraded and nobody knows why, or nothing is wrong.
    """
    case = evidence.case
    found = ((number, each) for number, (_, stage) in enumerate(STAGES) for each in stage(evidence))
    placed = [_Placed(number, _with_changes(evidence, each)) for number, each in found]
    placed.sort(key=lambda each: (each.stage, -each.hypothesis.support))
    healthy = Diagnosis(model=case.traffic.model, watched=case.watched, healthy=case.healthy)
    if not placed:
        return unexplained(evidence, healthy)
    best = placed[0]
    rivals = tuple(evolve(each.hypothesis, against=_why_not(best, each)) for each in placed[1:])
    against = [
        each.hypothesis.support
        for each, rival in zip(placed[1:], rivals, strict=True)
        if each.stage == best.stage and rival.against and not is_the_same(best.hypothesis, rival)
    ]
    told = _told(healthy, best.hypothesis, evidence)
    return evolve(told, rivals=rivals, margin=best.hypothesis.support - max(against, default=0.0))


def standing(evidence: Evidence, diagnosis: Diagnosis) -> tuple[Diagnosis, ...]:
    """Return the faults that stand beside a diagnosis, each as one of its own; of one told twice the strongest."""
    found: list[Hypothesis] = []
    for rival in diagnosis.rivals:
        is_told = rival.cause == diagnosis.cause and rival.culprit.meets(diagnosis.culprit)
        if rival.against or is_told or any(is_the_same(rival, each) or explains(each, rival) for each in found):
            continue
        found.append(rival)
    return tuple(_told(diagnosis, each, evidence) for each in found)


def _told(healthy: Diagnosis, chosen: Hypothesis, evidence: Evidence) -> Diagnosis:
    began_us, earliest_us, latest_us = earliest(chosen.evidence)
    action, words = REMEDIES[chosen.cause]
    if action == "mend_serving" and chosen.cause == "infrastructure":
        action, words = _of_server(chosen)
    return evolve(
        healthy,
        cause=chosen.cause,
        kind=chosen.kind,
        culprit=chosen.culprit,
        began_us=began_us,
        earliest_us=earliest_us,
        latest_us=latest_us,
        evidence=chosen.evidence,
        rivals=(),
        share=_share(evidence, chosen, began_us),
        changes=tuple(f"{to_iso(each.time_us)} {each.words}" for each in _changes(evidence, chosen)),
        remedy=Remedy(action=action, words=words),
        margin=chosen.support,
    )


def _of_server(chosen: Hypothesis) -> tuple[Action, str]:
    if chosen.culprit.replicas:
        return "eject_replica", f"Take {chosen.culprit.words} out of service and start it anew."
    if chosen.culprit.versions:
        return "roll_back", f"Deploy the registered bundle of {chosen.culprit.words} anew, or roll back."
    return REMEDIES["infrastructure"]


def _why_not(best: _Placed, other: _Placed) -> str:
    """Return what rules a hypothesis out; nothing where it stands as well."""
    if not explains(best.hypothesis, other.hypothesis):
        return ""
    if is_the_same(best.hypothesis, other.hypothesis):
        return f"the same fault: {best.hypothesis.kind}"
    if other.stage > best.stage:
        return f"{STAGES[best.stage][0]} explains it: {best.hypothesis.kind}"
    return f"weaker: {other.hypothesis.support:.0f} beside {best.hypothesis.support:.0f} in log odds"


def _share(evidence: Evidence, chosen: Hypothesis, began_us: int) -> float:
    """Return the share of the traffic that is hit: of what is at fault, times its part of all there is."""
    shares = [signal.now for signal in chosen.evidence if signal.unit.startswith("share of")]
    asked, part = evidence.asked(evidence.since(began_us)), 1.0
    for column, names in (("replica", chosen.culprit.replicas), ("version", chosen.culprit.versions)):
        if names and asked.height:
            part *= float(asked[column].is_in(names).mean() or 0.0)  # type: ignore[arg-type]
    return min(1.0, max(shares, default=1.0)) * part


def _with_changes(evidence: Evidence, hypothesis: Hypothesis) -> Hypothesis:
    """Return a hypothesis with what it is worth that something was changed when it began.

    The logarithm of how seldom that would be so by chance, as often as things are changed: the odds that are added.
    """
    changes = _changes(evidence, hypothesis)
    if not changes:
        return hypothesis
    span = evidence.case.traffic.span
    alike = sum(each.kind in {change.kind for change in changes} for each in evidence.case.traffic.changes)
    by_chance = min(1.0, alike * 2 * NEAR_US / max(1, span.until_us - span.since_us))
    return evolve(hypothesis, support=hypothesis.support - log(max(by_chance, SELDOMEST)))


def _changes(evidence: Evidence, hypothesis: Hypothesis) -> list[Change]:
    """Return what was changed about when a fault began, of what may bring about such a fault."""
    if not hypothesis.evidence:
        return []
    _, earliest_us, latest_us = earliest(hypothesis.evidence)
    return [
        each
        for each in evidence.case.traffic.changes
        if hypothesis.cause in BRINGS_ABOUT.get(each.kind, ())
        and earliest_us - NEAR_US <= each.time_us <= latest_us + NEAR_US
    ]
