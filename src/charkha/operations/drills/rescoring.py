"""Scores of rows that a drill has bent, by the bundles that served them."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from attrs import field, frozen, validators

from charkha.bundles.bundle import Bundle
from charkha.bundles.rules import BoolArray
from charkha.features.plan import FeaturePlan
from charkha.serving.prediction_frames import as_asked
from charkha.spec.model import FloatArray


class UnknownVersion(LookupError):
    """Rows of a version whose bundle there is not."""

    def __init__(self, version: str, known: list[str]) -> None:
        super().__init__(f"expected rows of the versions {known}, got rows of {version!r}. Give its bundle as well")


@frozen(eq=False)
class BundleRescore:
    """The model of some traffic by its own bundles: version → bundle, the champion first."""

    bundles: Mapping[str, Bundle] = field(validator=validators.min_len(1))

    @property
    def plan(self) -> FeaturePlan:
        """The plan of the first version's features."""
        return next(iter(self.bundles.values())).plan

    def __call__(self, rows: pl.DataFrame) -> tuple[FloatArray, BoolArray | None]:
        """Return scores and decisions; these are None where no version decides. Raises UnknownVersion."""
        scores = np.full(rows.height, np.nan)
        decisions = np.zeros(rows.height, np.bool_)
        decided = False
        for (version,), part in rows.with_row_index("_place").partition_by("version", as_dict=True).items():
            if version not in self.bundles:
                raise UnknownVersion(str(version), list(self.bundles))
            bundle, places = self.bundles[str(version)], part["_place"].to_numpy()
            scores[places] = bundle.score(part)
            by_rule_or_score, _ = bundle.decide(scores[places], as_asked(bundle.plan, part))
            if by_rule_or_score is not None:
                decisions[places], decided = by_rule_or_score, True
        return scores, decisions if decided else None
