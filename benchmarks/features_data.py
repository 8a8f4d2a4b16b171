"""Seeded data of the feature benchmark, as Parquet files. Times are µs since 1970 UTC, over ninety days."""

from pathlib import Path

import numpy as np
import polars as pl
from attrs import frozen

VIEWS, FEATURES = 3, 10
DAY_US = 86_400_000_000
START_US = 1_780_272_000_000_000 // DAY_US * DAY_US
SPAN_US = 90 * DAY_US
END_US = START_US + SPAN_US
TIME = pl.Datetime("us", "UTC")
CORRECTED = 200  # one row in so many is corrected later
LARGE = 13_000_000

AT_ONCE = 1_000_000
LARGE_VALUES = ("v0", "v1", "v2", "v3")

Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@frozen
class Sizes:
    """How much of everything; `at(1)` is what the claims are about."""

    entities: int
    asked: int
    history: int
    beside_asked: int
    beside_history: int
    events: int
    online: int
    pushed: int
    materialised: int
    hot: int
    large: int

    @classmethod
    def at(cls, scale: float) -> "Sizes":
        """Return the sizes times `scale`. beside_…: at what size Feast is compared.

        large: more rows than are kept in memory, which is what a source that outgrows it has; and four times as many.
        """

        def size(rows: int) -> int:
            return max(20, round(rows * scale))

        return cls(
            entities=size(100_000),
            asked=size(1_000_000),
            history=size(10_000_000),
            beside_asked=size(100_000),
            beside_history=size(1_000_000),
            events=size(10_000_000),
            online=size(100_000),
            pushed=size(100_000),
            materialised=size(1_000_000),
            hot=size(10_000_000),
            large=size(LARGE),
        )


def feature_columns(view: int) -> list[str]:
    """Return the names of a view's columns, which no other view has."""
    return [f"v{view}_f{number}" for number in range(FEATURES)]


def all_features() -> list[str]:
    """Return the thirty columns of the three views."""
    return [name for view in range(VIEWS) for name in feature_columns(view)]


