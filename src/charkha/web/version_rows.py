"""The versions of a replay as the rows of a table: how each tested, which gates it passed, what became of it."""

from collections.abc import Sequence

from attrs import frozen

from charkha.operations.replay_summary import DecisionRow, GateRow, Interval, ReplaySummary, VersionSummary
from charkha.web.figures import date_text, decimals_for, interval_text, metric_text
from charkha.web.scales import Scale

RANGE_WIDTH = 120
RANGE_EDGE = 5


@frozen
class Range:
    """A value with its interval, drawn to one scale for all versions, in units of a box `RANGE_WIDTH` wide."""

    low: float
    value: float
    high: float


@frozen
class VersionRow:
    """One version, as it is shown. `range` is None without an interval."""

    version: str
    trained: str
    rows: int
    metric: str
    interval: str
    range: Range | None
    gates: tuple[GateRow, ...]
    fate: str
    kind: str


def version_rows(summary: ReplaySummary) -> list[VersionRow]:
    """Return a row for every version, in the order in which they were trained."""
    decimals = decimals_for([version.metric.value for version in summary.versions])
    across = _common_scale([version.metric for version in summary.versions])
    return [_row(version, summary.decisions, decimals, across) for version in summary.versions]


def _row(version: VersionSummary, decisions: Sequence[DecisionRow], decimals: int, across: Scale) -> VersionRow:
    fate, kind = _fate(version, decisions)
    return VersionRow(
        version=version.version,
        trained=date_text(version.trained_at),
        rows=version.rows,
        metric=metric_text(version.metric.value, decimals),
        interval=interval_text(version.metric, decimals),
        range=_range(version.metric, across),
        gates=version.gates,
        fate=fate,
        kind=kind,
    )


def _common_scale(intervals: Sequence[Interval]) -> Scale:
    bounds = [bound for i in intervals for bound in (i.low, i.value, i.high) if bound is not None]
    return Scale(min(bounds, default=0.0), max(bounds, default=1.0), RANGE_EDGE, RANGE_WIDTH - RANGE_EDGE)


def _range(interval: Interval, across: Scale) -> Range | None:
    if interval.low is None or interval.value is None or interval.high is None:
        return None
    return Range(across(interval.low), across(interval.value), across(interval.high))


def _fate(version: VersionSummary, decisions: Sequence[DecisionRow]) -> tuple[str, str]:
    """Return what the ledger last said of a version, and the kind of it: "won", "lost" or "open"."""
    for decision in reversed(decisions):
        if decision.version != version.version:
            continue
        if decision.action in ("promote", "rollback"):
            return f"champion from {date_text(decision.time)}", "won"
        if decision.action == "reject":
            return f"rejected {date_text(decision.time)}", "lost"
        if decision.action == "shadow":
            return f"in shadow from {date_text(decision.time)}", "open"
    return version.status, "lost" if version.status == "rejected" else "open"
