"""The dataset: every past occasion whose truth is known, with the features as they would have been served then."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.bundles.manifest import WindowLeftOut
from charkha.clock import to_iso
from charkha.features.answers import answered
from charkha.features.contracts import Volume
from charkha.features.plan import FeaturePlan, plan_features
from charkha.features.reading import Readings, Sources
from charkha.features.rows import require_whole
from charkha.features.spine import label_fields, label_spine
from charkha.spec.checks.labels import sees_truth
from charkha.spec.fields import TIME
from charkha.spec.model import FloatArray, Model
from charkha.storage.log import Log
from charkha.training.fingerprint import fingerprint
from charkha.training.leaving_out import without_windows
from charkha.training.simultaneous import say_simultaneous
from charkha.training.split import BEGINNING, TimeArray

logger = logging.getLogger(__name__)


class NoLabels(Exception):
    """No occasion of a model has a known label yet. `model` and `as_of_us` say which and when."""

    def __init__(self, model: Model, as_of_us: int, rows: int) -> None:
        self.model, self.as_of_us, self.rows = model.name, as_of_us, rows
        super().__init__(
            f"model {model.name!r}: expected rows of source {model.label.source.name!r} with a label known by "
            f"{to_iso(as_of_us)}, got none among the {rows} rows known by then. Train as of a later time, or check the "
            "label's truth and known columns"
        )


class TruthKnownAhead(Exception):
    """Features that could see the truth: most rows were known before the prediction that they are the truth of."""

    def __init__(self, model: Model, ahead: int, rows: int) -> None:
        self.model, self.ahead, self.rows = model.name, ahead, rows
        label = model.label
        super().__init__(
            f"model {model.name!r}: expected the truth to become known after the prediction at {label.at!r}, got "
            f"{ahead:,} of {rows:,} rows of source {label.source.name!r} that were known ({label.known!r}) by then: "
            "features of the model would see it. Declare as known=… the time at which the truth was known, or choose "
            "an earlier at=…"
        )


@frozen(eq=False)
class Dataset:
    """A point-in-time correct training table.

    features: the features' columns, in the plan's order. spine: the request fields, `_at_us`, `_label` (never null) and
    `_label_known_us` (at most `as_of_us`), row by row beside the features; in order of `_at_us`.
    readings: the sources that the features were computed from. source_rows: source name → how many of its rows were
    known by `as_of_us`. fingerprint: of spine and features, which are all that a model learns from.
    left_out: how many occasions with a label are not there, since their truth was known before the prediction.
    windows: the times of incidents that are not there, each with its number of occasions.
    """

    features: pl.DataFrame
    spine: pl.DataFrame
    readings: Readings
    source_rows: Mapping[str, int]
    fingerprint: str
    as_of_us: int
    left_out: int = 0
    windows: tuple[WindowLeftOut, ...] = ()

    @property
    def labels(self) -> FloatArray:
        """The labels, float64 (n,)."""
        return self.spine["_label"].to_numpy()

    @property
    def at_us(self) -> TimeArray:
        """The times of prediction, int64 µs (n,), ascending."""
        return self.spine["_at_us"].to_numpy()


def build_dataset(
    model: Model,
    readings: Readings,
    as_of_us: int,
    *,
    since_us: int = BEGINNING,
    without: Sequence[WindowLeftOut] = (),
) -> Dataset:
    """Return the dataset of a model as it could be known at `as_of_us`, of predictions from `since_us` on.

    without: times of incidents, whose occasions are left out. In memory are what it holds, what labels are made of, and
    of any other source what `readings` allows: their number of buckets and threads changes nothing. Raises NoLabels,
    TruthKnownAhead, and DataError for files that are not as declared and sources that break their contract then.
    """
    volumes = {source.name: Volume.of(readings.of(source.name).known_us(), as_of_us) for source in model.sources}
    for source in model.sources:
        require_whole(source, volumes[source.name])
    occasions = label_spine(model.label, model.request, label_rows(model, readings, as_of_us))
    spine = labelled(occasions, as_of_us, since_us)
    source_rows = {name: volume.rows for name, volume in volumes.items()}
    if spine.is_empty():
        raise NoLabels(model, as_of_us, source_rows[model.label.source.name])
    seen = without_truth_ahead(model, spine).drop("_first_known_us")
    kept, windows = without_windows(seen, without)
    say_simultaneous(model, kept, readings)
    features = features_of(plan_features(model), kept, readings)
    print_of = fingerprint(kept, features)
    ahead = spine.height - seen.height
    return Dataset(features, kept, readings, source_rows, print_of, as_of_us, ahead, windows)


def sources_of(model: Model, root: Path, log: Log | None) -> Sources:
    """Return the sources of a model: files under `root`, and what was pushed to the log."""
    return Sources(root, {source.name: source for source in model.sources}, log)


def label_rows(model: Model, readings: Readings, as_of_us: int) -> pl.DataFrame:
    """Return what labels are made of: fields of the rows of their source that were known then. Raises DataError."""
    rows = readings.of(model.label.source.name).rows_of(label_fields(model.label, model.request))
    return rows.filter(pl.col("_known_us") <= as_of_us)


def labelled(spine: pl.DataFrame, as_of_us: int, since_us: int = BEGINNING) -> pl.DataFrame:
    """Return the occasions from `since_us` to `as_of_us` whose label was known by then."""
    known = pl.col("_label").is_not_nan() & (pl.col("_label_known_us") <= as_of_us)
    return spine.filter(known & pl.col("_at_us").is_between(since_us, as_of_us))


def without_truth_ahead(model: Model, spine: pl.DataFrame) -> pl.DataFrame:
    """Return the occasions whose truth no feature could see: where one could, nobody would ask for a prediction.

    spine: as of `label_spine`. Says in a warning how many were left out.
    Raises TruthKnownAhead when less than half are left: then it is not the rows that are odd, but the definition.
    """
    if not any(sees_truth(view, model.label) for view in model.views):
        return spine
    seen = pl.col("_first_known_us") <= pl.col("_at_us")
    kept = spine.filter(~seen.fill_null(value=False))
    if 2 * kept.height < spine.height:
        raise TruthKnownAhead(model, spine.height - kept.height, spine.height)
    if kept.height < spine.height:
        logger.warning(
            "model %s: %d of %d occasions are left out: their truth was known before the prediction was asked for",
            model.name,
            spine.height - kept.height,
            spine.height,
        )
    return kept


def features_of(plan: FeaturePlan, spine: pl.DataFrame, readings: Readings) -> pl.DataFrame:
    """Return the features of a plan for occasions, in their order; the plan's request fields must be in the spine.

    Request features that could not be evaluated are said in warnings. Raises DataError.
    """
    asked = spine.select(*plan.request, "_at_us").with_columns(pl.col("_at_us").cast(TIME).alias(plan.at))
    return answered(plan, asked, readings).select(plan.names)
