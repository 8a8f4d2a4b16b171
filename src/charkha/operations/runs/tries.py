"""Trying again: what may pass by itself is tried at most four times, one, four and sixteen minutes apart.

Each failed try is a decision in the ledger, under a key of its own, so that the count survives any crash; the run goes
on running until it has succeeded, has failed for good or is cancelled.
"""

from collections.abc import Sequence

from charkha.operations.wording import length_of, moment
from charkha.spec.durations import HOUR_US
from charkha.storage.ledger import Decision, Draft, Ledger
from charkha.training.transient import is_transient

RETRY = "retry"
MOST_TRIES = 4
FIRST_WAIT_US = HOUR_US // 60
FACTOR = 4


def wait_us(failed_tries: int) -> int:
    """Return how long to wait after so many failed tries (1 or more), in µs."""
    return FIRST_WAIT_US * int(FACTOR ** (failed_tries - 1))


def retries_of(decisions: Sequence[Decision], run_key: str) -> list[Decision]:
    """Return the decisions to try a run again, oldest first."""
    return [each for each in decisions if each.action == RETRY and each.evidence.get("run_key") == run_key]


def not_before_us(retries: Sequence[Decision]) -> int:
    """Return when the next try may begin (µs); 0 for the first."""
    found = retries[-1].evidence["not_before_us"] if retries else 0
    return found if isinstance(found, int) else 0


def end_try(ledger: Ledger, model: str, run_key: str, error: BaseException, now_us: int, *, actor: str) -> None:
    """Write down that a try of a run failed: to be tried again where that can help, else the run as failed."""
    tries = len(retries_of(ledger.decisions(model), run_key)) + 1
    failure = {"error": str(error) or repr(error), "kind": type(error).__name__}
    if is_transient(error) and tries < MOST_TRIES:
        ledger.decide(_again(model, run_key, failure, tries, now_us=now_us, actor=actor))
        ledger.note_run(run_key, {})  # no process is at work any more
        return
    ledger.finish_run(run_key, now_us, "failed", failure | ({"tries": tries} if tries > 1 else {}))


def _again(model: str, run_key: str, failure: dict[str, str], tries: int, *, now_us: int, actor: str) -> Draft:
    then_us = now_us + wait_us(tries)
    reason = (
        f"try {tries} of {MOST_TRIES} failed by what may pass: {failure['error']}. "
        f"Again in {length_of(wait_us(tries))}, at {moment(then_us)}"
    )
    evidence = {"run_key": run_key, "try": tries, "not_before_us": then_us, **failure}
    return Draft(f"{run_key}/{RETRY}/{tries}", now_us, model, actor, RETRY, reason, evidence)
