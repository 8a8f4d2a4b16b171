"""The traffic of a model as its home has it: from the tables of `collect`, the ledger and the rows of its sources.

What was not logged yet when a row was written (replica, bundle, ages, vitals) is missing: null, or a frame of no rows.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from charkha.bundles.store import BundleStore
from charkha.features.plan import plan_features
from charkha.features.rows import known_rows, stamped_rows
from charkha.monitoring.changes import ledger_changes
from charkha.monitoring.collect import labels_table
from charkha.monitoring.drawn import MOST_ROWS, draw_predictions
from charkha.monitoring.parts import current, day_of, parse_part
from charkha.monitoring.performance import Span
from charkha.monitoring.served import sample_of
from charkha.monitoring.traffic import AGE_PREFIX, ARRIVALS, LABELS, PREDICTIONS, RECOMPUTED, VITALS, Traffic
from charkha.monitoring.verify import Recomputer
from charkha.monitoring.vitals import read_vitals
from charkha.serving.prediction_frames import PREDICTION_SCHEMA, REQUEST_PREFIX, features_logged
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import Model
from charkha.spec.sources import Source
from charkha.storage.home import Home
from charkha.storage.log import Log

# So many predictions are recomputed from the sources, unless a caller wants another number.
SAMPLE = 2_000


def read_traffic(
    home: Home,
    model: Model,
    span: Span,
    as_of_us: int,
    *,
    root: Path,
    recomputer: Recomputer | None = None,
    sample: int = SAMPLE,
    cut: Sequence[Span] = (),
    most: int = MOST_ROWS,
) -> Traffic:
    """Return the traffic of a span as it could be known at `as_of_us`, as far as `collect` has come.

    Of what was served in no span of `cut` at most `most` predictions, a sample where there were more.

    root: the project's folder, against which the paths of data are read. recomputer: recomputes the features of a
    sample; without it there are none. Raises DataError for sources that cannot be read, and what `Recomputer.recompute`
    raises.
    """
    known = Span(span.since_us, min(span.until_us, as_of_us + 1))
    drawn_rows = draw_predictions(home, model.name, known, cut, most)
    raw = drawn_rows.rows
    predictions = _completed(model, raw)
    logged = raw.filter(features_logged(raw) & (pl.col("role") != "fallback"))
    drawn = sample_of([logged], sample) if recomputer is not None and sample else None
    features = [name for name in predictions.columns if _is_feature(name)]
    recomputed = None if drawn is None or recomputer is None else recomputer.recompute(drawn)
    return Traffic(
        model=model.name,
        span=span,
        predictions=predictions,
        labels=_labels(home, model, predictions["id"], known, as_of_us),
        arrivals=pl.concat(
            [pl.DataFrame(schema=ARRIVALS), *(arrivals(each, root, home.log, known) for each in model.sources)]
        ),
        vitals=read_vitals(home, model.name, known).select(VITALS.names()),
        recomputed=_as_served(recomputed, predictions.select(features)),
        changes=ledger_changes(home.ledger, BundleStore(home.bundles), model.name, known),
        total=drawn_rows.total if drawn_rows.total > predictions.height else None,
    )


def arrivals(source: Source, root: Path, log: Log | None, span: Span) -> pl.DataFrame:
    """Return how the rows of a source came in a span, hour by hour, as of ARRIVALS. Raises DataError.

    An hour without rows has no row. A static source, whose rows have no times, has none at all. A row that was pushed
    and is in the files as well came once, when it was pushed.
    """
    if source.static:
        return pl.DataFrame(schema=ARRIVALS)
    came = _by_one_way(stamped_rows(source, root, log), source)
    kept = known_rows(came, source)
    hour = (pl.col("_known_us") // HOUR_US * HOUR_US).alias("_hour_us")
    within = (pl.col("_known_us") >= span.since_us) & (pl.col("_known_us") < span.until_us)
    late = (pl.col("_known_us") - pl.col("_event_us")).mean() / 1e6
    counted = came.filter(within).group_by(hour).agg(rows=pl.len().cast(pl.Int64), late_s=late)
    first = kept.filter(within & pl.col("_first")).group_by(hour).agg(_first=pl.len().cast(pl.Int64))
    both = counted.join(first, on="_hour_us", how="left").sort("_hour_us")
    repeated = pl.col("rows") - pl.col("_first").fill_null(0)
    return both.with_columns(source=pl.lit(source.name), duplicates=repeated).select(ARRIVALS.names())


def _by_one_way(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Return rows without those of the files that were pushed too; rows without a key cannot be told apart."""
    if not source.key or not rows["_pushed"].any():
        return rows
    told = rows.with_columns(_content=pl.struct(list(source.fields)).hash())
    pushed = told.filter("_pushed").group_by("_content").agg(_times=pl.len())
    turn = pl.int_range(pl.len()).over("_content", "_pushed")
    both = told.with_columns(_turn=turn).join(pushed, on="_content", how="left", maintain_order="left")
    return both.filter(pl.col("_pushed") | (pl.col("_turn") >= pl.col("_times").fill_null(0))).select(rows.columns)


