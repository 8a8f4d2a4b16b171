"""Runs as people ask for them: the run, and what was decided of it."""

from collections.abc import Sequence
from typing import Literal

from attrs import evolve, frozen

from charkha.operations.runs.cancel import is_cancelled
from charkha.operations.runs.tries import not_before_us, retries_of
from charkha.operations.situation import Situation
from charkha.operations.wording import moment
from charkha.storage.ledger import Decision, Ledger, Run

State = Literal["running", "waiting", "being cancelled", "done", "failed", "cancelled"]


@frozen
class RunState:
    """A run and the decisions about it.

    state: "waiting" for its next try, at `not_before_us`; "being cancelled" until who leads has ended it.
    cancelled: by whom and why. retries: the decisions to try it again, oldest first.
    """

    run: Run
    state: State
    not_before_us: int | None
    cancelled: str | None
    retries: tuple[Decision, ...]

    @property
    def tries(self) -> int:
        """How many tries have begun or are due."""
        return len(self.retries) + 1

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.run.finished_us is None

    @property
    def in_words(self) -> str:
        """What came of it, or how far it is."""
        result = self.run.result
        match self.state:
            case "done":
                return f"{result.get('version')} {'passed its gates' if result.get('passed') else 'did not pass'}"
            case "failed":
                return str(result.get("error", ""))
            case "waiting":
                return f"again at {moment(self.not_before_us or 0)}: {self.retries[-1].evidence.get('error', '')}"
            case "cancelled" | "being cancelled":
                return self.cancelled or ""
            case _:
                return str(result.get("step") or "begun")


def as_noted(situation: Situation, runs: Sequence[Run]) -> Situation:
    """Return a situation with its training under way where the ledger names a process that is at work on it."""
    training = situation.training
    if training is None or not any(each.key == training.run_key and "pid" in each.result for each in runs):
        return situation
    return evolve(situation, training=evolve(training, under_way=True))


def states_of(ledger: Ledger, model: str | None) -> list[RunState]:
    """Return the runs of a model, or of all, in the order of their beginning."""
    decisions = ledger.decisions(model)
    return [state_of(run, decisions) for run in ledger.runs(model)]


def state_of(run: Run, decisions: Sequence[Decision]) -> RunState:
    """Return how a run stands. decisions: all of its model, or more."""
    retries = tuple(retries_of(decisions, run.key))
    decided = is_cancelled(decisions, run.key)
    cancelled = None if decided is None else f"by {decided.actor}: {decided.reason}"
    waits = run.status == "running" and bool(retries) and "pid" not in run.result
    state: State = run.status
    if run.status == "running" and cancelled:
        state = "being cancelled"
    elif waits:
        state = "waiting"
    return RunState(run, state, not_before_us(retries) if waits else None, cancelled, retries)
