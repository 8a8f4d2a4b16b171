"""How figures and times are written for people."""

from collections.abc import Iterable
from datetime import UTC, datetime
from math import isfinite, isnan

from charkha.operations.replay_summary import Interval

NOTHING = "–"


def decimals_for(values: Iterable[float | None]) -> int:
    """Return how many decimals a metric of this size is written with: 3 for a share, fewer for larger numbers."""
    largest = max((abs(value) for value in values if value is not None and isfinite(value)), default=0.0)
    return 3 if largest < 2 else 2 if largest < 100 else 0


def metric_text(value: float | None, decimals: int, *, signed: bool = False) -> str:
    """Return a metric's value, such as "0.771" or "+0.012"; a dash when there is none."""
    if value is None or not isfinite(value):
        return NOTHING
    rounded = round(value, decimals) + 0.0
    sign = "+" if signed else "-"
    return f"{rounded:{sign}.{decimals}f}".replace("-", "−")


def interval_text(interval: Interval, decimals: int) -> str:
    """Return the bounds of a metric, such as "0.762 to 0.780"; empty when there are none."""
    if interval.low is None or interval.high is None:
        return ""
    return f"{metric_text(interval.low, decimals)} to {metric_text(interval.high, decimals)}"


def size_text(value: float) -> str:
    """Return a small quantity in as few characters as tell its size, such as "0", "0.14", "2.2e-16", "∞"."""
    if isnan(value):
        return NOTHING
    if not isfinite(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.2g}".replace("-0", "-").replace("+0", "+") if value else "0"


def percent_text(share: float) -> str:
    """Return a share as a percentage, such as "12 %" or "0.4 %"."""
    if not isfinite(share):
        return NOTHING
    return f"{share:.0%}".replace("%", " %") if share >= 0.1 or share == 0 else f"{share:.1%}".replace("%", " %")


def seconds_text(seconds: float) -> str:
    """Return how long something took, such as "41 s" or "2 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def moment(iso: str) -> datetime:
    """Return an ISO 8601 time in UTC. Raises ValueError."""
    parsed = datetime.fromisoformat(iso)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def date_text(iso: str) -> str:
    """Return the day of a time, such as "1 Apr 2013"."""
    when = moment(iso)
    return f"{when.day} {when:%b} {when.year}"


def month_name(month: str) -> str:
    """Return a month such as "2013-04" as "April 2013"."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).strftime("%B %Y")


def month_start(month: str) -> datetime:
    """Return the first moment of a month such as "2013-04"."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


def month_end(month: str) -> datetime:
    """Return the first moment of the month after one such as "2013-04"."""
    start = month_start(month)
    later = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
    return datetime(*later, 1, tzinfo=UTC)
