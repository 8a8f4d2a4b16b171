"""The drift of every feature in every month, as the rows of a heat map."""

from collections.abc import Sequence
from math import isfinite

from attrs import frozen

from charkha.operations.replay_summary import DriftRow
from charkha.web.figures import month_name, month_start, percent_text, size_text

# Shares of null below this are not worth ink.
SHOWN_NULLS = 0.005
# The PSI at which a cell has its full colour, and the bank convention: from 0.1 on moved, from 0.25 on drifted.
FULL_HEAT = 0.6
MOVED, DRIFTED = 0.1, 0.25


@frozen
class Cell:
    """One feature in one month. `heat` is 0 … 1; `nulls` is empty when there are hardly any."""

    text: str
    heat: float
    drifted: bool
    nulls: str
    title: str


@frozen
class MapRow:
    """One feature; a month without a figure is None."""

    feature: str
    peak: float
    cells: tuple[Cell | None, ...]


@frozen
class DriftMap:
    """The map: the months' short names and the features, the score first, then from the most drifted down."""

    months: tuple[str, ...]
    rows: tuple[MapRow, ...]

    @property
    def drifted(self) -> int:
        """How many features drifted in at least one month."""
        return sum(1 for row in self.rows if row.peak > DRIFTED)


def drift_map(drift: Sequence[DriftRow]) -> DriftMap | None:
    """Return the map of these figures; None when there are none."""
    if not drift:
        return None
    months = sorted({row.month for row in drift})
    figures = {(row.feature, row.month): row for row in drift}
    rows = [_row(feature, [figures.get((feature, month)) for month in months]) for feature in _features(drift)]
    rows.sort(key=lambda row: (row.feature != "score", -row.peak, row.feature))
    return DriftMap(tuple(f"{month_start(month):%b}" for month in months), tuple(rows))


def _features(drift: Sequence[DriftRow]) -> list[str]:
    return list(dict.fromkeys(row.feature for row in drift))


def _row(feature: str, figures: Sequence[DriftRow | None]) -> MapRow:
    peak = max((figure.psi for figure in figures if figure is not None), default=0.0)
    return MapRow(feature, peak, tuple(_cell(figure) if figure is not None else None for figure in figures))


def _cell(figure: DriftRow) -> Cell:
    heat = min(1.0, max(0.0, figure.psi / FULL_HEAT)) if isfinite(figure.psi) else 1.0
    text = f"{figure.psi:.2f}" if isfinite(figure.psi) else size_text(figure.psi)
    nulls = f"{percent_text(figure.null_share)} null"
    title = f"{figure.feature}, {month_name(figure.month)}: PSI {size_text(figure.psi)}, {nulls}"
    shown = nulls if figure.null_share >= SHOWN_NULLS else ""
    return Cell(text, round(heat, 3), figure.psi > DRIFTED, shown, title)
