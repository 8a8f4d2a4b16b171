"""Profiles of what was predicted, read from their table and added up over a window."""

import polars as pl

from charkha.bundles.profile import Profile
from charkha.bundles.store import BundleStore
from charkha.monitoring.collect import profiles_table
from charkha.monitoring.parts import PartReader
from charkha.monitoring.tiles import SCHEMA, summed
from charkha.storage.home import Home


class ProfileReader:
    """Reads profiles again and again; what a window shares with the one before is not read from disk again.

    Reads what `collect` has written.
    """

    def __init__(self, home: Home, model: str, bundles: BundleStore) -> None:
        self._model, self._bundles = model, bundles
        self._parts = PartReader(home.tables, profiles_table(model), _tiles_only)

    def profile(self, version: str, since_us: int, until_us: int) -> Profile | None:
        """Return the profile of a version's predictions, in any role, on the days from `since_us` until `until_us`.

        Days are whole: a window that begins or ends within a day (UTC) takes all of it.
        """
        tiles = self.tiles(since_us, until_us).filter(pl.col("version") == version)
        return None if tiles.is_empty() else summed(self._bundles.manifest(self._model, version).shape, tiles)

    def tiles(self, since_us: int, until_us: int) -> pl.DataFrame:
        """Return the tiles of all versions of those days, one after the other for each partition of the log."""
        return pl.concat([pl.DataFrame(schema=SCHEMA), *self._parts.between(since_us, until_us)])


def _tiles_only(table: pl.DataFrame) -> pl.DataFrame:
    """Return the tiles of a part; none of one that was kept by the day, as profiles once were."""
    return table if table.schema == SCHEMA else pl.DataFrame(schema=SCHEMA)
