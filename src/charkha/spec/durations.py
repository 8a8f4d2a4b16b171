"""Durations as users write them ("15m", "6h", "7d"), in whole microseconds."""

import re

MICROS = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}
HOUR_US = MICROS["h"]
DAY_US = MICROS["d"]

_DURATION = re.compile(r"([1-9]\d{0,6})([smhdw])")


def parse_duration(text: str) -> int:
    """Return a duration such as "6h" in µs. Raises ValueError saying what is allowed."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f'expected a duration such as "30s", "15m", "6h", "7d" or "2w", got {text!r}')
    return int(match[1]) * MICROS[match[2]]


def format_duration(duration_us: int) -> str:
    """Return µs in the largest unit that divides them, such as "36h": the inverse of `parse_duration`."""
    for unit, size in sorted(MICROS.items(), key=lambda item: -item[1]):
        if duration_us % size == 0 and unit != "w":
            return f"{duration_us // size}{unit}"
    return f"{duration_us / 1e6:g}s"
