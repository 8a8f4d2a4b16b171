"""The offline path for predictions that were served: what the online state had seen, not what was known by then.

A pushed row is known from the moment at which its push begins to commit, and the state has it a little later. A
prediction that reads the state in between is served without it. So each prediction is logged with the time of the
newest row its snapshot held (`_seen_us`), and the recomputation leaves out the pushed rows that came after that.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from attrs import evolve

from charkha.engines.engine import Engine
from charkha.features.keys import key_column
from charkha.features.offline import offline_features
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.point_in_time import align
from charkha.features.request import with_request_features
from charkha.features.segments import IntArray
from charkha.features.sought import has_any
from charkha.spec.fields import TIME

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# A row that the state lacks so long after the log had it is not in the middle of a commit: the state is behind.
LONGEST_COMMIT_US = 60_000_000


def features_as_seen(
    plan: FeaturePlan, spine: pl.DataFrame, rows: Mapping[str, pl.DataFrame], engine: Engine
) -> pl.DataFrame:
    """Return the features of every row of the spine as `offline_features` does, without the pushed rows not yet seen.

    spine: the request fields, `_at_us` and `_seen_us` (null where it was not logged: then all that was known counts).
    rows: source name → its rows, as of `read_rows`. Rows of files count from when they were known.
    """
    asked = spine.select(pl.exclude("_seen_us"))
    features = offline_features(plan, asked, rows, engine)
    cut_us = seen_until(spine)
    torn = _misses_a_row(plan, spine, rows, cut_us)
    if not torn.any():
        return features
    same = torn & _is_the_same_earlier(plan, spine, rows, cut_us)
    numbered = asked.with_columns(_cut_us=cut_us).with_row_index("_place")
    parts = [features.with_row_index("_place").filter(~torn)]
    if same.any():
        parts.append(_asked_earlier(plan, numbered.filter(same), rows, engine))
    parts += _without_the_unseen(plan, numbered.filter(torn & ~same), rows, engine)
    return pl.concat(parts).sort("_place").drop("_place")


def _asked_earlier(
    plan: FeaturePlan, numbered: pl.DataFrame, rows: Mapping[str, pl.DataFrame], engine: Engine
) -> pl.DataFrame:
    """Return the features of questions whose views had the same rows when their snapshot was taken: all in one go."""
    names = tuple(name for view in plan.views for name in feature_names(view))
    of_views = evolve(plan, expressions={}, names=names)
    earlier = numbered.drop("_place", "_cut_us").with_columns(_at_us=numbered["_cut_us"], _asked_us=numbered["_at_us"])
    fetched = offline_features(of_views, earlier, rows, engine)
    frame = numbered.with_columns(numbered["_at_us"].cast(TIME).alias(plan.at)).hstack(fetched)
    return with_request_features(plan, frame).insert_column(0, numbered["_place"])


def _without_the_unseen(
    plan: FeaturePlan, numbered: pl.DataFrame, rows: Mapping[str, pl.DataFrame], engine: Engine
) -> Iterator[pl.DataFrame]:
    """Yield the features of questions, those of one snapshot at a time, from the rows that it held."""
    for (cut_us,), asked in numbered.partition_by("_cut_us", as_dict=True, include_key=False).items():
        seen = {
            name: frame.filter(~pl.col("_pushed") | (pl.col("_known_us") <= cut_us))
            for name, frame in rows_of_their_keys(plan, asked, rows).items()
        }
        part = offline_features(plan, asked.drop("_place"), seen, engine, buckets=1)
        yield part.insert_column(0, asked["_place"])


def rows_of_their_keys(
    plan: FeaturePlan, asked: pl.DataFrame, rows: Mapping[str, pl.DataFrame]
) -> dict[str, pl.DataFrame]:
    """Return the rows of which a key is asked for."""
    found: dict[str, pl.DataFrame] = {}
    for name, frame in rows.items():
        entities = [view.entity.keys for view in plan.views if view.source.name == name]
        found[name] = frame.filter(has_any(frame, [(keys, key_column(asked, keys).drop_nulls()) for keys in entities]))
    return found


def _is_the_same_earlier(
    plan: FeaturePlan, spine: pl.DataFrame, rows: Mapping[str, pl.DataFrame], cut_us: pl.Series
) -> pl.Series:
    """Say of each question whether its views have the same rows at the time of its snapshot, a moment before.

    They have when no window moves on between the two, and no row of a file becomes known.
    """
    at, cut = spine["_at_us"].to_numpy(), cut_us.to_numpy()
    same = np.ones(len(spine), bool)
    for view in plan.views:
        frame = rows[view.source.name]
        for hop_us in {window.hop_us for window in view.all_windows()}:
            same &= at // hop_us == cut // hop_us
        same &= _none_between(frame.filter(~pl.col("_pushed"))["_known_us"], cut, at)
    return pl.Series(same)


def _none_between(times: pl.Series, after: IntArray, until: IntArray) -> BoolArray:
    """Say of each interval whether none of the times lies in it; its beginning is outside."""
    ordered = times.drop_nulls().sort().to_numpy()
    none: BoolArray = np.searchsorted(ordered, after, side="right") == np.searchsorted(ordered, until, side="right")
    return none


def seen_until(spine: pl.DataFrame) -> pl.Series:
    """Return until when pushed rows count for each question (µs): `_seen_us`, unless the state was far behind."""
    at, seen = pl.col("_at_us"), pl.col("_seen_us")
    until = pl.min_horizontal(at, pl.max_horizontal(seen, at - LONGEST_COMMIT_US))
    return spine.select(pl.when(seen.is_null()).then(at).otherwise(until).alias("_cut_us")).to_series()


def _misses_a_row(
    plan: FeaturePlan, spine: pl.DataFrame, rows: Mapping[str, pl.DataFrame], seen_us: pl.Series
) -> pl.Series:
    """Say of each question whether a row of one of its keys was pushed by then and not seen."""
    found = np.zeros(len(spine), bool)
    behind = (seen_us < spine["_at_us"]).to_numpy()
    if behind.any():
        oldest_us = seen_us.to_numpy()[behind].min()
        for view in plan.views:
            pushed = rows[view.source.name].filter(pl.col("_pushed") & (pl.col("_known_us") > oldest_us))
            history, questions = align(view, pushed, spine)
            until_us = seen_us.to_numpy()[questions.places]
            known = history.index.count_until(questions.codes, questions.at_us, equal=True)
            seen = history.index.count_until(questions.codes, until_us, equal=True)
            found[questions.places] |= known > seen
    return pl.Series(found)
