"""The small plots of the usual reports: bins then and now, calibration, errors by tenth of the prediction.

Pure geometry: the template draws it. All positions are in the units of the drawing's own view box.
"""

from attrs import frozen

from charkha.monitoring.answer_quality import ClassificationQuality, RegressionQuality
from charkha.monitoring.drift_report import Bin
from charkha.web.figures import percent_text
from charkha.web.scales import Scale, line_path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 320, 200, 44, 170, 12
RIGHT = WIDTH - 10


@frozen
class Bar:
    """A bar, its upper left corner at x and y. kind: "was" or "now". title: what it says under the pointer."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@frozen
class Dot:
    """A point, as wide as its share of the rows."""

    x: float
    y: float
    radius: float
    title: str


@frozen
class Small:
    """One small plot. ideal: SVG path of where all would lie. ticks: (y, text) on the left."""

    name: str
    bars: tuple[Bar, ...] = ()
    dots: tuple[Dot, ...] = ()
    line: str = ""
    ideal: str = ""
    ticks: tuple[tuple[float, str], ...] = ()
    low: str = ""
    high: str = ""


def bins_plot(name: str, bins: tuple[Bin, ...]) -> Small | None:
    """Return shares of rows by bin, in training and now, side by side; None without bins."""
    if not bins:
        return None
    most = max(max(each.reference, each.now) for each in bins) or 1.0
    up, step = Scale(0.0, most, BOTTOM, TOP), (RIGHT - LEFT) / len(bins)
    bars = [
        _bar(LEFT + step * (place + offset), step, (up(0.0), up(share)), kind, f"{each.name}: {percent_text(share)}")
        for place, each in enumerate(bins)
        for offset, kind, share in ((0.08, "was", each.reference), (0.5, "now", each.now))
    ]
    ticks = ((up(0.0), "0 %"), (up(most), percent_text(most)))
    return Small(name, bars=tuple(bars), ticks=ticks, low=bins[0].name, high=bins[-1].name)


def answers_plot(found: ClassificationQuality | RegressionQuality) -> Small:
    """Return the calibration curve of probabilities, or the errors of numbers by tenth of the prediction."""
    return _calibration(found) if isinstance(found, ClassificationQuality) else _errors(found)


def _calibration(found: ClassificationQuality) -> Small:
    along, up = Scale(0.0, 1.0, LEFT, RIGHT), Scale(0.0, 1.0, BOTTOM, TOP)
    dots = tuple(
        Dot(
            along(each.predicted),
            up(each.observed),
            round(2.5 + 5 * (each.rows / found.rows) ** 0.5, 1),
            f"{each.rows:,} rows: {percent_text(each.predicted)} predicted, {percent_text(each.observed)} came true",
        )
        for each in found.calibration
    )
    return Small(
        "calibration: what came true of what was predicted",
        dots=dots,
        line=line_path([(each.x, each.y) for each in dots]),
        ideal=line_path([(along(0.0), up(0.0)), (along(1.0), up(1.0))]),
        ticks=tuple((up(share), percent_text(share)) for share in (0.0, 0.5, 1.0)),
        low="0 %",
        high="100 %",
    )


def _errors(found: RegressionQuality) -> Small:
    largest = max((max(abs(each.bias), each.mae) for each in found.tenths), default=0.0) or 1.0
    up, step = Scale(-largest, largest, BOTTOM, TOP), (RIGHT - LEFT) / len(found.tenths)
    bars = [
        _bar(LEFT + step * (place + offset), step, (up(0.0), up(value)), kind, f"{word} {value:.4g}")
        for place, each in enumerate(found.tenths)
        for offset, kind, word, value in ((0.08, "was", "MAE", each.mae), (0.5, "now", "bias", each.bias))
    ]
    return Small(
        "mean absolute error (pale) and bias by tenth of the prediction",
        bars=tuple(bars),
        ticks=tuple((up(value), f"{value:.3g}") for value in (-largest, 0.0, largest)),
        low=f"{found.tenths[0].low:.4g}",
        high=f"{found.tenths[-1].high:.4g}",
    )


def _bar(x: float, step: float, ends: tuple[float, float], kind: str, title: str) -> Bar:
    """Return one of the two bars of a step, from the first end to the second."""
    return Bar(round(x, 1), min(ends), round(step * 0.4, 1), round(abs(ends[0] - ends[1]), 1), kind, title)
