"""What can score rows by the bundles that served them: for a drill that bends them, a diagnosis that replays them."""

from typing import Protocol

import polars as pl

from charkha.bundles.rules import BoolArray
from charkha.features.plan import FeaturePlan
from charkha.spec.model import FloatArray


class Rescore(Protocol):
    """The model of some traffic: what its features are made of, and what it says of bent ones."""

    @property
    def plan(self) -> FeaturePlan:
        """The plan of its features: which of them reads which field of which source."""
        ...

    def __call__(self, rows: pl.DataFrame) -> tuple[FloatArray, BoolArray | None]:
        """Return scores, float64 (rows,), and decisions of rows as of `Traffic.predictions`, each by its version."""
        ...
