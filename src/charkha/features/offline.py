"""The offline path: features for any number of past questions."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import polars as pl

from charkha.engines.engine import Engine
from charkha.features.evaluate import OnFailure, unheard
from charkha.features.filters import with_filters
from charkha.features.keys import key_column
from charkha.features.plan import FeaturePlan
from charkha.features.point_in_time import join_view
from charkha.features.request import with_request_features
from charkha.features.rings import rings_of
from charkha.spec.fields import TIME
from charkha.spec.views import FeatureView

# As many buckets at least, so that threads have something to do; and so many floats of states in one, of which several
# are worked on at a time, each with some copies.
BUCKETS, BUCKET_FLOATS = 8, 1 << 22

_Bucket = tuple[FeatureView, pl.DataFrame, pl.DataFrame]


def offline_features(
    plan: FeaturePlan,
    spine: pl.DataFrame,
    rows: Mapping[str, pl.DataFrame],
    engine: Engine,
    buckets: int | None = None,
    *,
    on_failure: OnFailure = unheard,
) -> pl.DataFrame:
    """Return the features of every row of the spine: columns `plan.names`, in the spine's order.

    spine: the request fields and `_at_us`. rows: source name → its rows, as of `read_rows`. Each view is computed
    bucket by bucket of its entity's keys; their number, chosen by the size of states unless given, changes nothing but
    memory and parallelism. on_failure: told of
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
    view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame, engine: Engine, buckets: int | None = None
) -> pl.DataFrame:
    """Return the features of a view as `join_view` does, bucket by bucket of its entity's keys."""
    buckets = buckets or bucket_count(view, rows.height + spine.height)
    parts = list(engine.map(_join_bucket, _buckets(view, rows, spine, buckets)))
    return pl.concat(parts).sort("_place").drop("_place")


def bucket_count(view: FeatureView, states: int) -> int:
    """Return into how many buckets to cut a view. states: of how many rows and questions; each has all its parts."""
    width = sum(part.aggregation.width for ring in rings_of(view) for part in ring.parts)
    return max(BUCKETS, -(-states * width // BUCKET_FLOATS))


def _buckets(view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame, buckets: int) -> Iterator[_Bucket]:
    """Yield the view with the rows and the questions of each bucket of keys; null keys go with the first."""
    times = [name for name in ("_at_us", "_asked_us") if name in spine.columns]
    questions = spine.select(*view.entity.keys, *times).with_row_index("_place")
    for some, asked in zip(*(_cut(frame, view.entity.keys, buckets) for frame in (rows, questions)), strict=True):
        yield view, some, asked


def _cut(frame: pl.DataFrame, keys: Sequence[str], buckets: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of each bucket in their order; sorted once, each is a slice that takes no memory."""
    numbers = (key_column(frame, keys).hash() % buckets).fill_null(0).alias("_bucket")
    ordered = frame.with_columns(numbers).sort("_bucket", maintain_order=True)
    ends = ordered["_bucket"].search_sorted(pl.Series(range(buckets + 1), dtype=pl.UInt64)).to_list()
    for low, high in pairwise(ends):
        yield ordered[low:high].drop("_bucket")


def _join_bucket(bucket: _Bucket) -> pl.DataFrame:
    view, rows, questions = bucket
    return join_view(view, rows, questions).with_columns(questions["_place"])
