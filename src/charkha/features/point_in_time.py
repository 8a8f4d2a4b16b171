"""The point-in-time join: for every question (a key at a time), what was known then.

Pure functions over sorted arrays. The online path reads the same tiles through the same `Ring` and aggregations.
"""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.aggregations.aggregation import finalised
from charkha.features.filters import with_filters
from charkha.features.history import History, history_of_first_versions
from charkha.features.keys import key_codes
from charkha.features.merging import Ranges, merged_pairs, running
from charkha.features.newest import NOBODY, in_order, newest_known
from charkha.features.numbers import ratio_of
from charkha.features.rings import Part, Ring, rings_of
from charkha.features.segments import IntArray, KeyTimeIndex, places_in_runs, run_ends, run_starts
from charkha.features.state import columns_of
from charkha.features.tiles import tiles_of
from charkha.spec.aggregates import Window
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView


@frozen(eq=False)
class Questions:
    """Keys and times in the order of (key, time); `places` says where each one's answer goes. k questions.

    at_us: until when rows count. asked_us: when the question is asked, from which ages and decay are told; the same,
    unless the question has not seen the newest rows.
    """

    codes: IntArray
    at_us: IntArray
    asked_us: IntArray
    places: IntArray

    def __getitem__(self, some: slice) -> "Questions":
        """Return some of the questions, without a copy."""
        return Questions(self.codes[some], self.at_us[some], self.asked_us[some], self.places[some])


def join_view(view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame) -> pl.DataFrame:
    """Return the features of a view for every row of the spine, under their full names.

    rows: as of `read_rows`, of the view's source. spine: the entity's key columns, `_at_us` until when rows count, and,
    where it is later, `_asked_us`, when the question is asked: in the same hops. Result: as many rows as the spine, in
    its order. A null key has no features; a key without rows has a count of 0 and nulls.
    """
    history, questions = align(view, with_filters(rows, [view]), spine)
    return in_places(features_of(view, history, questions), questions, len(spine))


def features_of(view: FeatureView, history: History, questions: Questions) -> pl.DataFrame:
    """Return the features of a view under their full names, in the order of the questions."""
    values: dict[str, FloatArray] = {}
    first = history_of_first_versions(history)
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond a float is null at the end
        for ring in rings_of(view):
            values.update(ring_features(ring, first, questions))
    for ratio in view.ratios():
        values[ratio.name] = ratio_of(*(values[side] for side in ratio.sides))
    columns = {name: pl.Series(values[name], nan_to_null=True) for name in view.window_features()}
    columns.update(latest_features(view, history, questions))
    return pl.DataFrame({f"{view.name}.{name}": column for name, column in columns.items()})


def in_places(features: pl.DataFrame, questions: Questions, size: int) -> pl.DataFrame:
    """Return the features of questions where their answers go, of `size` rows; null where there was no question."""
    places = np.full(size, NOBODY)
    places[questions.places] = np.arange(len(questions.places))
    return features.select(pl.all().gather(_or_null(places)))


def align(view: FeatureView, rows: pl.DataFrame, spine: pl.DataFrame) -> tuple[History, Questions]:
    """Return rows and spine with one integer per key, sorted; null keys and rows that are never known are left out."""
    codes, asked = key_codes(rows, spine, view.entity.keys)
    usable = np.flatnonzero((codes >= 0) & rows["_known_us"].is_not_null().to_numpy())
    order = usable[in_order(codes[usable], rows["_known_us"].fill_null(0).to_numpy()[usable])]
    read = columns_of(view)
    needed = [name for name in rows.columns if name.startswith("_") or name in read]
    frame = rows.select(needed)[order]
    at_us = spine["_at_us"].fill_null(0).to_numpy()
    asked_us = spine["_asked_us"].to_numpy() if "_asked_us" in spine.columns else at_us
    places = np.flatnonzero((asked >= 0) & spine["_at_us"].is_not_null().to_numpy())
    places = places[np.lexsort((at_us[places], asked[places]))]
    return (
        History(frame, codes[order], frame["_known_us"].to_numpy()),
        Questions(asked[places], at_us[places], asked_us[places], places),
    )


def ring_features(ring: Ring, history: History, questions: Questions) -> dict[str, FloatArray]:
    """Return the values of every window of a ring, in the order of the questions: float64 (k,), NaN for null."""
    codes, open_hop = questions.codes, questions.at_us // ring.hop_us
    begins = history.index.count_until(codes, (open_hop - ring.hops) * ring.hop_us, equal=False)
    ends = history.index.count_until(codes, questions.at_us, equal=True)
    history = history.within(Ranges(begins, ends))
    tiles = tiles_of(ring, history)
    by_hop = KeyTimeIndex(tiles.codes, tiles.hops)
    whole = by_hop.count_until(codes, open_hop, equal=False)
    with_head, heads = _heads(ring, history, questions)
    values: dict[str, FloatArray] = {}
    for hops, windows in _by_length(ring).items():
        lows = by_hop.count_until(codes, open_hop - hops, equal=False)
        # Neighbouring questions of one open hop have the same tail.
        different = run_starts(lows, whole)
        owner = np.repeat(np.arange(len(different)), run_ends(different, len(lows)) - different)
        tails = Ranges(lows[different], whole[different])
        for window, part in windows:
            number = ring.parts.index(part)
            merged = tails.merged(part.aggregation, tiles.parts[number]).take(owner, axis=0)
            merged[with_head] = merged_pairs(part.aggregation, merged[with_head], heads[number])
            values.update(zip(window.names, finalised(part.aggregation, merged, questions.asked_us).T, strict=True))
    return values


def _by_length(ring: Ring) -> dict[int, list[tuple[Window, Part]]]:
    """Return the windows of a ring by how many hops they have: those of one length begin and end together."""
    by_length: dict[int, list[tuple[Window, Part]]] = {}
    for window, part in ring.windows:
        by_length.setdefault(window.hops, []).append((window, part))
    return by_length


def _heads(ring: Ring, history: History, questions: Questions) -> tuple[IntArray, list[FloatArray]]:
    """Return which questions have rows in their open hop up to them, and of each part the states of these: (m, width).

    A question has the rows of the one before it in the same hop, and some more: each row is read once, though the hop
    be as long as the whole history.
    """
    open_hop = questions.at_us // ring.hop_us
    highs = history.index.count_until(questions.codes, questions.at_us, equal=True)
    begun = history.index.count_until(questions.codes, open_hop * ring.hop_us, equal=False)
    some = np.flatnonzero(begun < highs)
    places = places_in_runs(questions.codes[some], open_hop[some])
    added = Ranges(np.where(places > 0, np.roll(highs[some], 1), begun[some]), highs[some])
    return some, [running(part.aggregation, history.rows_of(part).merged(added), places) for part in ring.parts]


def latest_features(view: FeatureView, history: History, questions: Questions) -> dict[str, pl.Series]:
    """Return the latest values at each question; null where there is none or it is too old."""
    if not view.latest:
        return {}
    rows = history.arrivals
    newest = newest_known(rows, questions.codes, questions.at_us)
    if view.max_age_us is not None and len(rows.event_us):
        newest[rows.event_us[newest] < questions.asked_us - view.max_age_us] = NOBODY
    return {column: history.frame[column].gather(_or_null(newest)) for column in view.latest}


def _or_null(places: IntArray) -> pl.Series:
    """Return places to gather from, null for NOBODY."""
    return pl.Series(places).set(pl.Series(places == NOBODY), None)
