"""The tracker follows the ledger: every version has its run, and the aliases are those of the deployment.

"champion" is what serves, "challenger" what may serve next.
"""

import logging

from attrs import evolve

from charkha.bundles.store import BundleStore
from charkha.operations.shelf import UNREADABLE
from charkha.storage.ledger import Ledger
from charkha.training.tracking import Tracker

logger = logging.getLogger(__name__)

ALIASES = ("champion", "challenger")


def record_untracked(ledger: Ledger, bundles: BundleStore, tracker: Tracker, model: str) -> int:
    """Record the versions that the tracker could not be told of when they were trained; return how many.

    Called again after a crash, it goes on. Raises what the tracker raises; then the next call tries again.
    """
    recorded = 0
    for row in (row for row in ledger.versions(model) if not row.tracking):
        try:
            manifest = bundles.manifest(model, row.version)
        except UNREADABLE as error:
            logger.warning("%s %s cannot be recorded any more: %s", model, row.version, error)
            continue
        tracking = tracker.log_candidate(manifest, bundles.path(model, row.version), row.run_key)
        if tracking:
            ledger.record_version(evolve(row, tracking=tracking))
            recorded += 1
    return recorded


def mirror_aliases(ledger: Ledger, tracker: Tracker, model: str) -> bool:
    """Make the aliases of a model's registered versions those of its deployment; return whether one was changed.

    Does nothing, and asks nobody, once they were made so for the present generation. Called again after a crash, it
    goes on. Raises what the tracker raises; then the next call tries again.
    """
    deployment, checkpoint = ledger.deployment(model), f"mirrored/{model}"
    if (ledger.checkpoint(checkpoint) or {}).get("generation", 0) == deployment.generation:
        return False
    registered = {row.version: row.tracking.get("registered_version") for row in ledger.versions(model)}
    challengers = [each for each in deployment.serving if each.role == "challenger"]
    places = (deployment.champion, next(iter([*challengers, *deployment.shadows]), None))
    wanted = {
        alias: registered.get(each.version) if each else None for alias, each in zip(ALIASES, places, strict=True)
    }
    found = tracker.aliases(model)
    changed = [alias for alias in ALIASES if found.get(alias) != wanted[alias]]
    for alias in changed:
        version = wanted[alias]
        if version is None:
            tracker.delete_alias(model, alias)
        else:
            tracker.set_alias(model, alias, version)
    ledger.set_checkpoint(checkpoint, {"generation": deployment.generation})
    return bool(changed)
