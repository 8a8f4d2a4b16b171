"""The point-in-time join: for every question (a key at a time), what was known then.

Pure functions over sorted arrays. The online path reads the same tiles through the same `Ring` and aggregations.
"""

from functools import cached_property

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.keys import key_column
from charkha.features.rings import Ring, rings_of
from charkha.features.segments import IntArray, KeyTimeIndex, run_ends, run_starts
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView


@frozen(eq=False)
class History:
    """Rows of one view in the order of (key, known time, arrival). `codes`: the keys as integers; n rows."""

    frame: pl.DataFrame
    codes: IntArray
    known_us: IntArray

    @cached_property
    def index(self) -> KeyTimeIndex:
        """The rows by key and known time."""
        return KeyTimeIndex(self.codes, self.known_us)


@frozen(eq=False)
class Questions:
    """Keys and times in the order of (key, time); `places` says where each one's answer goes. k questions."""

    codes: IntArray
    at_us: IntArray
    places: IntArray


def join_view(view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """Return the features of a view for every row of the spine, under their full names.

    rows: as of `read_rows`, of the view's source. spine: the entity's key columns and `_at_us`. Result: as many rows as
    the spine, in its order. A null key has no features; a key without rows has a count of 0 and nulls.
    """
    history, questions = align(view, rows, spine)
    columns: dict[str, pl.Series] = {}
    first = history_of_first_versions(history)
    for ring in rings_of(view):
        for name, values in ring_features(ring, first, questions).items():
            columns[name] = pl.Series(_placed(values, questions, len(spine)), nan_to_null=True)
    columns.update(latest_features(view, history, questions, len(spine)))
    names = [window.name for window in view.all_windows()] + list(view.latest)
    return pl.DataFrame({f"{view.name}.{name}": columns[name] for name in names})


def align(view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame) -> tuple[History, Questions]:
    """Return rows and spine with one integer per key, sorted; null keys and rows that are never known are left out."""
    row_keys = key_column(rows, view.entity.keys)
    codes = pl.concat([row_keys, key_column(spine, view.entity.keys)]).rank("dense").cast(pl.Int64) - 1
    usable = rows.with_columns(codes[: len(rows)].alias("_code")).filter(
        pl.col("_code").is_not_null() & pl.col("_known_us").is_not_null()
    )
    usable = usable.sort("_code", "_known_us", maintain_order=True)
    asked = pl.DataFrame({"code": codes[len(rows) :], "at": spine["_at_us"]}).with_row_index("place")
    asked = asked.drop_nulls().sort("code", "at", maintain_order=True)
    return (
        History(usable, usable["_code"].to_numpy(), usable["_known_us"].to_numpy()),
        Questions(asked["code"].to_numpy(), asked["at"].to_numpy(), asked["place"].to_numpy().astype(np.int64)),
    )


def history_of_first_versions(history: History) -> History:
    """Return the history without corrections: what windows count."""
    first = history.frame["_first"].to_numpy()
    return History(history.frame.filter(pl.Series(first)), history.codes[first], history.known_us[first])


def part_columns(ring: Ring, frame: pl.DataFrame) -> list[FloatArray]:
    """Return the values of each part's column as float64 with NaN for null; zeros for a part without a column."""
    return [
        np.zeros(len(frame))
        if part.column is None
        else frame[part.column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        for part in ring.parts
    ]


@frozen(eq=False)
class Tiles:
    """The tiles of many keys in the order of (key, hop); `states` is (m, ring.width)."""

    codes: IntArray
    hops: IntArray
    states: FloatArray


def tiles_of(ring: Ring, codes: IntArray, known_us: IntArray, row_states: FloatArray) -> Tiles:
    """Return the tiles of sorted rows: one for every hop of a key in which a row became known."""
    hops = known_us // ring.hop_us
    starts = run_starts(codes, hops)
    return Tiles(codes[starts], hops[starts], ring.merge(row_states, starts, run_ends(starts, len(codes))))


def ring_features(ring: Ring, history: History, questions: Questions) -> dict[str, FloatArray]:
    """Return the values of every window of a ring, in the order of the questions: float64 (k,), NaN for null."""
    row_states = ring.prepare(part_columns(ring, history.frame))
    tiles = tiles_of(ring, history.codes, history.known_us, row_states)
    by_hop, by_time = KeyTimeIndex(tiles.codes, tiles.hops), history.index
    open_hop = questions.at_us // ring.hop_us
    whole = by_hop.count_until(questions.codes, open_hop, equal=False)
    row_lows = by_time.count_until(questions.codes, open_hop * ring.hop_us, equal=False)
    row_highs = by_time.count_until(questions.codes, questions.at_us, equal=True)
    heads = ring.merge(row_states, row_lows, row_highs)
    values: dict[str, FloatArray] = {}
    for window, part in ring.windows:
        columns = slice(part.start, part.stop)
        lows = by_hop.count_until(questions.codes, open_hop - window.hops, equal=False)
        tails = part.aggregation.merge(tiles.states[:, columns], lows, whole)
        both = np.stack((tails, heads[:, columns]), axis=1).reshape(-1, part.aggregation.width)
        pairs = np.arange(0, len(both), 2)
        values[window.name] = part.aggregation.finalise(part.aggregation.merge(both, pairs, pairs + 2))
    return values


def newest_by_event_time(history: History) -> IntArray:
    """Return for each row the place of the newest by event time among its key's rows up to it; of ties, the later."""
    order = np.argsort(history.frame["_event_us"].to_numpy(), kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    # Each key begins above all ranks of the key before it, so that one running maximum serves all keys.
    lifted = np.maximum.accumulate(rank + history.codes * len(order))
    return order[lifted - history.codes * len(order)] if len(order) else order


def latest_features(view: FeatureView, history: History, questions: Questions, size: int) -> dict[str, pl.Series]:
    """Return the latest values at each question, in its place of `size`; null where there is none or it is too old."""
    if not view.latest:
        return {}
    known = history.index.count_until(questions.codes, questions.at_us, equal=True)
    found = known > np.searchsorted(history.codes, questions.codes)
    newest = np.full(len(known), -1)
    newest[found] = newest_by_event_time(history)[known[found] - 1]
    if view.max_age_us is not None:
        age_us = questions.at_us - history.frame["_event_us"].to_numpy()[newest] if len(history.codes) else 0
        newest[age_us > view.max_age_us] = -1
    places = np.full(size, -1)
    places[questions.places] = newest
    gather = pl.Series(places).cast(pl.Int64).replace(-1, None)
    return {column: history.frame[column].gather(gather) for column in view.latest}


def _placed(values: FloatArray, questions: Questions, size: int) -> FloatArray:
    placed = np.full(size, np.nan)
    placed[questions.places] = values
    return placed
