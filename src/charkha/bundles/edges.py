"""Where the bins of a number end: its tenths, for indices in the form of banks, within a ruler that reaches far beyond.

The ruler's marks are evenly spaced in asinh((x - middle) / scale): a fifth of the scale near the middle, a fifth of the
distance far from it, and so towards zero (as in relative-error sketches such as DDSketch, Masson et al. 2019, but
signed and shifted). So bins tell small moves of what is usual, and still tell by which factor all values are off when a
unit was changed.
"""

import math
import sys

import numpy as np

from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray

TENTHS = 10
_STEP = 0.2
# Libraries that flush what is smaller to 0 take it for 0 (sys.float_info.min is the smallest they leave alone).
_LEAST = sys.float_info.min
_REACH = 1e9  # scales from the middle
_MARKS = np.sinh(np.arange(-_STEP * round(math.asinh(_REACH) / _STEP), math.asinh(_REACH) + _STEP / 2, _STEP))
_TOWARDS_ZERO = np.exp(-_STEP * np.arange(1, 60))


def tenth_edges(values: FloatArray) -> FloatArray:
    """Return the edges of the tenths of some values: float64, at most 11, ascending, none where no value is finite.

    A bin holds low < value <= high. The first edge lies just below the smallest value (the smallest of all floats
    excepted), and the last is the largest: what lies beyond them no value did.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.empty(0)
    tenths = np.quantile(finite, np.linspace(0.0, 1.0, TENTHS + 1)[1:], method="lower")
    least = float(finite.min())
    below = max(min(math.nextafter(least, -math.inf), least - _LEAST), -sys.float_info.max)
    edges = np.unique(np.concatenate([[below], tenths, [finite.max()]]))
    tenth: FloatArray = edges[np.isfinite(edges)]
    return tenth


def ruler_edges(values: FloatArray, tenths: FloatArray) -> FloatArray:
    """Return the marks of the ruler that fits some values, and their tenths among them: float64, ascending."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return tenths
    low, middle, high = np.quantile(finite, [0.25, 0.5, 0.75])
    with np.errstate(over="ignore", invalid="ignore"):
        marks = np.append(middle + _scale(finite, (high - low) / 2) * _MARKS, middle * _TOWARDS_ZERO)
    return np.unique(np.concatenate([marks[np.isfinite(marks)], tenths]))


def _scale(finite: FloatArray, half_quartiles: float) -> float:
    """Return half the distance of the quartiles; where that is none, the deviation; for a constant its size, or 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(finite.std())
    sizes = (half_quartiles, deviation, float(np.abs(finite).max()))
    return next((size for size in sizes if size > 0 and math.isfinite(size)), 1.0)


def places_of(edges: FloatArray, chosen: FloatArray) -> IntArray:
    """Return where chosen edges stand among all."""
    places: IntArray = np.searchsorted(edges, chosen)
    return places
