"""Profiles of what was predicted: those of single days from their table, merged over a window."""

from collections.abc import Iterable, Mapping
from functools import reduce

from charkha.bundles.profile import Profile, merge
from charkha.monitoring.collect import profiles_table, read_profiles
from charkha.monitoring.parts import PartReader
from charkha.storage.home import Home

# (version, role) → profile
Profiles = Mapping[tuple[str, str], Profile]


class ProfileReader:
    """Reads profiles again and again; what a window shares with the one before is not read from disk again.

    Days are whole: a window that begins or ends within a day (UTC) takes all of it. Reads what `collect` has written.
    """

    def __init__(self, home: Home, model: str) -> None:
        self._parts = PartReader(home.tables, profiles_table(model), read_profiles)

    def profile(self, version: str, since_us: int, until_us: int) -> Profile | None:
        """Return the profile of a version's predictions, in any role, on the days from `since_us` until `until_us`."""
        return merged(self._parts.between(since_us, until_us), version)


def merged(parts: Iterable[Profiles], version: str) -> Profile | None:
    """Merge the profiles of a version over parts and roles; None when there are none."""
    found = [profile for part in parts for (name, _), profile in part.items() if name == version]
    return reduce(merge, found) if found else None
