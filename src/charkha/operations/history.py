"""Whether there is enough history to compare with; where there is not, what there is, and which choice would do."""

from collections.abc import Callable, Iterator

import polars as pl

from charkha.clock import to_iso
from charkha.monitoring.collect import predictions_table
from charkha.monitoring.parts import current, parse_part
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.spec.durations import DAY_US, format_duration
from charkha.storage.home import Home

# Each hour of the week has then been seen once: with fewer days a week-end would be an incident.
LEAST_DAYS = 7
WINDOWS_US, HEALTHY_US = (7 * DAY_US, 3 * DAY_US, DAY_US), 28 * DAY_US

# The healthy span for a length of the window and one of the history before it (µs).
HealthyOf = Callable[[int, int], Span]


class TooLittleHistory(Exception):
    """A model that has not served long enough for anything to be out of the ordinary. choice: what would do, if any."""

    def __init__(self, model: str, days: int, predictions: int, healthy: Span, choice: str = "") -> None:
        self.model, self.days, self.predictions, self.healthy, self.choice = model, days, predictions, healthy, choice
        length = format_duration(healthy.until_us - healthy.since_us)
        super().__init__(
            f"model {model!r}: expected predictions on at least {LEAST_DAYS} days in the {length} before "
            f"{to_iso(healthy.until_us)[:16]} to compare with, found {_counted(predictions, 'prediction')} on "
            f"{_counted(days, 'day')}. {choice}".rstrip()
        )


def require_history(traffic: Traffic, healthy: Span) -> None:
    """Raise TooLittleHistory unless there were predictions on enough days of the healthy span."""
    inside = _within(traffic.predictions["_at_us"], healthy)
    days = _days(inside)
    if days < LEAST_DAYS:
        raise TooLittleHistory(traffic.model, days, round(len(inside) * traffic.weight), healthy)


def served_until(home: Home, model: str, until_us: int) -> pl.Series:
    """Return the times of all predictions of a model before one (µs), as far as they were collected."""
    table = predictions_table(model)
    parts = current(parse_part(name) for name in home.tables.parts(table))
    times = [home.tables.read(table, part.name)["_at_us"] for part in parts]
    joined = pl.concat(times) if times else pl.Series("_at_us", [], pl.Int64)
    return joined.filter(joined < until_us)


def choice_of(at_us: pl.Series, now_us: int, given: tuple[int, int], healthy_of: HealthyOf) -> str:
    """Return what there is and a choice of --window and --healthy that would do, or that none would, as sentences.

    at_us: when predictions were made, without those that incidents cut out. given: the window and the history that did
    not do (µs).
    """
    none = "no --window or --healthy would do"
    if at_us.is_empty():
        when = to_iso(now_us)[:16]
        return f"It served nothing before {when}: {none}. Look again when it has served on {LEAST_DAYS + 1} days"
    days, first_us = _days(at_us), int(at_us.min())  # type: ignore[arg-type]
    there = f"In all there are {_counted(len(at_us), 'prediction')} on {_counted(days, 'day')}, since "
    there += to_iso(first_us)[:16]
    for window_us, healthy_us in _choices(given, now_us - first_us):
        if _days(_within(at_us, healthy_of(window_us, healthy_us))) >= LEAST_DAYS:
            options = (("--window", given[0], window_us), ("--healthy", given[1], healthy_us))
            would = " ".join(f"{name} {format_duration(us)}" for name, was_us, us in options if us != was_us)
            return f"{there}. This would do: {would}"
    if healthy_of(DAY_US, HEALTHY_US).until_us < now_us - DAY_US:
        return f"{there}; {none} while its incident is open, which all from its beginning on belongs to"
    missing = max(1, LEAST_DAYS + 1 - days)
    return f"{there}; {none} yet. Look again when it has served on {_counted(missing, 'day')} more"


def _choices(given: tuple[int, int], length_us: int) -> Iterator[tuple[int, int]]:
    """Yield lengths of the window and the history, those nearest to what was given first."""
    for window_us in (given[0], *(each for each in WINDOWS_US if each < given[0])):
        whole_us = -(-max(0, length_us - window_us) // DAY_US) * DAY_US
        yield from ((window_us, max(given[1], each)) for each in (given[1], HEALTHY_US, whole_us))


def _within(at_us: pl.Series, span: Span) -> pl.Series:
    return at_us.filter(at_us.is_between(span.since_us, span.until_us, closed="left"))


def _days(at_us: pl.Series) -> int:
    return (at_us // DAY_US).n_unique()


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
