"""From a decision to train to the order that carries it out: its evidence says all that the order needs.

So a training that a crash cut off is carried out as it was decided, whatever is known by then.
"""

from pathlib import Path
from typing import cast

from charkha.operations.retraining.exclusions import from_evidence
from charkha.operations.steps import Train
from charkha.spec.model import Model
from charkha.training.pipeline import Order


def order_of(step: Train, model: Model, root: Path, champion: str | None) -> Order:
    """Return the order of a step. champion: who serves now; a version that lacks views is compared with nobody."""
    without = tuple(cast("list[str]", step.evidence.get("without", ())))
    updates = step.evidence.get("updates")
    since_us = step.evidence.get("recalibrates_since_us")
    return Order(
        model=model,
        root=root,
        as_of_us=step.as_of_us,
        run_key=step.run_key,
        champion=None if without else champion,
        left_out=from_evidence(step.evidence),
        without=without,
        recalibrates_since_us=since_us if isinstance(since_us, int) else None,
        updates=updates if isinstance(updates, str) else None,
    )
