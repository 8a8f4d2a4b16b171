"""What a look at a model makes of its incidents: opened once, brought up to date, merged, closed.

An incident is the same as one that is open where the cause is the same and the culprits may be one. One whose cause is
unknown is the same as any that began within the same interval, and takes its cause once that is found. Everything here
is pure; `Ledger.revise_incidents` makes one transaction of it.
"""

from collections.abc import Iterator, Sequence

from attrs import evolve

from charkha.monitoring.diagnosis.documents import as_document, from_document
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US
from charkha.storage.ledger import Draft, Incident, Ledger, Revision, UnknownIncident

OPEN, CLOSE, MERGE, RENAME = "incident_open", "incident_close", "incident_merge", "incident_rename"
INCIDENT_ACTIONS = (OPEN, CLOSE, MERGE, RENAME)
ACTOR = "diagnosis"
# So long without evidence an incident is over: every hour of the day has then been looked at.
PATIENCE_US = DAY_US


def observe(ledger: Ledger, diagnosis: Diagnosis) -> list[Incident]:
    """Write what a look makes of a model's incidents, and return those that are open then.

    The same look again changes nothing, and so does one that is older than the newest.
    """
    ledger.revise_incidents(diagnosis.model, lambda known: revisions(known, diagnosis))
    return [each for each in ledger.incidents(diagnosis.model) if each.status == "open"]


def close(ledger: Ledger, incident: Incident, actor: str, reason: str, now_us: int) -> Incident:
    """Close an incident by hand, and return it; one that is not open stays as it is. Raises UnknownIncident.

    Evidence that began before does not open it again for `PATIENCE_US`.
    """

    def closed(known: Sequence[Incident]) -> list[Revision]:
        found = next((each for each in known if each.number == incident.number), None)
        if found is None:
            raise UnknownIncident(incident.id)
        return [_closed(found, now_us, reason, actor)] if found.status == "open" else []

    ledger.revise_incidents(incident.model, closed)
    return find(ledger, incident.id)


def find(ledger: Ledger, id_: str) -> Incident:
    """Return an incident by its id. Raises UnknownIncident."""
    found = next((each for each in ledger.incidents() if each.id == id_), None)
    if found is None:
        raise UnknownIncident(id_)
    return found


def revisions(known: Sequence[Incident], diagnosis: Diagnosis) -> list[Revision]:
    """Return what changes of a model's incidents by one look."""
    now_us = diagnosis.watched.until_us
    if any(each.looked_us >= now_us and each.status == "open" for each in known):
        return []
    others = [each for each in known if each.status == "open"]
    found: list[Revision] = []
    for told in (diagnosis, *diagnosis.also):
        same = [each for each in others if told.is_incident and is_same(each, told)]
        if told.cause == "unknown":  # it says of one that it lasts, and of none that they are the same
            same = sorted(same, key=lambda each: each.cause != "unknown")[:1]
        found += _found([*known, *(each.incident for each in found)], same, told)
        others = [each for each in others if each not in same]
    return [*found, *(_passed_by(each, now_us) for each in others)]


def hit(incident: Incident) -> Span:
    """Return from when until when an incident may have been there."""
    diagnosis = from_document(incident.diagnosis)
    since_us = diagnosis.earliest_us if diagnosis.earliest_us is not None else incident.began_us
    return Span(since_us, incident.seen_us + 1)


def is_same(incident: Incident, diagnosis: Diagnosis) -> bool:
    """Say whether an incident is what a diagnosis speaks of."""
    before = from_document(incident.diagnosis)
    if "unknown" in (before.cause, diagnosis.cause):
        return _begin_together(before, diagnosis)
    return _agree(before, diagnosis)


def _agree(one: Diagnosis, other: Diagnosis) -> bool:
    return one.cause == other.cause and one.culprit.meets(other.culprit)


def _begin_together(one: Diagnosis, other: Diagnosis) -> bool:
    bounds = [(each.earliest_us or 0, each.latest_us or each.watched.until_us) for each in (one, other)]
    return bounds[0][0] <= bounds[1][1] and bounds[1][0] <= bounds[0][1]


