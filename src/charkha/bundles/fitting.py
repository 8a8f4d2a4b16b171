"""What every estimator asks of its rows before it fits."""

from importlib import import_module
from typing import Any

import numpy as np

from charkha.bundles.predictor import RuntimeMissing
from charkha.spec.model import Lesson


class CannotFit(ValueError):
    """Rows from which nothing can be learnt; the message says why and what to do."""


def check_rows(lesson: Lesson, *, both_classes: bool = True) -> None:
    """Raise CannotFit when there are no training rows, a label is not finite, or binary ones are not both 0 and 1.

    both_classes: one of the two is not enough.
    """
    matrix, labels = lesson.train
    if len(labels) == 0:
        raise CannotFit("expected training rows, got none. Train on a longer time, or shorten the split's other parts.")
    if len(matrix) != len(labels):
        raise CannotFit(f"expected a label for each of {len(matrix)} rows, got {len(labels)} labels.")
    if not np.isfinite(labels).all():
        raise CannotFit("expected finite labels, got null, NaN or an infinite one. Leave rows without a label out.")
    found = np.unique(labels)
    wanted = "both 0 and 1" if both_classes else "0 or 1"
    wrong = not np.isin(found, (0.0, 1.0)).all() or (both_classes and len(found) < 2)
    if lesson.task == "binary" and wrong:
        raise CannotFit(
            f"expected {wanted} among the labels of the training rows, got {found[:5].tolist()}. "
            "Check the label's expression, or train on a longer time."
        )


def require(module: str, extra: str) -> Any:
    """Return a library that not every installation has. Raises RuntimeMissing with the extra that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise RuntimeMissing(f"{error}. It comes with an extra: pip install 'charkha[{extra}]'") from error
