"""What calls for a training: a fall of the metric, a diagnosis that new data help with, the calendar, new labels."""

from collections.abc import Iterator, Sequence

from attrs import frozen

from charkha.monitoring.diagnosis.documents import from_document
from charkha.operations.retraining.past import PastTraining
from charkha.operations.situation import Situation
from charkha.operations.steps import Evidence
from charkha.operations.verdict import fall
from charkha.operations.wording import count_of, length_of, moment
from charkha.spec.durations import DAY_US, parse_duration
from charkha.spec.model import Model
from charkha.storage.ledger import Incident
from charkha.training.split import split_spans

# The causes that new data help with: the world is another one than was learnt.
HELPED = ("concept", "population", "prior")
# One that ended so long ago is a cause for a training no more.
RECENT_US = 7 * DAY_US


@frozen(kw_only=True)
class Trigger:
    """Why a training is due. incidents: which of them it answers."""

    kind: str
    reason: str
    evidence: Evidence
    incidents: tuple[Incident, ...] = ()


def triggers(situation: Situation, model: Model) -> list[Trigger]:
    """Return all that calls for a training now, the most telling first; one training answers them all."""
    asked = (_on_fall, _on_diagnosis, _on_schedule, _on_labels)
    return [found for ask in asked if (found := ask(situation, model)) is not None]


def unanswered(situation: Situation, model: Model) -> list[Incident]:
    """Return the incidents that new data help with and that no training has answered, the oldest first.

    They are open, or ended by themselves not long ago. One that was trained for counts again once it showed itself
    after that training's version was promoted or given up; after a promotion only evidence counts that is of the new
    champion: labels are late, and looks look back a day.
    """
    return [each for each in situation.incidents if _is_helped(each, situation, model)]


def _is_helped(incident: Incident, situation: Situation, model: Model) -> bool:
    if incident.cause not in HELPED or not _is_recent(incident, situation.now_us):
        return False
    if incident.cause == "prior" and can_recalibrate(model) and not was_recalibrated(incident, situation.past):
        return False
    answers = [each for each in situation.past if incident.id in each.incidents and each.fate != "failed"]
    return not answers or _shows_again(incident, answers[-1], model)


def _is_recent(incident: Incident, now_us: int) -> bool:
    if incident.status == "open":
        return True
    by_itself = incident.status == "closed" and incident.closed_by is None
    return by_itself and now_us < (incident.closed_us or 0) + RECENT_US


def _shows_again(incident: Incident, answer: PastTraining, model: Model) -> bool:
    if answer.ended_us is None:
        return False
    silent_us = model.label.delay_us + DAY_US if answer.fate == "promoted" else 0
    return incident.seen_us > answer.ended_us + silent_us


def can_recalibrate(model: Model) -> bool:
    """Say whether a shift of the prior may be answered by another calibration."""
    return model.task == "binary" and model.calibrate is not None


def was_recalibrated(incident: Incident, past: Sequence[PastTraining]) -> bool:
    """Say whether the champion was calibrated anew for an incident, or that was tried."""
    return any(each.recalibrates and incident.id in each.incidents for each in past)


def new_from_us(incident: Incident, model: Model) -> int:
    """Return from when a training would learn enough of what is new since an incident began (µs).

    The rows that it learns from end before those that it is calibrated and tested on. With less than half a cooldown
    of what is new among them it would have to be made again soon.
    """
    spans = split_spans(model.split, model.label.delay_us, 0)
    return incident.began_us - spans.train.until_us + parse_duration(model.retrain.cooldown) // 2


def _on_fall(situation: Situation, model: Model) -> Trigger | None:
    if not model.retrain.on_fall or situation.health is None or situation.reference is None:
        return None
    if situation.health.labels < model.rollout.shadow.min_labels:
        return None
    fallen = fall(situation.health, situation.reference, situation.findings, higher_is_better=model.higher_is_better)
    if fallen is None:
        return None
    helped = tuple(unanswered(situation, model)) if model.retrain.on_diagnosis else ()
    return Trigger(kind="fall", reason=fallen[0], evidence=fallen[1], incidents=helped)


def _on_diagnosis(situation: Situation, model: Model) -> Trigger | None:
    if not model.retrain.on_diagnosis or situation.deployment.champion is None:
        return None
    ripe = [each for each in unanswered(situation, model) if new_from_us(each, model) <= situation.now_us]
    if not ripe:
        return None
    said = "; ".join(_said(each) for each in ripe[:3]) + (f"; and {len(ripe) - 3} more" if len(ripe) > 3 else "")
    evidence = {"champion": situation.deployment.champion.version, "causes": [each.cause for each in ripe]}
    return Trigger(kind="diagnosis", reason=f"new data help with {said}", evidence=evidence, incidents=tuple(ripe))


def _said(incident: Incident) -> str:
    return f"incident {incident.id}, {from_document(incident.diagnosis).headline}, since {moment(incident.began_us)}"


def unripe(situation: Situation, model: Model) -> list[Incident]:
    """Return the incidents that new data help with, of which there are too few yet."""
    if not model.retrain.on_diagnosis:
        return []
    return [each for each in unanswered(situation, model) if new_from_us(each, model) > situation.now_us]


def _on_schedule(situation: Situation, model: Model) -> Trigger | None:
    every, last_us = model.retrain.every, situation.last_trained_us
    champion = situation.deployment.champion
    if (
        every is None
        or champion is None
        or (last_us is not None and situation.now_us < last_us + parse_duration(every))
    ):
        return None
    since = "no training yet" if last_us is None else f"{length_of(situation.now_us - last_us)} since the last training"
    reason = f"{since}, and one is due every {length_of(parse_duration(every))}"
    evidence = {"champion": champion.version, "last_trained_us": last_us, "every": every}
    return Trigger(kind="schedule", reason=reason, evidence=evidence)


def _on_labels(situation: Situation, model: Model) -> Trigger | None:
    wanted, there, champion = model.retrain.new_labels, situation.new_labels, situation.deployment.champion
    if wanted is None or there is None or champion is None or there < wanted:
        return None
    reason = f"{count_of(there, 'label')} became known since the last training, and one is due every {wanted:,}"
    return Trigger(kind="labels", reason=reason, evidence={"champion": champion.version, "new_labels": there})


def answered_in_all(found: Sequence[Trigger]) -> Iterator[str]:
    """Yield the ids of the incidents that triggers name, each once."""
    yield from dict.fromkeys(each.id for trigger in found for each in trigger.incidents)
