"""The offline path for predictions that were served: what the online state had seen, not what was known by then.

A pushed row is known from the moment at which its push begins to commit, and the state has it a little later. A
prediction that reads the state in between is served without it. So each prediction is logged with the time of the
newest row its snapshot held (`_seen_us`), and the recomputation leaves out the pushed rows that came after that.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl

from charkha.engines.engine import Engine
from charkha.features.offline import offline_features
from charkha.features.plan import FeaturePlan
from charkha.features.point_in_time import align

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
    seen_us = seen_until(spine)
    torn = _misses_a_row(plan, spine, rows, seen_us)
    if not torn.any():
        return features
    parts = [features.with_row_index("_place").filter(~torn)]
    cut = asked.with_columns(_cut_us=seen_us).with_row_index("_place").filter(torn)
    for (cut_us,), questions in cut.partition_by("_cut_us", as_dict=True, include_key=False).items():
        seen = {
            name: frame.filter(~pl.col("_pushed") | (pl.col("_known_us") <= cut_us)) for name, frame in rows.items()
        }
        part = offline_features(plan, questions.drop("_place"), seen, engine, buckets=1)
        parts.append(part.insert_column(0, questions["_place"]))
    return pl.concat(parts).sort("_place").drop("_place")


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