def make_history(folder: str, entities: int, asked: int, history: int) -> dict[str, float]:
    """Write asked.parquet and view0.parquet to view2.parquet, rows in the order in which they were created.

    A row is created within an hour of its event. One in two hundred is a correction: same entity and event time, other
    values, created up to a day later.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    for view in range(VIEWS):
        _write(_history(view, entities, history), root / f"view{view}.parquet")
    random = np.random.default_rng(7)
    questions = {
        "entity_id": random.integers(0, entities, asked),
        "event_timestamp": _time(START_US + random.integers(0, SPAN_US, asked)),
        "label": random.integers(0, 2, asked),
    }
    _write(pl.DataFrame(questions), root / "asked.parquet")
    return {}


def _history(view: int, entities: int, rows: int) -> pl.DataFrame:
    random = np.random.default_rng(1000 + view)
    corrections = rows // CORRECTED
    entity = random.integers(0, entities, rows - corrections)
    at_us = START_US + random.integers(0, SPAN_US, rows - corrections)
    created_us = at_us + random.integers(0, DAY_US // 24, rows - corrections)
    again = random.choice(rows - corrections, corrections, replace=False)
    entity, at_us = np.append(entity, entity[again]), np.append(at_us, at_us[again])
    created_us = np.append(created_us, created_us[again] + 1 + random.integers(0, DAY_US, corrections))
    order = np.argsort(created_us, kind="stable")
    times = {"event_timestamp": _time(at_us[order]), "created": _time(created_us[order])}
    values = {name: random.random(rows, dtype=np.float32) for name in feature_columns(view)}
    return pl.DataFrame({"entity_id": entity[order], **times, **values})


def make_events(folder: str, entities: int, asked: int, events: int) -> dict[str, float]:
    """Write events.parquet (entity, time, value, in the order of time) and asked.parquet (the last sixty days)."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(11)
    at_us = START_US + np.sort(random.integers(0, SPAN_US, events))
    rows = {"entity_id": random.integers(0, entities, events), "at": _time(at_us), "value": random.random(events)}
    _write(pl.DataFrame(rows), root / "events.parquet")
    asked_us = START_US + random.integers(SPAN_US // 3, SPAN_US, asked)
    _write(
        pl.DataFrame({"entity_id": random.integers(0, entities, asked), "at": _time(asked_us)}), root / "asked.parquet"
    )
    return {}


def make_online(folder: str, entities: int) -> dict[str, float]:
    """Write view0.parquet to view2.parquet with one row an entity, of the last day."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    for view in range(VIEWS):
        random = np.random.default_rng(50 + view)
        at = _time(END_US - random.integers(0, DAY_US, entities))
        values = {name: random.random(entities, dtype=np.float32) for name in feature_columns(view)}
        frame = pl.DataFrame({"entity_id": np.arange(entities), "event_timestamp": at, "created": at, **values})
        _write(frame, root / f"view{view}.parquet")
    return {}


def make_wide_events(folder: str, entities: int, events: int, pushed: int = 0) -> dict[str, float]:
    """Write wide.parquet: events with thirty values each, in the order of time, created within an hour.

    pushed: how many of pushed.parquet, which come after them, one a second.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(13)
    at_us = START_US + np.sort(random.integers(0, SPAN_US, events))
    created_us = np.minimum(at_us + random.integers(0, DAY_US // 24, events), END_US)
    history = _wide_events(random, 0, entities, at_us)
    _write(history.with_columns(created=_time(created_us)), root / "wide.parquet")
    _write(
        _wide_events(random, events, entities, END_US + 1_000_000 * np.arange(1, pushed + 1)), root / "pushed.parquet"
    )
    return {}


def _wide_events(random: np.random.Generator, first: int, entities: int, at_us: Ints) -> pl.DataFrame:
    events = len(at_us)
    keys = {"event_id": np.arange(first, first + events), "entity_id": random.integers(0, entities, events)}
    values = {name: random.random(events, dtype=np.float32) for name in all_features()}
    return pl.DataFrame({**keys, "event_timestamp": _time(at_us), **values})


def make_hot_key(folder: str, hot: int) -> dict[str, float]:
    """Write events.parquet: key 0 with all but a tenth of the events, key 1 with that tenth, key 2 with a hundred."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(17)
    counts = (hot, hot // 10, 100)
    entity = np.repeat(np.arange(3), counts)
    at_us = START_US + random.integers(0, SPAN_US, len(entity))
    order = np.argsort(at_us, kind="stable")
    rows = {"entity_id": entity[order], "at": _time(at_us[order]), "value": random.random(len(entity))}
    _write(pl.DataFrame(rows), root / "events.parquet")
    return {}


def make_large(folder: str, entities: int, asked: int, rows: int) -> dict[str, float]:
    """Write large.parquet (row groups of a million rows, never all in memory) and asked.parquet.

    Rows have a key, and one in two hundred is a correction of one before it, often of another entity.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    pieces = []
    for low in range(0, rows, AT_ONCE):
        pieces.append(root / f"{low:012d}.parquet")
        _write(_large_rows(low, min(low + AT_ONCE, rows), rows, entities), pieces[-1])
    pl.scan_parquet(pieces).sink_parquet(root / "large.parquet", compression="snappy", row_group_size=AT_ONCE)
    for piece in pieces:
        piece.unlink()
    random = np.random.default_rng(7)
    keys = {
        "entity_id": random.integers(0, entities, asked),
        "shop_id": random.integers(0, max(1, entities // 10), asked),
    }
    at = _time(START_US + random.integers(SPAN_US // 3, SPAN_US, asked))
    _write(pl.DataFrame({**keys, "asked_at": at}), root / "asked.parquet")
    return {}


def _large_rows(low: int, high: int, rows: int, entities: int) -> pl.DataFrame:
    random, size = np.random.default_rng(low), high - low
    at_us = START_US + np.sort(random.integers(SPAN_US * low // rows, SPAN_US * high // rows, size))
    back = np.where(random.integers(0, CORRECTED, size) == 0, random.integers(1, 1000, size), 0)
    columns = {
        "row_id": np.maximum(np.arange(low, high) - back, 0),
        "entity_id": random.integers(0, entities, size),
        "shop_id": random.integers(0, max(1, entities // 10), size),
        "at": _time(at_us),
        "known_at": _time(at_us + random.integers(0, DAY_US // 24, size)),
    }
    return pl.DataFrame({**columns, **{name: random.random(size) for name in LARGE_VALUES}})


def _time(us: Ints) -> pl.Series:
    return pl.Series(us).cast(TIME)


def _write(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="snappy", row_group_size=1_000_000)
