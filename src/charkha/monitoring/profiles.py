"""Profiles of what was predicted, read from their table and merged over a window."""

from functools import reduce

import polars as pl

from charkha.bundles.profile import Profile, merge
from charkha.bundles.store import BundleStore
from charkha.monitoring.collect import profiles_table, shapes_of
from charkha.monitoring.hours import Hours, merged, read_hours
from charkha.monitoring.parts import PartReader
from charkha.storage.home import Home


class ProfileReader:
    """Reads profiles again and again; what a window shares with the one before is not read from disk again.

    Days are whole: a window that begins or ends within a day (UTC) takes all of it. Reads what `collect` has written.
    """

    def __init__(self, home: Home, model: str, bundles: BundleStore) -> None:
        self._model, self._bundles = model, bundles
        self._parts = PartReader(home.tables, profiles_table(model), self._hours)

    def profile(self, version: str, since_us: int, until_us: int) -> Profile | None:
        """Return the profile of a version's predictions, in any role, on the days from `since_us` until `until_us`."""
        found = [profile for part in self._parts.between(since_us, until_us) if (profile := merged(part, version))]
        return reduce(merge, found) if found else None

    def _hours(self, table: pl.DataFrame) -> Hours:
        return read_hours(table, shapes_of(self._model, self._bundles, [table]))
