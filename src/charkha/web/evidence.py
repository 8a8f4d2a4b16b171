"""The evidence of a decision as lines that can be read: nested values under dotted names, estimates as one line."""

from collections.abc import Iterator, Mapping

from charkha.clock import to_iso
from charkha.web.figures import NOTHING


def evidence_lines(evidence: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return (name, value) for every value of a decision's evidence, in its order."""
    return list(_lines(evidence, ""))


def _lines(evidence: Mapping[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in evidence.items():
        label = f"{prefix}{name}"
        if name.endswith("_us") and isinstance(value, int):
            yield label.removesuffix("_us").replace("_", " "), _moment(value)
        elif isinstance(value, Mapping) and not _is_estimate(value):
            yield from _lines(value, f"{label}.")
        else:
            yield label.replace("_", " "), _plain(value)


def _is_estimate(value: Mapping[object, object]) -> bool:
    return {"value", "low", "high"} <= value.keys() <= {"value", "low", "high", "n"}


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return _measured(value) if _is_estimate(value) else str(dict(value))
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value)) or "none"
    return _scalar(value)


def _measured(estimate: Mapping[object, object]) -> str:
    rows = f" over {_scalar(estimate['n'])} rows" if "n" in estimate else ""
    return f"{_scalar(estimate['value'])} ({_scalar(estimate['low'])} to {_scalar(estimate['high'])}){rows}"


def _scalar(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.5g}"
        case _:
            return str(value) if value not in (None, "") else NOTHING


def _moment(time_us: int) -> str:
    """Return µs since 1970 as a time to the minute; the number itself where it is no time that a calendar has."""
    try:
        return f"{to_iso(time_us)[:16].replace('T', ' ')} UTC"
    except OverflowError:
        return f"{time_us:,}"
