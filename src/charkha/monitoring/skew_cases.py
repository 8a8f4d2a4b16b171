"""What a view's features would have been without some of its rows: the experiments that tell why they were served so.

They are made once for all features of a view in one prediction: rows without which many of them are what was served
are a better answer than rows that fit one of them by chance.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import inf, isnan
from typing import Any

import polars as pl
from attrs import evolve, frozen

from charkha.features.keys import key_text
from charkha.features.plan import feature_names
from charkha.features.point_in_time import join_view
from charkha.features.rows import known_rows
from charkha.features.seen import LONGEST_COMMIT_US
from charkha.features.sought import PIECE, SoughtRows, Wanted, has_any
from charkha.monitoring.skew_magnitude import TOLERANCE
from charkha.spec.sources import Entity
from charkha.spec.views import FeatureView

# So many of a key's newest rows are tried: one left out at a time, and all from one on.
MOST_ROWS = 200
# So many rows are computed with at most, over all cases: of a very busy key fewer cases are tried.
MOST_COMPUTED = 2_000_000
_CASE = "_case"


@frozen(eq=False)
class Case:
    """An experiment. gone: rows that were left out of those counted. left: those that are left. why: which they are."""

    gone: pl.DataFrame
    left: pl.DataFrame
    why: str = ""


@frozen(eq=False)
class Difference:
    """A view's features in one prediction, some of which were served otherwise than they are recomputed.

    at_us, seen_us: of the prediction (µs). until_us: up to when pushed rows were counted. key: the columns of the
    view's entity and their values. served, recomputed: the logged features of the view. differ: those that do.
    exact: those that must agree to the bit. sizes: of those that add up, the magnitude of what was added.
    versions: of the rows that ever had this key, all versions as they lie, with the number of their piece (`_piece`).
    sought: the source that they are of.
    """

    view: FeatureView
    at_us: int
    seen_us: int | None
    until_us: int
    key: Mapping[str, Any]
    served: Mapping[str, Any]
    recomputed: Mapping[str, Any]
    differ: frozenset[str]
    exact: frozenset[str]
    sizes: Mapping[str, float]
    versions: pl.DataFrame
    sought: SoughtRows

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The rows of this key that ever become known, as of `read_rows`."""
        return self._of_key(self.versions)

    @cached_property
    def counted(self) -> pl.DataFrame:
        """The rows that the recomputation counted."""
        return self.counted_of(self.rows)

    @cached_property
    def relevant(self) -> pl.DataFrame:
        """Those of the counted rows on which a feature that differs can depend: of its window, or the newest."""
        rows = self.counted
        newest = rows["_event_us"].sort(descending=True).head(MOST_ROWS).tail(1)
        of_latest = any(self._since_us(name) is None for name in self.differ) and len(newest) > 0
        by_event = pl.col("_event_us") >= newest[0] if of_latest else pl.lit(value=False)
        return rows.filter((pl.col("_known_us") >= self._differ_since_us) | by_event)

    @cached_property
    def weighed(self) -> list[str]:
        """The features that the relevant rows tell of: what leaving some of them out should give."""
        since = {name: self._since_us(name) for name in self.served}
        return [name for name, us in since.items() if name in self.differ or us is None or us >= self._differ_since_us]

    @property
    def _differ_since_us(self) -> int:
        found = (self._since_us(name) for name in self.differ)
        return min((us for us in found if us is not None), default=1 << 62)

    def _since_us(self, feature: str) -> int | None:
        """Return from when on rows are in a feature's windows; None for a latest value."""
        name = feature.removeprefix(f"{self.view.name}.")
        sides = [side for ratio in self.view.ratios() if ratio.name == name for side in ratio.sides]
        windows = [window for window in self.view.all_windows() if {name, *sides} & set(window.names)]
        return min(((self.at_us // each.hop_us - each.hops) * each.hop_us for each in windows), default=None)

    def gives(self, feature: str, value: Any) -> bool:
        """Say whether a value is the one that was served, within what agreement means."""
        served, value = self.served[feature], plain(value)
        if self.sizes.get(feature) == inf:
            return True
        if served is None or value is None or isinstance(served, str) or isinstance(value, str):
            return bool(served == value)
        apart = abs(float(served) - float(value))
        if feature in self.exact:
            return apart == 0.0
        return apart <= TOLERANCE * max(abs(float(served)), abs(float(value)), self.sizes.get(feature, 0.0))

    def without(self, pieces: Iterable[int], until_us: int | None = None) -> pl.DataFrame:
        """Return the rows of this key, had some pieces not been there, nor rows of files known after a time."""
        there = ~pl.col(PIECE).is_in(list(pieces))
        if until_us is not None:
            there &= pl.col("_pushed") | (pl.col("_known_us") <= until_us)
        return self._of_key(self.versions.filter(there))

    def _of_key(self, versions: pl.DataFrame) -> pl.DataFrame:
        rows = known_rows(versions, self.sought.source)
        return rows.filter(has_any(rows, wanted_of(self.view, self.key))).drop_nulls("_known_us")

    def counted_of(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return those of some rows of this key that the recomputation counts."""
        known = pl.col("_known_us")
        return rows.filter((known <= self.at_us) & ((known <= self.until_us) | ~pl.col("_pushed")))


def plain(value: Any) -> float | str | None:
    """Return a feature's value as the log keeps them: a number, text or None."""
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    return None if isnan(number) else number


def wanted_of(view: FeatureView, key: Mapping[str, Any]) -> list[Wanted]:
    """Return how the rows of one key of a view are sought."""
    keys = view.entity.keys
    text = key_text([key[column] for column in keys])
    return [(keys, pl.Series([text], dtype=pl.String()).drop_nulls())]


def tried(found: Difference, cases: Sequence[Case]) -> list[tuple[Case, frozenset[str]]]:
    """Return the cases that explain something, each with the features that are what was served in it.

    A case that would change a feature that agrees explains nothing.
    """
    agree = [name for name in found.weighed if name not in found.differ]
    told = []
    for case, values in zip(cases, values_of(found, [case.left for case in cases]), strict=True):
        names = frozenset(name for name in found.differ if found.gives(name, values[name]))
        if names and all(found.gives(name, values[name]) for name in agree):
            told.append((case, names))
    return told


def best_cases(told: Sequence[tuple[Case, frozenset[str]]], feature: str) -> list[Case]:
    """Return the cases that explain a feature, of these those that explain most others too, in their order."""
    most = max((len(names) for _, names in told if feature in names), default=0)
    return [case for case, names in told if feature in names and len(names) == most]


def cases_by_row(found: Difference) -> list[Case]:
    """Return cases without some of the newest rows.

    Tried are each of the newest rows alone, and all rows from one on; where it is not known what the prediction had
    seen, the newest row comes first, then the newest together.
    """
    known = found.relevant
    most = min(MOST_ROWS, MOST_COMPUTED // max(1, 2 * known.height))
    first = max(0, known.height - most)
    alone = [slice(place, place + 1) for place in reversed(range(first, known.height))]
    since = [slice(place, known.height) for place in reversed(range(first, known.height - 1))]
    slices = alone[:1] + since + alone[1:] if found.seen_us is None else alone + since
    return [Case(known[each], pl.concat([known[: each.start], known[each.stop :]])) for each in slices]


def cases_too_early(found: Difference) -> list[Case]:
    """Return cases with rows (as `gone`) that became known just after the prediction."""
    at, known = found.at_us, pl.col("_known_us")
    before = found.relevant
    after = found.rows.filter(known.is_between(at, at + LONGEST_COMMIT_US, closed="right")).head(MOST_ROWS)
    after = after.head(MOST_COMPUTED // (before.height + MOST_ROWS))
    early = [after.head(number) for number in range(1, after.height + 1)]
    as_known = pl.lit(at, pl.Int64).alias("_known_us")
    return [Case(rows, pl.concat([before, rows.with_columns(as_known)])) for rows in early]


def values_of(found: Difference, cases: Sequence[pl.DataFrame]) -> list[dict[str, Any]]:
    """Return the view's features given each of several sets of rows, all computed in one go."""
    if not cases:
        return []
    frames = [rows.with_columns(pl.lit(number).alias(_CASE)) for number, rows in enumerate(cases)]
    keys = (*found.view.entity.keys, _CASE)
    view = evolve(found.view, entity=Entity(found.view.entity.name, keys))
    rows = pl.concat(frames)
    asked = pl.DataFrame({_CASE: range(len(frames))}).with_columns(
        pl.lit(found.at_us, pl.Int64).alias("_at_us"),
        *(pl.lit(value).cast(rows.schema[column]).alias(column) for column, value in found.key.items()),
    )
    return join_view(view, rows, asked).select(feature_names(view)).to_dicts()
