"""When the last training began, and the last update, from all that the ledger tells of them."""

from collections.abc import Sequence

from charkha.operations.remedies.keys import is_of_variant
from charkha.operations.retraining.keys import is_of_update
from charkha.storage.ledger import Decision, Run, VersionRow


def last_trained_us(trained: Sequence[Decision], versions: Sequence[VersionRow], runs: Sequence[Run]) -> int | None:
    """Return when the last training began, by the operator or by hand (µs); None when there was none.

    Versions that lack views, and stand in for a champion, do not count; nor do updates.
    """
    began = _began(trained, versions, runs)
    return max((at for key, at in began if not is_of_variant(key) and not is_of_update(key)), default=None)


def last_updated_us(trained: Sequence[Decision], versions: Sequence[VersionRow], runs: Sequence[Run]) -> int | None:
    """Return when the last update began, by the operator or by hand (µs); None when there was none."""
    return max((at for key, at in _began(trained, versions, runs) if is_of_update(key)), default=None)


def _began(trained: Sequence[Decision], versions: Sequence[VersionRow], runs: Sequence[Run]) -> list[tuple[str, int]]:
    """Return the key and the time (µs) of all that tells of a training."""
    told = [(decision.key, decision.time_us) for decision in trained]
    told += [(row.run_key, row.created_us) for row in versions]
    return told + [(run.key, run.started_us) for run in runs]
