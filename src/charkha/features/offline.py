"""The offline path: features for any number of past questions."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import polars as pl

from charkha.engines.engine import Engine
from charkha.features.evaluate import OnFailure, unheard
from charkha.features.filters import with_filters
from charkha.features.history import History
from charkha.features.plan import FeaturePlan
from charkha.features.point_in_time import Questions, align, features_of, in_places
from charkha.features.request import with_request_features
from charkha.features.rings import rings_of
from charkha.spec.fields import TIME
from charkha.spec.views import FeatureView

# As many buckets at least, so that threads have something to do; and so many floats of states in one, of which several
# are worked on at a time, each with some copies.
BUCKETS, BUCKET_FLOATS = 8, 1 << 22

_Bucket = tuple[FeatureView, History, Questions]


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
    history, questions = align(view, with_filters(rows, [view]), spine)
    parts = list(engine.map(_features_of_bucket, _buckets(view, history, questions, buckets)))
    return in_places(pl.concat(parts), questions, spine.height)


def bucket_count(view: FeatureView, states: int) -> int:
    """Return into how many buckets to cut a view. states: of how many rows and questions; each has all its parts."""
    width = sum(part.aggregation.width for ring in rings_of(view) for part in ring.parts)
    return max(BUCKETS, -(-states * width // BUCKET_FLOATS))


def _buckets(view: FeatureView, history: History, questions: Questions, buckets: int) -> Iterator[_Bucket]:
    """Yield the view with the rows and the questions of neighbouring keys, about as many in each; one at least.

    They lie in the order of their keys, so that each bucket is a slice, which takes no memory.
    """
    both = np.sort(np.concatenate((history.codes, questions.codes)), kind="stable")  # of two runs it makes one
    first_codes = np.unique(both[np.arange(1, buckets) * len(both) // buckets]) if len(both) else both
    rows, asked = (
        pairwise([0, *np.searchsorted(codes, first_codes), len(codes)]) for codes in (history.codes, questions.codes)
    )
    for row_ends, asked_ends in zip(rows, asked, strict=True):
        yield view, history[slice(*row_ends)], questions[slice(*asked_ends)]


def _features_of_bucket(bucket: _Bucket) -> pl.DataFrame:
    return features_of(*bucket)
