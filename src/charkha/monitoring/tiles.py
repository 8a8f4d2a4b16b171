"""Profiles as they are kept: counts of ten minutes, of a version, a role and a replica. Any window is a sum of them.

A tile has only the bins that any of its rows lies in, so one of a few rows is small, however many bins there are.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from charkha.bundles.profile import Profile, ProfileShape, profile_from, tally, tally_scores
from charkha.serving.prediction_frames import features_logged

TILE_US = 600_000_000
KEY = ("tile_us", "version", "role", "replica")
SCHEMA = pl.Schema(
    {
        "tile_us": pl.Int64(),
        "version": pl.String(),
        "role": pl.String(),
        "replica": pl.String(),
        "rows": pl.Int64(),
        "bins": pl.List(pl.UInt32()),
        "counts": pl.List(pl.UInt32()),
    }
)


def tiles_of(shape: ProfileShape, version: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the tiles (SCHEMA) of what one version scored: of decoded predictions, with their features.

    Of rows without their features the scores count. tile_us: when its ten minutes began. replica: "" where it was not
    logged. bins, counts: as in `Tally`.
    """
    keyed = rows.with_columns(
        pl.col("replica").fill_null("") if "replica" in rows.columns else pl.lit("").alias("replica"),
        pl.lit(version).alias("version"),
        tile_us=pl.col("_at_us") // TILE_US * TILE_US,
    )
    logged = features_logged(rows)
    parts = ((keyed.filter(logged), True), (keyed.filter(~logged), False))
    return added(_tiles(shape, part, featured=featured) for part, featured in parts if part.height)


def added(tables: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the tiles of several tables, those of one key added up, in the order of their keys."""
    together = pl.concat([pl.DataFrame(schema=SCHEMA), *tables])
    if not together.select(KEY).is_duplicated().any():
        return together.sort(KEY)
    rows = together.group_by(KEY).agg(pl.col("rows").sum())
    each = together.drop("rows").explode("bins", "counts").drop_nulls("bins")
    listed = _listed(each.group_by(*KEY, "bins").agg(pl.col("counts").sum()), KEY)
    return _as_tiles(rows.join(listed, on=KEY, how="left")).sort(KEY)


def summed(shape: ProfileShape, tiles: pl.DataFrame) -> Profile | None:
    """Return the profile of all tiles, which are of one version; None when there are none."""
    if tiles.is_empty():
        return None
    bins, counts = (tiles[name].explode().drop_nulls().to_numpy() for name in ("bins", "counts"))
    total = np.bincount(bins, counts, minlength=shape.width).astype(np.int64)
    return profile_from(shape, int(tiles["rows"].sum()), total)


def _tiles(shape: ProfileShape, rows: pl.DataFrame, *, featured: bool) -> pl.DataFrame:
    keys = rows.select(KEY).unique(maintain_order=True).with_row_index("_tile")
    tile = rows.select(KEY).join(keys, on=KEY, how="left", maintain_order="left")["_tile"]
    groups, scores = tile.cast(pl.Int64).to_numpy(), rows["score"].to_numpy()
    if featured:
        found = tally(shape, rows, scores, groups, keys.height)
    else:
        found = tally_scores(shape, scores, groups, keys.height)
    counted = pl.DataFrame({"_tile": found.groups, "bins": found.bins, "counts": found.counts})
    sized = keys.with_columns(pl.col("_tile").cast(pl.Int64), rows=np.bincount(groups, minlength=keys.height))
    return _as_tiles(sized.join(_listed(counted, ["_tile"]), on="_tile", how="left"))


def _listed(counted: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return the bins and counts of each key as lists."""
    return counted.sort("bins").group_by(key, maintain_order=True).agg("bins", "counts")


def _as_tiles(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
