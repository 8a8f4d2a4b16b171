"""Training as the operator orders it: in a child process, which may also make the drills that gates ask for."""

import sys
from pathlib import Path

from charkha.clock import Clock
from charkha.operations.drills.gate import drilling
from charkha.operations.lease import Leadership
from charkha.operations.runs.desk import Desk
from charkha.spec.project import Project
from charkha.storage.ledger import Ledger
from charkha.storage.metering import OnUsage
from charkha.training.child import begin_child, candidate_of, main, train_in_child, untold
from charkha.training.child_process import Child
from charkha.training.pipeline import Candidate, OnStep, Order
from charkha.training.tracking import Tracker

MODULE = "charkha.operations.training"


def train_with_drills(
    order: Order,
    project: Project,
    clock: Clock,
    tracker: Tracker,
    *,
    term: int | None = None,
    on_usage: OnUsage = untold,
) -> Candidate:
    """Carry out an order in a child process within the model's budget. Raises as `train_in_child` does."""
    return train_in_child(order, project, clock, tracker, on_usage=on_usage, module=MODULE, term=term)


def desk_of(
    project: Project, ledger: Ledger, clock: Clock, tracker: Tracker, leadership: Leadership, *, on_usage: OnUsage
) -> Desk:
    """Return a desk that begins such children, and goes on without waiting for them."""

    def begin(order: Order, on_step: OnStep) -> Child:
        term = leadership.term
        return begin_child(order, project, clock, tracker, on_step=on_step, on_usage=on_usage, module=MODULE, term=term)

    return Desk(begin, lambda order, ended: candidate_of(order, project, ended), ledger, clock)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), drilling)
