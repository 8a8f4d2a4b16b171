"""Signals of shifts: the same times and evidence, and a sentence."""

from charkha.monitoring.diagnosis.checks.shifts import Shift
from charkha.monitoring.diagnosis.signal import Signal


def signal_of(check: str, subject: str, shift: Shift, *, unit: str, rows: float, words: str) -> Signal:
    """Return a shift as a signal; its usual and now are in `unit`."""
    return Signal(
        check=check,
        subject=subject,
        alarmed_us=shift.alarmed_us,
        began_us=shift.began_us,
        earliest_us=shift.earliest_us,
        latest_us=shift.latest_us,
        evidence=shift.evidence,
        usual=shift.usual,
        now=shift.now,
        unit=unit,
        rows=round(rows),
        words=words,
    )


def percent(share: float) -> str:
    """Return a share as one reads it: 0.034 is "3.4 %"."""
    return f"{100 * share:.3g} %"


def duration(seconds: float) -> str:
    """Return a duration in the unit that one would say."""
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
