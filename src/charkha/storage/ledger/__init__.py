"""The ledger: what was decided, what serves, what exists; relational, with its decisions in a chain of hashes."""

from charkha.storage.ledger.decisions import chain_hash
from charkha.storage.ledger.errors import (
    BrokenChain,
    LeaseLost,
    StaleGeneration,
    UnknownIncident,
    UnknownKey,
    UnknownRun,
    UnknownVersion,
    UnusableLedger,
)
from charkha.storage.ledger.leases import LEASE, Lease
from charkha.storage.ledger.ledger import EJECT, KILL, REVIVE, ROLLBACK, Ledger
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
    "EJECT",
    "KILL",
    "LEASE",
    "REVIVE",
    "ROLLBACK",
    "ApiKey",
    "Assignment",
    "BrokenChain",
    "Decision",
    "Deployment",
    "Draft",
    "Incident",
    "IncidentStatus",
    "KeyRole",
    "Lease",
    "LeaseLost",
    "Ledger",
    "Revision",
    "Role",
    "Run",
    "RunStatus",
    "StaleGeneration",
    "UnknownIncident",
    "UnknownKey",
    "UnknownRun",
    "UnknownVersion",
    "UnusableLedger",
    "VersionRow",
    "VersionStatus",
    "chain_hash",
]
