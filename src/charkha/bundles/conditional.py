"""How the numbers of a row go together: what each should be, given the others, and for how many rows it is not.

Weather moves many features together, and the rows go on making sense; a unit that was changed upstream moves one
alone, and no row does. So each number is predicted from all others, and the *share of rows* outside the band of the
reference is counted: a mean of residuals would take fog for a fault.

The joint form is a Gaussian copula (nonparanormal: Liu, Lafferty and Wasserman 2009, "The Nonparanormal"): each number
becomes the normal score of its bin, and with the inverse Θ of their shrunk correlations the residual of feature j is
(Θz)_j / Θ_jj. Shift found by conditionals: Kulinski, Bagchi and Inouye 2020, "Feature Shift Detection".
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist

import msgspec
import numpy as np

from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray

# Fewer rows say nothing of how features go together; more numbers than this make it dearer than it is worth.
FEWEST_ROWS = 500
MOST_NUMBERS = 128
MOST_CATEGORIES = 8  # of a text feature, that others are predicted from
_SHRINKAGE = 0.05
_SHARE_ODD = 0.01
# Rows that are judged at a time, what they need fits a cache; and that are multiplied at a time.
_TOGETHER, _SMALL = 8192, 64
_BEYOND = 4.5  # the normal score of what the reference never had


BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


class Conditional(msgspec.Struct, frozen=True, dict=True):
    """What each number should be, given the others.

    names: the numbers. levels: per number, the normal score of each of its bins; 0 for null. dummies: categories that
    tell of numbers, each with the code of its bin, its mean and its deviation. weights: per number, Θ_jk / Θ_jj of
    every number and every category. low, high: per number, the residuals between which all but a hundredth of the
    reference lay.
    """

    names: tuple[str, ...]
    levels: tuple[tuple[float, ...], ...]
    dummies: tuple[tuple[str, int, float, float], ...]
    weights: tuple[tuple[float, ...], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def judged(self, codes: Mapping[str, IntArray]) -> Iterator[tuple[str, BoolArray, BoolArray]]:
        """Yield of each number in which rows it is outside its band, and in which it is on the side it should be.

        codes: full name → bin of each row, (rows,). The second, of half of all rows by chance, tells whether numbers go
        together at all where each goes little with the others.
        """
        weights, low, high = np.asarray(self.weights), np.array([self.low]).T, np.array([self.high]).T
        rows = len(next(iter(codes.values()), ()))
        odd, agrees = np.empty((2, len(self.names), rows), dtype=np.bool_)
        for begin in range(0, rows, _TOGETHER):
            some = slice(begin, begin + _TOGETHER)
            scores = _scores(self.names, self.levels, self.dummies, {name: code[some] for name, code in codes.items()})
            own, residual = scores[: len(self.names)], _times(weights, scores)
            odd[:, some] = (residual < low) | (residual > high)
            agrees[:, some] = own * (own - residual) > 0
        yield from zip(self.names, odd, agrees, strict=True)


def learn_conditional(
    codes: Mapping[str, IntArray], bins: Mapping[str, int], numbers: Sequence[str]
) -> Conditional | None:
    """Learn from reference rows; None where there are too few of them, or no two numbers that vary.

    codes: full name → bin of each row, int64 (rows,), the last bin null. bins: how many each has. Every other row is
    learnt from, and the bands are those of the rows between.
    """
    rows = len(next(iter(codes.values()), ()))
    levels = {name: _levels(codes[name], bins[name]) for name in numbers}
    names = [name for name in numbers if len(set(levels[name])) > 3]  # below, above and null are there always
    if rows < FEWEST_ROWS or not 2 <= len(names) <= MOST_NUMBERS:
        return None
    chosen = tuple(levels[name] for name in names)
    dummies = tuple(_dummies(codes, bins, [name for name in codes if name not in numbers]))
    scores = _scores(names, chosen, dummies, codes)
    weights = _weights(scores[:, ::2], len(names))
    residuals = weights @ scores[:, 1::2]
    low, high = np.quantile(residuals, [_SHARE_ODD / 2, 1 - _SHARE_ODD / 2], axis=1)
    return Conditional(tuple(names), chosen, dummies, tuple(map(_rounded, weights)), _rounded(low), _rounded(high))


def _levels(codes: IntArray, bins: int) -> tuple[float, ...]:
    """Return the normal score of each bin: that of the middle of its share of the reference; of null 0."""
    counts = np.bincount(codes, minlength=bins)[:-1].astype(np.float64)
    total = counts.sum()
    if not total:
        return (0.0,) * bins
    middle = (np.cumsum(counts) - counts / 2) / total
    normal = NormalDist().inv_cdf
    levels = [-_BEYOND if share <= 0 else _BEYOND if share >= 1 else normal(share) for share in middle.tolist()]
    return (*_rounded(np.array(levels)), 0.0)


def _dummies(
    codes: Mapping[str, IntArray], bins: Mapping[str, int], text: Sequence[str]
) -> Iterator[tuple[str, int, float, float]]:
    for name in text:
        shares = np.bincount(codes[name], minlength=bins[name]) / max(1, len(codes[name]))
        for code in np.argsort(-shares, kind="stable")[:MOST_CATEGORIES].tolist():
            if 0 < shares[code] < 1:
                yield name, code, *_rounded(np.array([shares[code], np.sqrt(shares[code] * (1 - shares[code]))]))


def _scores(
    names: Sequence[str],
    levels: Sequence[tuple[float, ...]],
    dummies: Sequence[tuple[str, int, float, float]],
    codes: Mapping[str, IntArray],
) -> FloatArray:
    """Return what residuals are made of: float64 (numbers + categories, rows), about 0 with deviation 1."""
    of_numbers = [np.asarray(level)[codes[name]] for name, level in zip(names, levels, strict=True)]
    of_text = [((codes[name] == code) - mean) / deviation for name, code, mean, deviation in dummies]
    return np.stack([*of_numbers, *of_text])


def _weights(scores: FloatArray, numbers: int) -> FloatArray:
    """Return Θ_jk / Θ_jj of the numbers: float64 (numbers, all that residuals are made of)."""
    covariance = scores @ scores.T / scores.shape[1]
    deviations = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    correlation = covariance / np.outer(deviations, deviations)
    shrunk = (1 - _SHRINKAGE) * correlation + _SHRINKAGE * np.eye(len(correlation))
    inverse = np.linalg.inv(shrunk)
    scaled = inverse / np.outer(deviations, deviations)
    weights: FloatArray = (scaled / np.diag(scaled)[:, None])[:numbers]
    return weights


def _times(weights: FloatArray, scores: FloatArray) -> FloatArray:
    """Return weights @ scores, in products so small that no other thread is woken for them: that costs more."""
    whole = scores.shape[1] // _SMALL * _SMALL
    stacked = scores[:, :whole].reshape(len(scores), -1, _SMALL).transpose(1, 0, 2)
    products = np.matmul(weights, stacked).transpose(1, 0, 2).reshape(len(weights), whole)
    return np.hstack([products, weights @ scores[:, whole:]])


def _rounded(numbers: FloatArray) -> tuple[float, ...]:
    return tuple(float(f"{number:.6g}") for number in numbers)
