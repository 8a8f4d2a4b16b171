"""The past of a model as one table, made once: every occasion with its features, and what became true of it, and when.

The features of a question are those that were known when it was asked, so what was known at any time since is a choice
of rows: that is what makes a backtest of years a matter of minutes.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import polars as pl
from attrs import field, frozen

from charkha.bundles.manifest import WindowLeftOut
from charkha.clock import to_iso
from charkha.engines.engine import Engine
from charkha.features.plan import FeaturePlan, plan_features
from charkha.features.reading import Readings, opened_readings
from charkha.features.spine import label_spine
from charkha.monitoring.changes import Change
from charkha.monitoring.performance import Span
from charkha.monitoring.recorded import arrivals
from charkha.monitoring.traffic import AGE_PREFIX, ARRIVALS, LABELS, PREDICTIONS
from charkha.operations.backtest.ages import ages_of
from charkha.serving.prediction_frames import FEATURES_LOGGED, REQUEST_PREFIX
from charkha.spec.model import FloatArray, Model
from charkha.spec.project import Project
from charkha.storage.log import Log
from charkha.training.dataset import Dataset, features_of, label_rows, sources_of, without_truth_ahead
from charkha.training.leaving_out import without_windows
from charkha.training.split import TimeArray

OnStep = Callable[[str], None]
_ALL_TIME_US = 1 << 62


class NoHistory(Exception):
    """A time in which a model was asked for nothing of which the truth is known."""

    def __init__(self, model: str, span: Span) -> None:
        self.model, self.span = model, span
        super().__init__(
            f"model {model!r}: expected occasions to predict from {to_iso(span.since_us)[:16]} until "
            f"{to_iso(span.until_us)[:16]} in the rows of its label's source, with a truth that is known since; found "
            "none. Choose another --since and --until"
        )


@frozen(eq=False, kw_only=True)
class History:
    """All occasions of a model until the end of a backtest, in the order of their times; n of them.

    spine: the request fields, `_at_us`, `_label` and `_label_known_us`, null where the truth is never known.
    features: as a training sees them, in the types of the log. served: `request.<field>`, the features as they were
    served, and `age.<view>`. told: labels as they were told, as of LABELS, and `_row`, the place of their occasion; in
    the order in which they came. arrivals: of the sources' rows. readings: what the features came from. cpu_seconds:
    that making this took.
    """

    model: Model
    plan: FeaturePlan = field(repr=False)
    spine: pl.DataFrame = field(repr=False)
    features: pl.DataFrame = field(repr=False)
    served: pl.DataFrame = field(repr=False)
    told: pl.DataFrame = field(repr=False)
    arrivals: pl.DataFrame = field(repr=False)
    readings: Readings = field(repr=False)
    changes: tuple[Change, ...] = ()
    cpu_seconds: float = 0.0

    @property
    def at_us(self) -> TimeArray:
        """When each was asked, int64 µs (n,), ascending."""
        return self.spine["_at_us"].to_numpy()

    @property
    def truth(self) -> FloatArray:
        """What is true of each, float64 (n,); NaN where that is never known."""
        return self.spine["_label"].to_numpy()

    def places(self, span: Span) -> slice:
        """Return which occasions lie in a span."""
        low, high = np.searchsorted(self.at_us, [span.since_us, span.until_us])
        return slice(int(low), int(high))

    def dataset(self, as_of_us: int, left_out: Sequence[WindowLeftOut] = ()) -> Dataset:
        """Return what could be learnt from at a time: occasions whose label was told by then, outside some windows."""
        told = self.told.filter(pl.col("_label_known_us") <= as_of_us).unique("_row", keep="last").sort("_row")
        spine = self.spine[told["_row"]].with_columns(
            told["label"].alias("_label"), told["_label_known_us"], told["_row"]
        )
        spine, windows = without_windows(spine.filter(pl.col("_at_us") <= as_of_us), left_out)
        rows = spine["_row"]
        return Dataset(self.features[rows], spine.drop("_row"), self.readings, {}, "", as_of_us, windows=windows)


@contextmanager
def opened_history(
    project: Project, model: Model, log: Log | None, span: Span, *, engine: Engine, on_step: OnStep
) -> Iterator[History]:
    """Yield the past of a model until the end of a span. Labels that come later are in it: they are told later.

    log: of what was pushed. Of a corrected row the newest truth is taken, and from when that was known.
    Raises NoHistory, TruthKnownAhead, and DataError for sources that cannot be read.
    """
    began = time.process_time()
    with opened_readings(sources_of(model, project.root, log), model.views, engine) as readings:
        on_step("reading the occasions")
        occasions = label_spine(model.label, model.request, label_rows(model, readings, _ALL_TIME_US))
        spine = without_truth_ahead(model, occasions.filter(pl.col("_at_us") < span.until_us))
        _require_truth(model, spine, span)
        on_step(f"computing the features of {spine.height:,} occasions")
        features = as_logged(features_of(plan_features(model), spine, readings))
        on_step("reading how the sources came")
        came = [arrivals(source, project.root, log, span) for source in model.sources]
        ages = ages_of(model, project.root, log, spine)
        yield History(
            model=model,
            plan=plan_features(model),
            spine=spine.drop("_first_known_us"),
            features=features,
            served=_served(model, spine, features).with_columns(
                **{AGE_PREFIX + view: seconds for view, seconds in ages.items()}
            ),
            told=_told(spine),
            arrivals=pl.concat([pl.DataFrame(schema=ARRIVALS), *came]),
            readings=readings,
            cpu_seconds=time.process_time() - began,
        )


def as_logged(features: pl.DataFrame) -> pl.DataFrame:
    """Return features in the types of the log: text, or numbers that are never NaN. A model learns the same of both."""
    return features.select(
        column if column.dtype == pl.String else column.cast(pl.Float64).fill_nan(None) for column in features
    )


def id_of(rows: pl.Series) -> pl.Series:
    """Return the ids of occasions by their places."""
    return rows.cast(pl.String).str.zfill(9).alias("id")


def predictions_of(served: pl.DataFrame, rows: pl.Series, at_us: pl.Series) -> pl.DataFrame:
    """Return occasions as `Traffic.predictions` has them, still without version, score and decision."""
    known = {"role": pl.lit("champion"), FEATURES_LOGGED: pl.lit(value=True)}
    nothing = {name: pl.lit(None, kind) for name, kind in PREDICTIONS.items() if name not in ("id", "_at_us", *known)}
    own = served.with_columns(id_of(rows), at_us.alias("_at_us"), **nothing, **known)
    return own.select(*PREDICTIONS, *served.columns)


def _require_truth(model: Model, spine: pl.DataFrame, span: Span) -> None:
    within = spine.filter(pl.col("_at_us") >= span.since_us)
    if not within["_label"].is_not_null().any():
        raise NoHistory(model.name, span)


def _served(model: Model, spine: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    return spine.select(pl.col(name).alias(REQUEST_PREFIX + name) for name in model.request).hstack(features)


def _told(spine: pl.DataFrame) -> pl.DataFrame:
    rows = spine.select("_label_known_us", label="_label").with_row_index("_row")
    known = rows.drop_nulls().with_columns(pl.col("_row").cast(pl.Int64))
    told = known.with_columns(id_of(known["_row"])).sort("_label_known_us", maintain_order=True)
    return told.select(pl.col("id").cast(LABELS["id"]), "label", "_label_known_us", "_row")
