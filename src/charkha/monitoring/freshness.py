"""Whether sources still bring rows: the age of each one's newest known row against the age declared as too old."""

from collections.abc import Mapping

from charkha.clock import to_iso
from charkha.monitoring.findings import Finding
from charkha.spec.durations import HOUR_US, parse_duration


def freshness_findings(
    model: str, limits: Mapping[str, str], newest_known_us: Mapping[str, int], now_us: int
) -> list[Finding]:
    """Return one finding per watched source, its value the age in hours; a source without any row is infinitely old.

    limits: source → duration, `spec.policies.Monitors.max_source_age`. newest_known_us: source → µs since 1970 UTC.
    """
    return [_finding(model, source, limit, newest_known_us.get(source), now_us) for source, limit in limits.items()]


def _finding(model: str, source: str, limit: str, newest_us: int | None, now_us: int) -> Finding:
    limit_us = parse_duration(limit)
    age = float("inf") if newest_us is None else max(0, now_us - newest_us) / HOUR_US
    stale = newest_us is None or now_us - newest_us > limit_us
    newest = "it has no rows" if newest_us is None else f"its newest row was known at {to_iso(newest_us)}"
    return Finding(
        time_us=now_us,
        model=model,
        version=None,
        kind="freshness",
        subject=source,
        value=age,
        low=age,
        high=age,
        threshold=limit_us / HOUR_US,
        significant=stale,
        message=f"source {source!r} is {'stale' if stale else 'fresh'}: {newest}, and the limit is {limit}",
    )
