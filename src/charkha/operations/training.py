"""Training as the operator orders it: in a child process, which may also make the drills that gates ask for."""

import sys
from pathlib import Path

from charkha.clock import Clock
from charkha.operations.drills.gate import drilling
from charkha.spec.project import Project
from charkha.storage.metering import OnUsage
from charkha.training.child import main, train_in_child, untold
from charkha.training.pipeline import Candidate, Order
from charkha.training.tracking import Tracker

MODULE = "charkha.operations.training"


def train_with_drills(
    order: Order, project: Project, clock: Clock, tracker: Tracker, *, on_usage: OnUsage = untold
) -> Candidate:
    """Carry out an order in a child process within the model's budget. Raises as `train_in_child` does."""
    return train_in_child(order, project, clock, tracker, on_usage=on_usage, module=MODULE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), drilling)
