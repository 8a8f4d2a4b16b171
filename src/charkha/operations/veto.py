"""Incidents in the way of a training: what is broken is mended before it is learnt from.

While an incident is open whose cause is that what serves, the features, the data or the labels are at fault, and whose
time a training would learn from, none begins. The time of one that is over is left out of what is learnt from, and told
with the reason for the training.
"""

from collections.abc import Iterator, Sequence

from attrs import evolve

from charkha.monitoring.diagnosis.documents import from_document
from charkha.monitoring.diagnosis.incident import DiagnosedCause
from charkha.monitoring.diagnosis.incidents import hit
from charkha.monitoring.performance import Span
from charkha.operations.retraining.exclusions import as_plain, in_words, nothing_left, windows_of
from charkha.operations.situation import Situation
from charkha.operations.steps import HoldTraining, Train
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.storage.ledger import Incident
from charkha.training.split import split_spans

# Of these a model would learn the fault: the same that are never answered by training.
BROKEN: Sequence[DiagnosedCause] = ("infrastructure", "skew", "source", "label")


def unless_broken(step: Train, situation: Situation, model: Model) -> Train | HoldTraining | None:
    """Return a training that may begin, with what it leaves out; else that it waits, once for each incident.

    It waits, too, while a part of its rows would be left out as a whole. None where it waits, and the ledger says so.
    """
    waiting = in_the_way(situation.incidents, model, step.as_of_us)
    if not waiting:
        return _leaving_out(step, situation, model)
    key = waiting_key(step.run_key, waiting[0])
    if key in situation.held:
        return None
    return HoldTraining(
        key=key,
        reason=f"{waits_in_words(waiting)}. What is due: {step.reason}",
        evidence={**step.evidence, "run_key": step.run_key, "incidents": [each.id for each in waiting]},
    )


def waiting_key(run_key: str, incident: Incident) -> str:
    """Return the key of the decision that a training waits for an incident."""
    return f"{run_key}/waits/{incident.id}"


def in_the_way(incidents: Sequence[Incident], model: Model, as_of_us: int) -> list[Incident]:
    """Return the open incidents of which a training as of a time would learn the fault, the oldest first."""
    return list(_learnt_from(incidents, model, as_of_us, "open"))


def over(incidents: Sequence[Incident], model: Model, as_of_us: int) -> list[Incident]:
    """Return the incidents that are over and whose rows a training as of a time would learn from, if it was let."""
    return list(_learnt_from(incidents, model, as_of_us, "closed"))


def waits_in_words(incidents: Sequence[Incident]) -> str:
    """Return that a training waits, and for what."""
    return f"training waits: {'; '.join(f'incident {each.id}: {_headline(each)}' for each in incidents)}"


def _learnt_from(incidents: Sequence[Incident], model: Model, as_of_us: int, status: str) -> Iterator[Incident]:
    learnt = training_span(model, as_of_us)
    for each in incidents:
        if each.status != status or each.cause not in BROKEN:
            continue
        bad = hit(each)
        # What is open lasts, though the newest look has not seen it.
        until_us = as_of_us if status == "open" else bad.until_us
        if bad.since_us < learnt.until_us and until_us > learnt.since_us:
            yield each


def training_span(model: Model, as_of_us: int) -> Span:
    """Return from when until when a training as of a time learns: its oldest row, and what became known last."""
    window_us = parse_duration(model.retrain.window) if model.retrain.window else None
    return Span(split_spans(model.split, model.label.delay_us, as_of_us, window_us).train.since_us, as_of_us)


def _leaving_out(step: Train, situation: Situation, model: Model) -> Train | HoldTraining | None:
    incidents = over(situation.incidents, model, step.as_of_us)
    windows = windows_of(incidents, model, step.as_of_us)
    if not windows:
        return step
    part = nothing_left(windows, model, step.as_of_us)
    if part is None:
        reason = f"{step.reason}. It leaves out the time of what is over: {in_words(windows)}"
        return evolve(step, reason=reason, evidence={**step.evidence, "left_out": as_plain(windows)})
    key = f"{waiting_key(step.run_key, incidents[0])}/{part}"
    if key in situation.held:
        return None
    return HoldTraining(
        key=key,
        reason=(
            f"training waits: its {part} rows would all be left out, as the time of what is over: {in_words(windows)}. "
            f"What is due: {step.reason}"
        ),
        evidence={**step.evidence, "run_key": step.run_key, "incidents": [each.id for each in incidents]},
    )


def _headline(incident: Incident) -> str:
    return from_document(incident.diagnosis).headline