def _completed(model: Model, rows: pl.DataFrame) -> pl.DataFrame:
    """Return predictions with every column that traffic has, and none that it has not."""
    plan = plan_features(model)
    rows = rows.with_columns(features_logged(rows).alias("features_logged"))
    found = [name for name in rows.columns if _is_feature(name)]
    numbers = [name for name in found if rows.schema[name] != pl.String()]
    missing = [*(name for name in plan.names if name not in found), *(AGE_PREFIX + view.name for view in plan.views)]
    wanted: dict[str, pl.DataType] = {name: pl.Float64() for name in missing if name not in rows.columns}
    wanted |= {name: kind for name, kind in PREDICTIONS.items() if name not in rows.columns}
    rows = rows.with_columns(
        pl.col(numbers).cast(pl.Float64),
        *(pl.lit(None, kind).alias(name) for name, kind in wanted.items()),
        *(
            pl.lit(None).alias(REQUEST_PREFIX + name)
            for name in plan.request
            if REQUEST_PREFIX + name not in rows.columns
        ),
    )
    asked = [name for name in rows.columns if name.startswith(REQUEST_PREFIX)]
    features = [name for name in rows.columns if _is_feature(name)]
    return rows.select(*PREDICTIONS, *asked, *features, *(name for name in rows.columns if name.startswith(AGE_PREFIX)))


def _is_feature(name: str) -> bool:
    others = {*PREDICTIONS, *PREDICTION_SCHEMA}
    return name not in others and not name.startswith((REQUEST_PREFIX, AGE_PREFIX, "_"))


def _labels(home: Home, model: Model, ids: pl.Series, span: Span, as_of_us: int) -> pl.DataFrame:
    """Return the labels of some predictions of a span, which were known no sooner than a clock is wrong."""
    table, first = labels_table(model.name), day_of(max(0, span.since_us - DAY_US))
    names = [part.name for part in current(map(parse_part, home.tables.parts(table))) if part.day >= first]
    known = (pl.col("_label_known_us") <= as_of_us) & pl.col("label").is_not_null()
    of_these = pl.DataFrame({"id": ids.unique()}, schema={"id": pl.String()})
    frames = (home.tables.read(table, name) for name in names)
    found = [frame.filter(known).join(of_these, on="id", how="semi").select(LABELS.names()) for frame in frames]
    return pl.concat([pl.DataFrame(schema=LABELS), *found]).sort("_label_known_us", maintain_order=True)


def _as_served(recomputed: pl.DataFrame | None, served: pl.DataFrame) -> pl.DataFrame:
    """Return recomputed features in the columns and types of those that were served."""
    rows = pl.DataFrame(schema=RECOMPUTED) if recomputed is None else recomputed
    return rows.select(
        *RECOMPUTED,
        *(
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name)
            for name, kind in served.schema.items()
        ),
    )
