"""Features that champion and shadow were both served under one name: on how many requests they differ.

Two versions whose features are declared alike are served the same values. A feature that differs on the same request
was declared otherwise, or is wired to another column: what the version learnt is not what it is asked.
"""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.store import BundleStore
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.events import log_e_above
from charkha.monitoring.served import sample_of, served_by_tables
from charkha.operations.rollout.unseen import ALPHA
from charkha.storage.home import Home

SAMPLE = 1_000
TOLERANCE = 1e-9


@frozen(kw_only=True)
class FeatureChange:
    """One feature on the same requests. differing: of `requests`. size: the mean absolute difference; None for text."""

    feature: str
    requests: int
    differing: int
    size: float | None


@frozen
class FeatureChanges:
    """Every feature that both versions were served, those that differ most often first."""

    changes: tuple[FeatureChange, ...]

    def beyond(self, limit: float) -> list[FeatureChange]:
        """Return those that differ on a larger share of the requests than the limit, beyond chance."""
        bar = -np.log(ALPHA / max(1, len(self.changes)))
        return [
            each
            for each in self.changes
            if limit < 1 and float(log_e_above(each.differing, each.requests - each.differing, max(limit, 1e-6))) > bar
        ]


def feature_changes(home: Home, model: str, pair: tuple[str, str], span: Span) -> FeatureChanges:
    """Compare the features of champion and shadow on a sample of the requests that both were served in a span.

    pair: the champion and the shadow. Raises UnknownBundle for a version that is gone.
    """
    bundles = BundleStore(home.bundles)
    columns = [{column.name: column.kind for column in bundles.manifest(model, each).schema.columns} for each in pair]
    shared = [name for name in columns[0] if columns[1].get(name) == columns[0][name]]
    frames = [sample_of(served_by_tables(home, model, span, version), SAMPLE) for version in pair]
    if frames[0] is None or frames[1] is None or not shared:
        return FeatureChanges(())
    present = [name for name in shared if all(name in frame.columns for frame in frames if frame is not None)]
    both = frames[0].select("id", *present).join(frames[1].select("id", *present), on="id", suffix="@shadow")
    found = [_change(both, name, text=columns[0][name] == "categorical") for name in present]
    return FeatureChanges(tuple(sorted(found, key=lambda each: (-each.differing, each.feature))))


def _change(both: pl.DataFrame, name: str, *, text: bool) -> FeatureChange:
    one, other = both[name], both[f"{name}@shadow"]
    if text:
        differs = one.cast(pl.String).ne_missing(other.cast(pl.String))
        return FeatureChange(feature=name, requests=both.height, differing=int(differs.sum()), size=None)
    a, b = (each.cast(pl.Float64).fill_null(np.nan).to_numpy() for each in (one, other))
    apart = np.isnan(a) != np.isnan(b)
    distance = np.where(np.isnan(a) | np.isnan(b), 0.0, np.abs(a - b))
    differing = apart | (distance > TOLERANCE * np.maximum(1.0, np.nan_to_num(np.abs(a))))
    size = float(distance.mean()) if len(distance) else 0.0
    return FeatureChange(feature=name, requests=both.height, differing=int(differing.sum()), size=size)
