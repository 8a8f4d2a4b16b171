"""Cancelling a run: a decision in the ledger, which whoever leads heeds by ending the run's process.

A cancelled run is never begun again. What it left half made stays out of the ledger, and is overwritten or never read.
"""

from collections.abc import Sequence

from charkha.clock import Clock
from charkha.operations.deploy import require_reason
from charkha.storage.home import Home
from charkha.storage.ledger import Decision, Draft, Run, UnknownRun

CANCEL = "cancel"


class RunRefused(Exception):
    """A run that cannot be cancelled; says why, and the way out. Nothing was changed."""

    def __init__(self, run_key: str, problem: str) -> None:
        self.run_key, self.problem = run_key, problem
        super().__init__(f"run {run_key!r}: {problem}")


def cancel(home: Home, clock: Clock, run_key: str, *, actor: str, reason: str) -> Decision:
    """Decide that a run is to end. A second cancel of the same run is the first one again.

    actor, reason: kept in the ledger for ever; neither may be empty. Raises UnknownRun, RunRefused for a run that has
    ended, or that nobody but the one who began it can end, and DeploymentRefused without a reason.
    """
    run = find_run(home.ledger.runs(), run_key)
    require_reason(run.model, actor, reason)
    if run.status != "running":
        raise RunRefused(run_key, f"expected one that runs, but it is {run.status} since it ended")
    if "/by-hand/" in run_key:
        process = run.result.get("process", "a terminal")
        raise RunRefused(run_key, f"it was begun by hand, in {process}; press Ctrl-C there")
    draft = Draft(cancel_key(run_key), clock.now(), run.model, actor, CANCEL, reason, {"run_key": run_key})
    return home.ledger.decide(draft)


def find_run(runs: Sequence[Run], run_key: str) -> Run:
    """Return the run of a key. Raises UnknownRun."""
    found = next((run for run in runs if run.key == run_key), None)
    if found is None:
        raise UnknownRun(run_key)
    return found


def cancel_key(run_key: str) -> str:
    """Return the key of the decision to cancel a run."""
    return f"{run_key}/{CANCEL}"


def is_cancelled(decisions: Sequence[Decision], run_key: str) -> Decision | None:
    """Return the decision to cancel a run, if there is one."""
    return next((each for each in decisions if each.key == cancel_key(run_key)), None)
