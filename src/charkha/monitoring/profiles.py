"""Profiles of what was predicted: those of single days from their table, merged over a window."""

from collections.abc import Iterable, Mapping
from functools import reduce

from charkha.bundles.profile import Profile, merge
from charkha.monitoring.collect import profiles_table, read_profiles
from charkha.monitoring.parts import PartReader
from charkha.storage.home import Home

# (version, role) → profile
Profiles = Mapping[tuple[str, str], Profile]


def profiles(home: Home, model: str, since_us: int, until_us: int) -> dict[str, Profile]:
    """Return the profile of each version's predictions, in any role, on the days from `since_us` until `until_us`.

    Days are whole: a window that begins or ends within a day (UTC) takes all of it. Reads what `collect` has written.
    """
    return ProfileReader(home, model).profiles(since_us, until_us)


class ProfileReader:
    """Reads profiles again and again; what a window shares with the one before is not read from disk again."""

    def __init__(self, home: Home, model: str) -> None:
        self._parts = PartReader(home.tables, profiles_table(model), read_profiles)

    def profiles(self, since_us: int, until_us: int) -> dict[str, Profile]:
        """Return the same as `profiles`."""
        return by_version(self._parts.between(since_us, until_us))


def by_version(parts: Iterable[Profiles]) -> dict[str, Profile]:
    """Merge profiles over parts and roles; versions in the order in which they come."""
    gathered: dict[str, list[Profile]] = {}
    for part in parts:
        for (version, _), profile in part.items():
            gathered.setdefault(version, []).append(profile)
    return {version: reduce(merge, found) for version, found in gathered.items()}
