"""The trainings that an operator has under way, each in a process of its own: begun once, and looked at again.

All of it is in memory, and may be lost: a process ends with the operator, its run stays running in the ledger, and the
next operator begins it again under the same key.
"""

import logging
from collections.abc import Callable

from attrs import define, field

from charkha.clock import Clock, to_iso
from charkha.operations.runs.cancel import cancel_key
from charkha.storage.ledger import Ledger, UnknownDecision
from charkha.storage.processes import Process
from charkha.training.child_process import Child, Ended
from charkha.training.pipeline import Candidate, OnStep, Order

# How often the ledger is told that a process is alive.
HEARTBEAT_US = 10_000_000

# Begins an order in a process of its own; told where to say each step.
Begin = Callable[[Order, OnStep], Child]
# Makes of an order and of how its process ended a version. Raises TrainingFailed.
Finish = Callable[[Order, Ended], Candidate]

logger = logging.getLogger(__name__)


@define(eq=False)
class _UnderWay:
    """One training at work."""

    order: Order
    child: Child
    began_us: int
    step: str = ""
    noted_us: int = 0
    noted_step: str = ""


@define(eq=False)
class Desk:
    """Begins trainings, and hands them over when they have ended. For one thread."""

    begin: Begin
    finish: Finish
    ledger: Ledger
    clock: Clock
    _under_way: dict[str, _UnderWay] = field(factory=dict)

    def train(self, order: Order) -> Candidate | None:
        """Return what a training has made; None while it is at work, which it is from the first call on.

        Raises TrainingFailed and its kinds when it has come to nothing; then the next call begins it again.
        """
        at_work = self._under_way.get(order.run_key)
        if at_work is None:
            self._begin(order)
            return None
        ended = at_work.child.poll()
        if ended is None:
            return None
        self.end(order.run_key)
        return self.finish(order, ended)

    def is_under_way(self, run_key: str) -> bool:
        """Say whether a training is at work; one that has ended is to be asked for by `train`."""
        at_work = self._under_way.get(run_key)
        return at_work is not None and at_work.child.poll() is None

    def keys(self) -> list[str]:
        """Return the keys of the trainings that were begun and not handed over."""
        return list(self._under_way)

    def has_news(self) -> bool:
        """Say whether a training has ended and was not handed over, or was cancelled.

        The ledger is told of those that are at work.
        """
        for key, at_work in self._under_way.items():
            if not self.is_under_way(key):
                return True
            if self._is_cancelled(key):
                return True
            self._note(at_work)
        return False

    def _is_cancelled(self, key: str) -> bool:
        """Ask for the one decision: this is asked many times a second."""
        try:
            self.ledger.decision(cancel_key(key))
        except UnknownDecision:
            return False
        return True

    def end(self, run_key: str) -> None:
        """End a training's process, if there is one."""
        at_work = self._under_way.pop(run_key, None)
        if at_work is not None:
            at_work.child.close()

    def close(self) -> None:
        """End all; their runs go on being running, to be begun again."""
        for run_key in list(self._under_way):
            logger.info("%s: its process is ended; the next operator begins it again", run_key)
            self.end(run_key)

    def _begin(self, order: Order) -> None:
        steps: list[str] = [""]

        def on_step(step: str) -> None:
            steps[0] = step
            if order.run_key in self._under_way:
                self._under_way[order.run_key].step = step

        child = self.begin(order, on_step)
        self._under_way[order.run_key] = _UnderWay(order, child, self.clock.now(), step=steps[0])
        self._note(self._under_way[order.run_key])

    def _note(self, at_work: _UnderWay) -> None:
        now_us = self.clock.now()
        if at_work.noted_us + HEARTBEAT_US > now_us and at_work.step == at_work.noted_step:
            return
        at_work.noted_us, at_work.noted_step = now_us, at_work.step
        note = {
            "pid": at_work.child.pid,
            "host": Process.this().host,
            "began": to_iso(at_work.began_us),
            "seen": to_iso(now_us),
            "step": at_work.step,
        }
        self.ledger.note_run(at_work.order.run_key, note)
