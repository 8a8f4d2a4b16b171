"""Incidents: one row each, which changes as long as it is open, and is never deleted."""

import json
from typing import Any

from attrs import asdict
from sqlalchemy import Connection, Row, delete, insert, select

from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.schema import INCIDENTS
from charkha.storage.ledger.values import Incident


def write_incident(connection: Connection, incident: Incident) -> None:
    """Write an incident in place of what was known of it; in the write transaction."""
    of_it = (INCIDENTS.c.model == incident.model) & (INCIDENTS.c.number == incident.number)
    connection.execute(delete(INCIDENTS).where(of_it))
    values = asdict(incident, recurse=False) | {"diagnosis": canonical_json(incident.diagnosis)}
    connection.execute(insert(INCIDENTS).values(values))


def list_incidents(connection: Connection, model: str | None) -> list[Incident]:
    """Return incidents, of one model if given, in the order in which they were opened."""
    found = select(INCIDENTS).order_by(INCIDENTS.c.opened_us, INCIDENTS.c.model, INCIDENTS.c.number)
    if model is not None:
        found = found.where(INCIDENTS.c.model == model)
    return [_incident(row) for row in connection.execute(found)]


def _incident(row: Row[Any]) -> Incident:
    fields = row._asdict()
    return Incident(**fields | {"diagnosis": json.loads(fields["diagnosis"])})
