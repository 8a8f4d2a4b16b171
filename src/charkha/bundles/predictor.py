"""What can predict, and how a stored state becomes one again.

An estimator's module has its `RUNTIMES`: name → what makes a predictor of a state. The first is the trainer's own
code, or where serving has none of that the plainest: the others are held to it.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

from charkha.spec.model import FloatArray

_KIND = re.compile(r"[a-z][a-z0-9_]*")


class Predictor(Protocol):
    """A fitted estimator, ready to answer; safe to call from several threads at once."""

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): the probability of the positive class, or the value. `matrix`: float64 (rows, columns)."""
        ...


@runtime_checkable
class Explainer(Protocol):
    """A predictor that says what each feature added to a score."""

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Return (rows, columns + 1): what each column added, and last what all rows begin with.

        A row's sum is its score before any calibration: for a probability its log-odds. Of trees, the exact Shapley
        values of their paths (Lundberg et al., Nature Machine Intelligence 2, 2020). `matrix`: as for `predict`.
        """
        ...


class NotExplainable(Exception):
    """An estimator whose scores cannot be taken apart."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(
            f"the scores of a {kind} model cannot be taken apart feature by feature. Those of linear, online_linear,"
            " lightgbm, xgboost and catboost can"
        )


class UnknownEstimator(LookupError):
    """A bundle names a kind of estimator that this installation has no runtime for."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(
            f"expected the kind of an estimator of this installation, got {kind!r}. "
            "Upgrade Charkha to the version that wrote the bundle."
        )


class RuntimeMissing(ImportError):
    """This installation lacks what a runtime needs; the message says what that is and how to get it."""


class BadState(ValueError):
    """The state of an estimator cannot be read: it was not written by the estimator that shall load it."""


class WrongShape(ValueError):
    """A matrix whose shape is not the one the model was trained on."""

    def __init__(self, expected_columns: int, shape: tuple[int, ...]) -> None:
        self.expected_columns, self.shape = expected_columns, shape
        super().__init__(
            f"expected a matrix of {expected_columns} columns, as in training, got shape {shape}. "
            "Encode the rows with the schema of the same bundle."
        )


def check_columns(matrix: FloatArray, columns: int) -> None:
    """Raise WrongShape for a matrix that is not (rows, columns)."""
    if matrix.ndim != 2 or matrix.shape[1] != columns:
        raise WrongShape(columns, matrix.shape)


Load = Callable[[bytes], Predictor]


def runtimes_of(kind: str) -> Mapping[str, Load]:
    """Return the runtimes of a kind of estimator, by name. Raises UnknownEstimator."""
    name = f"charkha.bundles.estimators.{kind}"
    if not _KIND.fullmatch(kind) or find_spec(name) is None:
        raise UnknownEstimator(kind)
    runtimes: Mapping[str, Load] = import_module(name).RUNTIMES
    return runtimes


def load_predictor(kind: str, state: bytes, runtime: str | None = None) -> Predictor:
    """Return the predictor of a fitted estimator's state, by a runtime, or else by the first of its kind.

    Raises UnknownEstimator, RuntimeMissing and BadState.
    """
    runtimes = runtimes_of(kind)
    if runtime is not None and runtime not in runtimes:
        have = ", ".join(runtimes)
        raise RuntimeMissing(f"expected a runtime of {kind}: {have}; got {runtime!r}. Upgrade Charkha.")
    return runtimes[runtime or next(iter(runtimes))](state)
