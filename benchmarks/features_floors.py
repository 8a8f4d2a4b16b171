"""What the same work costs with nothing around it: NumPy for the join, Polars for windows, LMDB for reads."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb
import numpy as np
import polars as pl
from features_data import DAY_US, TIME, VIEWS, feature_columns

TTL_US = 30 * DAY_US
PERIODS = ("1h", "24h", "7d", "30d")
_TIME_BITS = 44  # of a time since the first; 200 days of microseconds
_ROW = struct.Struct("<q10f")


def packed_join(folder: str, out: str) -> None:
    """Join by NumPy: entity and time packed into one integer, sorted once a view, searched, gathered by column."""
    root = Path(folder)
    asked = pl.read_parquet(root / "asked.parquet")
    entity, at_us = asked["entity_id"].to_numpy(), asked["event_timestamp"].dt.epoch("us").to_numpy()
    order = None
    for view in range(VIEWS):
        path = root / f"view{view}.parquet"
        rows = pl.read_parquet(path, columns=["entity_id", "event_timestamp"])
        times = rows["event_timestamp"].dt.epoch("us").to_numpy()
        first = int(times.min()) - TTL_US - 1
        packed = (rows["entity_id"].to_numpy() << _TIME_BITS) + (times - first)
        # Rows lie in the order of their creation, so that a stable sort leaves the newest correction last.
        by_key = np.argsort(packed, kind="stable")
        packed = packed[by_key]
        wanted = (entity << _TIME_BITS) + np.clip(at_us - first, 0, (1 << _TIME_BITS) - 1)
        order = np.argsort(wanted) if order is None else order  # questions in order go easy on the cache
        found = np.empty(len(wanted), np.int64)
        found[order] = np.searchsorted(packed, wanted[order], "right") - 1
        nearest = packed[np.maximum(found, 0)]
        hit = (found >= 0) & (nearest >= entity << _TIME_BITS) & (wanted - nearest <= TTL_US)
        places = pl.DataFrame({"place": by_key[np.maximum(found, 0)], "hit": hit})
        gather = places.select(pl.when("hit").then("place"))["place"]
        columns = (pl.read_parquet(path, columns=[name])[name].gather(gather) for name in feature_columns(view))
        asked = asked.hstack(list(columns))
    asked.write_parquet(out, compression="lz4", statistics=False)  # as a backfill writes


def polars_join(folder: str, out: str) -> None:
    """Join by Polars' own as-of join, streamed: another way to the same answer."""
    root = Path(folder)
    asked = pl.scan_parquet(root / "asked.parquet").with_row_index("_place").sort("event_timestamp")
    for view in range(VIEWS):
        rows = pl.scan_parquet(root / f"view{view}.parquet").sort("event_timestamp", "created").drop("created")
        asked = asked.join_asof(
            rows.with_columns(_found=pl.col("event_timestamp")),
            on="event_timestamp",
            by="entity_id",
            tolerance="30d",
            check_sortedness=False,
        ).drop("_found")
    asked.sort("_place").drop("_place").sink_parquet(out, compression="lz4", statistics=False)


def polars_rolling(folder: str, out: str) -> None:
    """Compute the windows by Polars' `rolling` over events and questions together; its quickest way we know."""
    root = Path(folder)
    events = pl.read_parquet(root / "events.parquet").with_columns(asked=pl.lit(value=False))
    asked = pl.read_parquet(root / "asked.parquet").with_row_index("place")
    questions = asked.select("entity_id", "at", value=pl.lit(None, pl.Float64), asked=pl.lit(value=True))
    rows = pl.concat([events, questions]).sort("entity_id", "at", "asked")
    value, found = pl.col("value"), []
    for period in PERIODS:
        aggregations = {
            "count": value.count(),
            "sum": value.sum(),
            "mean": value.mean(),
            "min": value.min(),
            "max": value.max(),
            "variance": value.var(),
        }
        named = [aggregation.alias(f"{name}_{period}") for name, aggregation in aggregations.items()]
        rolled = rows.rolling("at", period=period, closed="both", group_by="entity_id").agg(
            *named, pl.col("asked").last()
        )
        found.append(rolled.filter("asked").drop("entity_id", "at", "asked"))
    places = asked.sort("entity_id", "at")["place"]
    answers = pl.concat([places.to_frame(), *found], how="horizontal").sort("place").drop("place")
    asked.drop("place").hstack(answers).write_parquet(out, compression="lz4", statistics=False)


Read = Callable[[Sequence[int]], object]


def lmdb_reads(folder: str, root: str) -> tuple[lmdb.Environment, Read]:
    """Write the latest row of each entity and view into LMDB, and return how to read some: ten floats a view."""
    environment = lmdb.open(folder, map_size=4 << 30, max_dbs=VIEWS, sync=False)
    views = [environment.open_db(f"view{view}".encode()) for view in range(VIEWS)]
    for view, database in enumerate(views):
        frame = pl.read_parquet(Path(root) / f"view{view}.parquet").with_columns(pl.col(TIME).dt.epoch("us"))
        with environment.begin(write=True, db=database) as state:
            for entity, at_us, *values in frame.drop("created").iter_rows():
                state.put(entity.to_bytes(8, "big"), _ROW.pack(at_us, *values))

    def read(entities: Sequence[int]) -> object:
        with environment.begin() as state:
            keys = [entity.to_bytes(8, "big") for entity in entities]
            return [_ROW.unpack(state.get(key, db=database) or b"") for database in views for key in keys]

    return environment, read
