"""The incidents of a backtest as rows: what was found, and what the policy did about it."""

from collections.abc import Iterable, Sequence, Set

from charkha.clock import parse_time, to_iso
from charkha.monitoring.diagnosis.documents import from_document
from charkha.operations.backtest.results import IncidentRow, Retraining
from charkha.storage.ledger import Incident


def incident_rows(
    incidents: Iterable[Incident], retrainings: Sequence[Retraining], held: Set[str], until_us: int
) -> tuple[IncidentRow, ...]:
    """Return the incidents that are not others, oldest first. held: keys of waits; until_us: the end."""
    return tuple(_row(each, retrainings, held, until_us) for each in incidents if each.status != "merged")


def _row(incident: Incident, retrainings: Sequence[Retraining], held: Set[str], until_us: int) -> IncidentRow:
    diagnosis = from_document(incident.diagnosis)
    closed_us = incident.closed_us if incident.closed_us is not None else until_us
    retrained = any(incident.opened_us <= parse_time(each.time) <= closed_us for each in retrainings)
    waited = any(key.endswith(f"/waits/{incident.id}") for key in held)
    return IncidentRow(
        id=incident.id,
        cause=incident.cause,
        what=diagnosis.kind,
        culprit=incident.culprit,
        began=to_iso(incident.began_us),
        opened=to_iso(incident.opened_us),
        closed=None if incident.closed_us is None else to_iso(incident.closed_us),
        remedy=diagnosis.remedy.action,
        answer="held a training" if waited else "retrained" if retrained else "told",
    )
