"""Where things go in a drawing: pure functions from values to positions and SVG path data."""

from collections.abc import Sequence
from math import ceil, floor, log10

from attrs import frozen

Point = tuple[float, float]


@frozen
class Scale:
    """A linear map of the values `low` … `high` to the positions `start` … `end`, which may run downwards."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value, to a tenth; values beyond the ends stay at them."""
        if self.high <= self.low:
            return round((self.start + self.end) / 2, 1)
        share = min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))
        return round(self.start + share * (self.end - self.start), 1)


def nice_ticks(low: float, high: float, about: int = 5) -> tuple[float, ...]:
    """Return round values, about so many, from at most `low` to at least `high`. Raises ValueError if low > high."""
    if low > high:
        raise ValueError(f"expected low ≤ high, got {low} and {high}")
    span = (high - low) or abs(high) or 1.0
    step = _nice_step(span / max(1, about - 1))
    digits = max(0, -floor(log10(step)))
    first, last = floor(round(low / step, 6)), ceil(round(high / step, 6))
    return tuple(round(number * step, digits) for number in range(first, max(last, first + 1) + 1))


def _nice_step(rough: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is no smaller than `rough`."""
    power = 10.0 ** floor(log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)


def runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """Return the runs of points between gaps."""
    found: list[list[Point]] = [[]]
    for point in points:
        if point is None:
            found.append([])
        else:
            found[-1].append(point)
    return [run for run in found if run]


def line_path(points: Sequence[Point | None]) -> str:
    """Return SVG path data of a line through the points, broken where one is missing."""
    return " ".join("M" + " L".join(f"{x:g},{y:g}" for x, y in run) for run in runs(points))


def band_path(lower: Sequence[Point | None], upper: Sequence[Point | None]) -> str:
    """Return SVG path data of the area between two lines; both miss the same points."""
    shapes = []
    for below, above in zip(runs(lower), runs(upper), strict=True):
        outline = above + below[::-1]
        shapes.append("M" + " L".join(f"{x:g},{y:g}" for x, y in outline) + " Z")
    return " ".join(shapes)


def apart(first: float, second: float, gap: float) -> Point:
    """Return two positions moved away from each other, equally, until `gap` lies between them."""
    missing = gap - abs(first - second)
    if missing <= 0:
        return first, second
    push = missing / 2 if first >= second else -missing / 2
    return first + push, second - push
