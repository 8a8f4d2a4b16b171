"""What a comparison of served features comes down to: per feature the counts, and the first prediction that differs."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
from attrs import define, field, frozen

from charkha.clock import to_iso
from charkha.monitoring.skew import Comparison, tolerance
from charkha.monitoring.skew_words import Cause


class FirstDifference(msgspec.Struct, frozen=True):
    """The earliest prediction with which a feature differs.

    keys: the columns of the view's entity, or, of a request feature, the whole request. cause: None where there were
    too many features to look for it.
    """

    id: str
    time: str
    version: str
    role: str
    keys: dict[str, Any]
    served: float | str | None
    recomputed: float | str | None
    cause: Cause | None


class VerifiedFeature(msgspec.Struct, frozen=True):
    """One feature: how many values were compared and differ, and the largest difference (None for infinite).

    exact: whether the two must agree to the bit; see `FeatureSkew`.
    """

    feature: str
    exact: bool
    compared: int
    different: int
    max_difference: float | None
    first: FirstDifference | None


class Verification(msgspec.Struct, frozen=True):
    """What was found. predictions: how many rows were compared, one for each version that scored a request.

    since, until: the times of the first and the last of them (ISO 8601), None when there was none. features: those that
    differ come first, the earliest first.
    """

    model: str
    predictions: int
    since: str | None
    until: str | None
    features: tuple[VerifiedFeature, ...]

    @property
    def skewed(self) -> list[VerifiedFeature]:
        """The features that differ, the earliest first."""
        return [feature for feature in self.features if feature.different]


@frozen(eq=False)
class First:
    """The first difference of a feature: the row as served and as recomputed, and which features differ in it.

    sizes: of each feature that adds up, the magnitude of what was added (see `Comparison.sizes`).
    """

    served: Mapping[str, Any]
    recomputed: Mapping[str, Any]
    differ: frozenset[str]
    sizes: Mapping[str, float]

    @property
    def place(self) -> tuple[int, str]:
        """Its place in the order of time."""
        return self.served["_at_us"], self.served["id"]


@define(eq=False)
class FeatureCounts:
    """What has been seen of one feature so far."""

    exact: bool
    compared: int = 0
    different: int = 0
    largest: float = 0.0
    first: First | None = None

    def result(self, name: str, first: FirstDifference | None) -> VerifiedFeature:
        """Return the same for a report."""
        largest = None if np.isinf(self.largest) else self.largest
        return VerifiedFeature(name, self.exact, self.compared, self.different, largest, first)


@define(eq=False)
class Tally:
    """What has been compared so far."""

    rows: int = 0
    since_us: int | None = None
    until_us: int | None = None
    features: dict[str, FeatureCounts] = field(factory=dict)

    def add(self, served: pl.DataFrame, recomputed: pl.DataFrame, found: Comparison, exact: set[str]) -> None:
        """Count rows. found: how far they are apart. exact: the features that may not be apart at all."""
        if served.is_empty():
            return
        self.rows += served.height
        times = served["_at_us"].to_list()
        self.since_us = min(times if self.since_us is None else [*times, self.since_us])
        self.until_us = max(times if self.until_us is None else [*times, self.until_us])
        wrong = {name: differences > tolerance(exact=name in exact) for name, differences in found.apart.items()}
        for name, differences in found.apart.items():
            counts = self.features.setdefault(name, FeatureCounts(name in exact))
            counts.compared += served.height
            counts.different += int(wrong[name].sum())
            counts.largest = max(counts.largest, float(differences.max()))
            if wrong[name].any():
                counts.first = _earlier(counts.first, _first(served, recomputed, wrong, name, found))

    def in_order(self) -> list[tuple[str, FeatureCounts]]:
        """Return the features, those that differ first and the earliest of them first."""
        return sorted(self.features.items(), key=lambda each: (each[1].first is None, _place(each[1].first)))

    def report(self, model: str, features: list[VerifiedFeature]) -> Verification:
        """Return what was found."""
        since, until = (None if time is None else to_iso(time) for time in (self.since_us, self.until_us))
        return Verification(model, self.rows, since, until, tuple(features))


def _first(
    served: pl.DataFrame, recomputed: pl.DataFrame, wrong: Mapping[str, Any], name: str, found: Comparison
) -> First:
    order = served.select("_at_us", "id").with_row_index("_place").filter(pl.Series(wrong[name]))
    place = int(order.sort("_at_us", "id")["_place"][0])
    differ = frozenset(other for other, rows in wrong.items() if rows[place])
    return First(served.row(place, named=True), recomputed.row(place, named=True), differ, found.sizes_at(place))


def _earlier(known: First | None, found: First) -> First:
    return found if known is None or found.place < known.place else known


def _place(first: First | None) -> tuple[int, str]:
    return first.place if first else (0, "")