def _found(known: Sequence[Incident], same: Sequence[Incident], diagnosis: Diagnosis) -> Iterator[Revision]:
    """Yield what becomes of those that a diagnosis speaks of: the oldest goes on, the others turn out to be it."""
    now_us = diagnosis.watched.until_us
    if same:
        first, *others = same
        yield _updated(first, diagnosis)
        for each in others:
            merged = evolve(each, status="merged", merged_into=first.number, closed_us=now_us, looked_us=now_us)
            yield Revision(merged, _draft(merged, MERGE, now_us, f"the same as {first.id}"))
    elif diagnosis.is_incident and not any(_was_dealt_with(each, diagnosis) for each in known):
        opened = _opened(max((each.number for each in known), default=0) + 1, diagnosis)
        yield Revision(opened, _draft(opened, OPEN, now_us, diagnosis.headline))


def _was_dealt_with(incident: Incident, diagnosis: Diagnosis) -> bool:
    """Say whether somebody closed this not long ago, or a look as old as this one has come to its end already."""
    if incident.status != "closed" or incident.closed_us is None or not is_same(incident, diagnosis):
        return False
    now_us = diagnosis.watched.until_us
    began_before = (diagnosis.began_us or 0) <= incident.closed_us
    by_hand = incident.closed_by is not None and now_us < incident.closed_us + PATIENCE_US
    return began_before and (by_hand or now_us <= incident.closed_us)


def _opened(number: int, diagnosis: Diagnosis) -> Incident:
    now_us = diagnosis.watched.until_us
    return Incident(
        model=diagnosis.model,
        number=number,
        status="open",
        cause=diagnosis.cause or "unknown",
        culprit=diagnosis.culprit.words,
        began_us=diagnosis.began_us or now_us,
        opened_us=now_us,
        looked_us=now_us,
        seen_us=diagnosis.until_us or now_us,
        diagnosis=as_document(diagnosis),
    )


def _updated(incident: Incident, diagnosis: Diagnosis) -> Revision:
    now_us = diagnosis.watched.until_us
    seen_us = max(incident.seen_us, diagnosis.until_us or now_us)
    if diagnosis.cause == "unknown" != incident.cause:  # what was known of it is not forgotten
        return Revision(evolve(incident, looked_us=now_us, seen_us=seen_us))
    fresh = evolve(_opened(incident.number, diagnosis), opened_us=incident.opened_us, seen_us=seen_us)
    if fresh.cause == incident.cause:
        over = now_us >= seen_us + PATIENCE_US
        return _closed(fresh, now_us, _gone(seen_us, now_us)) if over else Revision(fresh)
    return Revision(fresh, _draft(fresh, RENAME, now_us, f"was {incident.cause}; now {diagnosis.headline}"))


def _passed_by(incident: Incident, now_us: int) -> Revision:
    """Return an incident that a look is not about: closed once none says anything of it for long enough."""
    if now_us >= incident.seen_us + PATIENCE_US:
        return _closed(incident, now_us, _gone(incident.seen_us, now_us))
    return Revision(evolve(incident, looked_us=now_us))


def _gone(seen_us: int, now_us: int) -> str:
    return f"no evidence of it for {(now_us - seen_us) / DAY_US:.1f} days"


def _closed(incident: Incident, now_us: int, reason: str, actor: str | None = None) -> Revision:
    closed = evolve(incident, status="closed", closed_us=now_us, looked_us=now_us, closed_by=actor)
    return Revision(closed, _draft(closed, CLOSE, now_us, reason, actor or ACTOR))


def _draft(incident: Incident, action: str, now_us: int, reason: str, actor: str = ACTOR) -> Draft:
    of_what = {"incident": incident.id, "cause": incident.cause, "culprit": incident.culprit}
    if incident.merged_into is not None:
        of_what["merged_into"] = f"{incident.model}-{incident.merged_into}"
    evidence = {**of_what, "began_us": incident.began_us, "diagnosis": incident.diagnosis}
    key = f"{action}:{incident.id}" + (f":{incident.cause}:{now_us}" if action == RENAME else "")
    return Draft(key, now_us, incident.model, actor, action, reason, evidence)
