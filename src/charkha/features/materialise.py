"""What history makes of the online state: the very tiles the offline path computes, as they lie in the store."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from charkha.features.events import RowLayout
from charkha.features.filters import filters_of, with_filters
from charkha.features.history import History, history_of_first_versions
from charkha.features.keys import key_bytes, key_column
from charkha.features.newest import newest_known
from charkha.features.progress import rows_to_remember
from charkha.features.segments import run_ends, run_starts
from charkha.features.sorted_pairs import Pairs
from charkha.features.state import ViewState, columns_of
from charkha.features.tiles import tiles_of
from charkha.spec.fields import TIME
from charkha.spec.sources import Source

_ROWS_AT_ONCE = 1 << 11


def view_pairs(view: ViewState, rows: pl.DataFrame) -> Iterator[Pairs]:
    """Yield the state of a view, in the order of places: keys in order fill their pages.

    rows: of `read_rows`, known by the time it is built as of; with what the view reads, and all rows of their keys.
    """
    history, keys = _by_key(view, with_filters(rows, [view.view]))
    first = history_of_first_versions(history)
    for index in range(len(view.rings)):
        yield _tiles(view, index, first, keys)
    if view.latest_columns and keys:
        yield _latest(view, history, keys)


def row_pairs(source: Source, rows: pl.DataFrame) -> Iterator[Pairs]:
    """Yield what to remember of rows, so that pushing one of them again is a repetition; in their order.

    rows: with all fields of their source; of several versions of a row, the last counts.
    """
    if source.key:
        layout = RowLayout.of(source)
        for some in plain_values(rows.select(list(source.fields))).iter_slices(_ROWS_AT_ONCE):
            yield list(rows_to_remember(layout, some))


def plain_values(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with times as µs: values as the log and the state keep them."""
    return frame.with_columns(pl.col(TIME).dt.epoch("us"))


def _by_key(view: ViewState, rows: pl.DataFrame) -> tuple[History, list[str]]:
    """Return the rows of usable keys in the order of (key, known time), and the keys, of which their codes count."""
    read = columns_of(view.view) | filters_of([view.view]).keys() | {"_event_us", "_known_us", "_first"}
    keyed = rows.select(read).with_columns(_key=key_column(rows, view.view.entity.keys))
    keyed = keyed.drop_nulls(["_key", "_known_us"])
    keys = keyed["_key"].unique().sort()
    codes = keyed["_key"].cast(pl.Enum(keys)).to_physical()  # a rank among all rows would sort each key many times
    keyed = keyed.with_columns(_code=codes.cast(pl.Int64)).sort("_code", "_known_us", maintain_order=True)
    return History(keyed, keyed["_code"].to_numpy(), keyed["_known_us"].to_numpy()), keys.to_list()


def _tiles(view: ViewState, index: int, history: History, keys: list[str]) -> Pairs:
    ring = view.rings[index]
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond a float is null when it is finalised
        tiles = tiles_of(ring.ring, history)
    starts, states = run_starts(tiles.codes), tiles.states
    place = view.ring_place(index)
    packed = [
        (place + key_bytes(keys[tiles.codes[start]]), ring.pack(tiles.hops[start:end], states[start:end]))
        for start, end in zip(starts, run_ends(starts, len(tiles.codes)), strict=True)
    ]
    return sorted(packed)


def _latest(view: ViewState, history: History, keys: list[str]) -> Pairs:
    at_the_end = np.full(len(keys), history.known_us.max())
    newest = history.frame[newest_known(history.arrivals, np.arange(len(keys)), at_the_end)]
    rows = view.latest.encode_many(newest["_event_us"].to_numpy(), newest.select(view.view.latest))
    places = [view.latest_place + key_bytes(key) for key in keys]
    return sorted(zip(places, rows, strict=True))
