"""Whether what was measured is right: against another engine in every row, and against loops on a sample."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from features_adapter import window_bounds
from features_data import DAY_US, VIEWS, feature_columns

TTL_US = 30 * DAY_US
Loop = Callable[[Sequence[tuple[Any, ...]], int], Any]


def unlike_rows(found: str, expected: str, by: Sequence[str] = ()) -> dict[str, float]:
    """Return how many rows of two files differ in any feature; all of them if their number does.

    by: sort both by these columns first, else they must be in one order.
    """
    names = [name for view in range(VIEWS) for name in feature_columns(view)]
    rows = [pl.scan_parquet(path).select(pl.len()).collect().item() for path in (found, expected)]
    if rows[0] != rows[1]:
        return {"unlike": float(max(rows)), "rows": float(rows[1])}
    places = [_places(path, by) for path in (found, expected)]
    unlike = pl.repeat(value=False, n=rows[0], dtype=pl.Boolean, eager=True)
    for name in [*by, *names]:
        left, right = (_column(path, name, place) for path, place in zip((found, expected), places, strict=True))
        unlike = unlike | left.ne_missing(right)
    return {"unlike": float(unlike.sum()), "rows": float(rows[0])}


def _places(path: str, by: Sequence[str]) -> pl.Series | None:
    if not by:
        return None
    return pl.read_parquet(path, columns=list(by)).with_row_index("_place").sort(*by)["_place"]


def _column(path: str, name: str, places: pl.Series | None) -> pl.Series:
    column = pl.read_parquet(path, columns=[name])[name]
    exact = column if isinstance(column.dtype, pl.Datetime) else column.cast(pl.Float64)  # float32 fits in it
    exact = exact.dt.epoch("us") if isinstance(column.dtype, pl.Datetime) else exact
    return exact if places is None else exact.gather(places)


def join_slips(folder: str, found: str, sample: int, known: bool) -> dict[str, float]:
    """Return how many of a sample of joined rows differ from a loop over the history of their entity."""
    root = Path(folder)
    asked = _sample(pl.scan_parquet(found), sample)
    slips: set[int] = set()
    for view in range(VIEWS):
        names = feature_columns(view)
        at, created = pl.col("event_timestamp").dt.epoch("us"), pl.col("created").dt.epoch("us")
        history = pl.scan_parquet(root / f"view{view}.parquet").select("entity_id", at, created, *names)
        histories = _by_entity(history, asked)
        questions = asked.select("entity_id", at, *names).rows()
        for place, (entity, at_us, *values) in enumerate(questions):
            seen = [row for row in histories.get(entity, []) if max(row[1], row[2] if known else row[1]) <= at_us]
            newest = max(enumerate(seen), key=lambda row: (row[1][1], row[0]), default=(0, None))[1]
            fresh = newest is not None and at_us - newest[1] <= TTL_US
            expected = list(newest[3:]) if newest is not None and fresh else [None] * len(names)
            if values != expected:
                slips.add(place)
    return {"slips": float(len(slips)), "sample": float(asked.height)}


def window_slips(folder: str, found: str, sample: int) -> dict[str, float]:
    """Return how many windows of a sample of questions differ from a loop over the events of their entity.

    Counts and extremes must be equal, sums, means and variances to 1e-9.
    """
    asked = _sample(pl.scan_parquet(found), sample)
    at = pl.col("at").dt.epoch("us")
    histories = _by_entity(pl.scan_parquet(Path(folder) / "events.parquet").select("entity_id", at, "value"), asked)
    slips = 0
    for row in asked.with_columns(at).iter_rows(named=True):
        events = histories.get(row["entity_id"], [])
        for name, kind, hops, hop_us in window_bounds():
            from_us = (row["at"] // hop_us - hops) * hop_us
            values = [value for _, at_us, value in events if from_us <= at_us <= row["at"]]
            slips += not _agree(kind, row[name], _window(kind, values))
    return {"slips": float(slips), "sample": float(asked.height)}


def _window(kind: str, values: list[float]) -> float | None:
    if not values:
        return 0.0 if kind == "count" else None
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    found = {
        "count": float(len(values)),
        "sum": math.fsum(values),
        "mean": mean,
        "min": min(values),
        "max": max(values),
        "variance": squares / (len(values) - 1) if len(values) > 1 else None,
    }
    return found[kind]


def _agree(kind: str, found: float | None, expected: float | None) -> bool:
    if found is None or expected is None or kind in ("count", "min", "max"):
        return found == expected
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)


def _sample(rows: pl.LazyFrame, size: int) -> pl.DataFrame:
    """Return every so-many-th row."""
    total = rows.select(pl.len()).collect().item()
    return rows.gather_every(max(1, total // size)).collect()


def _by_entity(rows: pl.LazyFrame, asked: pl.DataFrame) -> dict[int, list[tuple[Any, ...]]]:
    wanted = rows.filter(pl.col("entity_id").is_in(asked["entity_id"].unique().to_list())).collect()
    parts = wanted.partition_by("entity_id", as_dict=True, maintain_order=True)
    return {int(key[0]): part.rows() for key, part in parts.items()}
