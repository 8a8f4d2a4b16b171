"""What is left out of a dataset: the time of incidents, and what was in quarantine when it was read."""

from collections.abc import Iterable, Sequence

import msgspec
import polars as pl

from charkha.bundles.manifest import SetAside, WindowLeftOut
from charkha.features.file_marks import file_marks
from charkha.spec.sources import Source
from charkha.storage.home import Home


def without_windows(
    spine: pl.DataFrame, windows: Sequence[WindowLeftOut]
) -> tuple[pl.DataFrame, tuple[WindowLeftOut, ...]]:
    """Return the rows that lie in no window, in their order, and the windows with the number of rows that each took.

    spine: with `_at_us` and `_label_known_us`. A row in several windows counts in the first of them.
    """
    counted = []
    for window in windows:
        kept = spine.filter(~_within(window))
        counted.append(msgspec.structs.replace(window, rows=spine.height - kept.height))
        spine = kept
    return spine, tuple(counted)


def _within(window: WindowLeftOut) -> pl.Expr:
    within = _between("_at_us", window)
    return within | _between("_label_known_us", window) if window.by_label else within


def _between(column: str, window: WindowLeftOut) -> pl.Expr:
    return (pl.col(column) >= window.since_us) & (pl.col(column) < window.until_us)


def rows_left_out(windows: Iterable[WindowLeftOut]) -> int:
    """Return how many rows windows took in all."""
    return sum(window.rows for window in windows)


def set_aside(home: Home, sources: Sequence[Source]) -> dict[str, SetAside]:
    """Return what of each source is in quarantine now, and so is read by nobody; sources without any are left out."""
    held = [each.report for each in home.quarantine.all() if not each.is_over]
    found: dict[str, SetAside] = {}
    for source in sources:
        reports = [report for report in held if report.source == source.name]
        files = sum(mark.mark == "aside" for mark in file_marks(home.log, source.name).values())
        if reports or files:
            found[source.name] = SetAside(len(reports), sum(report.rows for report in reports), files)
    return found
