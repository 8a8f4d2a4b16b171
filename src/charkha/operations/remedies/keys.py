"""Under which keys remedies are in the ledger: one of each kind for an incident, so that each is done once."""

from collections.abc import Mapping, Sequence

from charkha.storage.ledger import EJECT, KILL, REVIVE, ROLLBACK, Decision, Incident

PAGE = "page"
# What a remedy is called in the ledger, where it changes what serves.
ACTIONS: Mapping[str, str] = {
    "serve_fallback": KILL,
    "end_fallback": REVIVE,
    "substitute": "substitute",
    "restore": "restore",
    "roll_back": ROLLBACK,
    "eject_replica": EJECT,
}
_WITHOUT, _RECALIBRATE = "without", "recalibrate"


def remedy_key(incident: Incident, remedy: str) -> str:
    """Return the key of the decision that carries a remedy out."""
    return f"{incident.model}/{remedy}/{incident.id}"


def variant_key(incident: Incident, views: Sequence[str]) -> str:
    """Return the key of the training of a version without the views at fault."""
    return f"{incident.model}/{_WITHOUT}/{'+'.join(sorted(views))}/{incident.id}"


def is_of_variant(run_key: str) -> bool:
    """Say whether a training makes a version that lacks views."""
    return run_key.split("/")[1:2] == [_WITHOUT]


def recalibration_key(incident: Incident) -> str:
    """Return the key of the training that calibrates the champion anew."""
    return f"{incident.model}/{_RECALIBRATE}/{incident.id}"


def can_be_undone(decision: Decision) -> bool:
    """Say whether a decision carried out a remedy that ends with its incident."""
    return decision.action in (KILL, "substitute") and "remedy" in decision.evidence
