"""The offline path: features for any number of past questions."""

from collections.abc import Iterator, Mapping

import polars as pl

from charkha.engines.engine import Engine
from charkha.features.evaluate import OnFailure, unheard
from charkha.features.filters import with_filters
from charkha.features.keys import key_column
from charkha.features.plan import FeaturePlan
from charkha.features.point_in_time import join_view
from charkha.features.request import with_request_features
from charkha.spec.fields import TIME
from charkha.spec.views import FeatureView

BUCKETS = 8

_Bucket = tuple[FeatureView, pl.DataFrame, pl.DataFrame]


def offline_features(
    plan: FeaturePlan,
    spine: pl.DataFrame,
    rows: Mapping[str, pl.DataFrame],
    engine: Engine,
    buckets: int = BUCKETS,
    *,
    on_failure: OnFailure = unheard,
) -> pl.DataFrame:
    """Return the features of every row of the spine: columns `plan.names`, in the spine's order.

    spine: the request fields and `_at_us`. rows: source name → its rows, as of `read_rows`. Each view is computed
    bucket by bucket of its entity's keys; their number changes nothing but memory and parallelism. on_failure: told of
    request features that could not be evaluated.
    """
    frame = spine.with_columns(spine["_at_us"].cast(TIME).alias(plan.at))
    rows = {
        name: with_filters(frame, [view for view in plan.views if view.source.name == name])
        for name, frame in rows.items()
    }
    for view in plan.views:
        frame = frame.hstack(joined_in_buckets(view, rows[view.source.name], spine, engine, buckets))
    return with_request_features(plan, frame, on_failure)


def joined_in_buckets(
    view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame, engine: Engine, buckets: int = BUCKETS
) -> pl.DataFrame:
    """Return the features of a view as `join_view` does, bucket by bucket of its entity's keys."""
    parts = list(engine.map(_join_bucket, _buckets(view, rows, spine, buckets)))
    return pl.concat(parts).sort("_place").drop("_place")


def _buckets(view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame, buckets: int) -> Iterator[_Bucket]:
    """Yield the view with the rows and the questions of each bucket of keys; null keys go with the first."""
    row_bucket = (key_column(rows, view.entity.keys).hash() % buckets).fill_null(0)
    spine_bucket = (key_column(spine, view.entity.keys).hash() % buckets).fill_null(0)
    times = [name for name in ("_at_us", "_asked_us") if name in spine.columns]
    questions = spine.select(*view.entity.keys, *times).with_row_index("_place")
    for bucket in range(buckets):
        yield view, rows.filter(row_bucket == bucket), questions.filter(spine_bucket == bucket)


def _join_bucket(bucket: _Bucket) -> pl.DataFrame:
    view, rows, questions = bucket
    return join_view(view, rows, questions).with_columns(questions["_place"])
