"""What a feature would have been without some of its rows: the experiment that tells why it was served otherwise."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
from attrs import evolve, frozen

from charkha.features.keys import key_text
from charkha.features.point_in_time import join_view
from charkha.features.seen import LONGEST_COMMIT_US
from charkha.features.sought import SoughtRows
from charkha.monitoring.skew import row_differences, tolerance
from charkha.spec.sources import Entity
from charkha.spec.views import FeatureView

# So many of a key's newest rows are tried: one left out at a time, and all from one on.
MOST_ROWS = 200
# So many rows are computed with at most, over all cases: of a very busy key fewer cases are tried.
MOST_COMPUTED = 4_000_000
_CASE = "_case"


@frozen(eq=False)
class Difference:
    """One feature of one prediction that was served otherwise than it is recomputed.

    at_us, seen_us: of the prediction (µs). until_us: up to when pushed rows were counted. key: the columns of the
    view's entity and their values. rows: those of this key that ever become known, as of `read_rows`.
    """

    view: FeatureView
    feature: str
    exact: bool
    at_us: int
    seen_us: int | None
    until_us: int
    key: Mapping[str, Any]
    served: Any
    recomputed: Any
    rows: pl.DataFrame

    @property
    def counted(self) -> pl.DataFrame:
        """The rows that the recomputation counted."""
        known = pl.col("_known_us")
        return self.rows.filter((known <= self.at_us) & ((known <= self.until_us) | ~pl.col("_pushed")))

    @property
    def relevant(self) -> pl.DataFrame:
        """Those of the counted rows that the feature can depend on: of its window, or the newest by event time."""
        rows = self.counted
        windows = {f"{self.view.name}.{name}": window for window in self.view.all_windows() for name in window.names}
        window = windows.get(self.feature)
        if window is not None:
            return rows.filter(pl.col("_known_us") >= (self.at_us // window.hop_us - window.hops) * window.hop_us)
        newest = rows["_event_us"].sort(descending=True).head(MOST_ROWS).tail(1)
        return rows.filter(pl.col("_event_us") >= newest[0]) if len(newest) else rows

    def gives(self, value: Any) -> bool:
        """Say whether a value is the one that was served."""
        found = pl.Series([value], dtype=pl.String if isinstance(value, str) else pl.Float64, strict=False)
        kind = pl.String if isinstance(self.served, str) else pl.Float64
        served = pl.Series([self.served], dtype=kind, strict=False)
        return bool(row_differences(served, found, exact=self.exact)[0] <= tolerance(exact=self.exact))


def rows_of(view: FeatureView, rows: SoughtRows, key: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows of one key that ever become known."""
    keys = view.entity.keys
    text = key_text([key[column] for column in keys])
    return rows.of_keys([(keys, pl.Series([text], dtype=pl.String()).drop_nulls())]).drop_nulls("_known_us")


def missing_rows(found: Difference) -> list[pl.DataFrame]:
    """Return the rows without which the feature is what was served: every such case, of any one of which it may be.

    Tried are each of the newest rows alone, and all rows from one on; where it is not known what the prediction had
    seen, the newest row comes first, then the newest together.
    """
    known = found.relevant
    most = min(MOST_ROWS, MOST_COMPUTED // max(1, 2 * known.height))
    first = max(0, known.height - most)
    alone = [slice(place, place + 1) for place in reversed(range(first, known.height))]
    since = [slice(place, known.height) for place in reversed(range(first, known.height - 1))]
    cases = alone[:1] + since + alone[1:] if found.seen_us is None else alone + since
    values = _values(found, (known.with_row_index("_n").filter(~_between(case)).drop("_n") for case in cases))
    return [known[case] for case, value in zip(cases, values, strict=True) if found.gives(value)]


def rows_too_early(found: Difference) -> pl.DataFrame | None:
    """Return the rows that became known just after the prediction and with which the feature is what was served."""
    at, known = found.at_us, pl.col("_known_us")
    after = found.rows.filter(known.is_between(at, at + LONGEST_COMMIT_US, closed="right")).head(MOST_ROWS)
    before = found.relevant
    after = after.head(MOST_COMPUTED // (before.height + MOST_ROWS))
    cases = [after.head(number) for number in range(1, after.height + 1)]
    as_known = pl.lit(at, pl.Int64).alias("_known_us")
    values = _values(found, (pl.concat([before, case.with_columns(as_known)]) for case in cases))
    return next((case for case, value in zip(cases, values, strict=True) if found.gives(value)), None)


def _between(case: slice) -> pl.Expr:
    return pl.col("_n").is_between(case.start, case.stop, closed="left")


def _values(found: Difference, cases: Iterator[pl.DataFrame]) -> list[Any]:
    """Return the feature's value given each of several sets of rows, all computed in one go."""
    frames = [rows.with_columns(pl.lit(number).alias(_CASE)) for number, rows in enumerate(cases)]
    if not frames:
        return []
    keys = (*found.view.entity.keys, _CASE)
    view = evolve(found.view, entity=Entity(found.view.entity.name, keys))
    rows = pl.concat(frames)
    asked = pl.DataFrame({_CASE: range(len(frames))}).with_columns(
        pl.lit(found.at_us, pl.Int64).alias("_at_us"),
        *(pl.lit(value).cast(rows.schema[column]).alias(column) for column, value in found.key.items()),
    )
    return join_view(view, rows, asked)[found.feature].to_list()
