"""The schema of a source changes: a column is gone, and what reads it has nothing to read."""

from attrs import evolve

from charkha.monitoring.changes import Change
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.incidents.values import null_flood
from charkha.operations.drills.targets import any_fields


def _schema_change(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    bent = null_flood(traffic, evolve(fault, size=1.0), rescore)
    owner = fault.subject or ""
    told = Change(fault.since_us, "schema", owner, f"the column {owner!r} is not in the data any more")
    return evolve(bent, changes=tuple(sorted((*bent.changes, told))))


INCIDENTS = (
    Incident(
        kind="schema_change",
        cause="source",
        words="a column is not in the data any more; that its schema changed is on the timeline",
        inject=_schema_change,
        subjects=any_fields,
        unit="none",
        size=1.0,
        within="2h",
        rows=100,
        touches={"predictions", "recomputed", "changes"},
    ),
)
