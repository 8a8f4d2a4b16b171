"""The ledger: what was decided, what serves, what exists; relational, with its decisions in a chain of hashes."""

from charkha.storage.ledger.decisions import chain_hash
from charkha.storage.ledger.errors import (
    BrokenChain,
    StaleGeneration,
    UnknownDecision,
    UnknownIncident,
    UnknownKey,
    UnknownRun,
    UnknownVersion,
    UnusableLedger,
)
from charkha.storage.ledger.ledger import KILL, REVIVE, ROLLBACK, Ledger
from charkha.storage.ledger.usage import WHOLE, Usage
from charkha.storage.ledger.values import (
    ApiKey,
    Assignment,
    Decision,
    Deployment,
    Draft,
    Incident,
    IncidentStatus,
    KeyRole,
    Revision,
    Role,
    Run,
    RunStatus,
    VersionRow,
    VersionStatus,
)

__all__ = [
    "KILL",
    "REVIVE",
    "ROLLBACK",
    "WHOLE",
    "ApiKey",
    "Assignment",
    "BrokenChain",
    "Decision",
    "Deployment",
    "Draft",
    "Incident",
    "IncidentStatus",
    "KeyRole",
    "Ledger",
    "Revision",
    "Role",
    "Run",
    "RunStatus",
    "StaleGeneration",
    "UnknownDecision",
    "UnknownIncident",
    "UnknownKey",
    "UnknownRun",
    "UnknownVersion",
    "UnusableLedger",
    "Usage",
    "VersionRow",
    "VersionStatus",
    "chain_hash",
]
