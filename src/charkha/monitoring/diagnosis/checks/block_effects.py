"""How labels differ from what is expected of them, block by block: the intercept, the slope in the score, each slice.

Effects are score statistics (Rao 1948): one step from "nothing moved" towards the likeliest effect, in log odds, or in
standard deviations of the error. What is a nuisance is projected out: the intercept of the block, which any covariate
or prior shift may move, and for slices the slope in the score as well, which flipped labels move. What is left is zero
in mean unless, given the score, other things have become true.
"""

from collections.abc import Callable

import numpy as np
from attrs import frozen
from scipy.special import expit

from charkha.features.segments import IntArray
from charkha.monitoring.diagnosis.checks.expectation import Errors, Odds
from charkha.spec.model import FloatArray

# With less information than this a block says nothing of an effect.
LEAST_INFORMATION = 0.5
INTERCEPT_STEPS = 12
# Nothing is so improbable that one label of it would tell everything.
LEAST_P = 0.005
TENTHS = 10.0
# Intercepts are held near none by a weak pull of this standard deviation: a block of one class has none otherwise.
INTERCEPT_SPREAD = 3.0
Total = Callable[[FloatArray], FloatArray]


@frozen(eq=False)
class BlockEffects:
    """Effects, and the variances that their rows alone give them; NaN and infinite where a block says nothing.

    effect, variance: (blocks, 4 + slices): the intercept; the slope in the level of the score; the spread of errors (of
    numbers: their mean square); flips (of what is true or false: the share of labels turned over, in tenths); then the
    slices. excess: (blocks,), realised less expected loss after the intercept, summed over rows (binary: nats; numbers:
    half squared errors in spreads). rows: (blocks,).
    """

    effect: FloatArray
    variance: FloatArray
    excess: FloatArray
    rows: FloatArray


INTERCEPT, SLOPE, SPREAD, FLIPS, SLICES = range(5)


def block_effects(
    expected: Odds | Errors,
    level: FloatArray,
    label: FloatArray,
    slices: FloatArray,
    *,
    block: IntArray,
    blocks: int,
    copies_count: bool = False,
) -> BlockEffects:
    """Return the effects in each block. level, label, block: (n,). slices: (n, slices), membership 0 or 1.

    copies_count: whether rows of the same score and label are evidence each for itself.
    """

    def total(values: FloatArray) -> FloatArray:
        return np.bincount(block, values, minlength=blocks).astype(np.float64)

    residual, weight = expected.residuals(level, label, np.zeros_like(level))
    found = [_effect(total(residual), total(weight))]
    moved = _intercepts(expected, level, label, total=total, block=block, blocks=blocks)
    residual, weight = expected.residuals(level, label, moved[block])
    rows = total(np.ones_like(level))
    found.append(_slope(level, residual, weight, total))
    found.append(_spread(expected, residual, rows, total))
    found.append(_flips(expected, level, residual, weight, total))
    line = _Line.of(level, weight, total)
    found.extend(line.effect(column, level, residual, weight, total) for column in slices.T)
    loss = -residual * expected.log_odds(level) if isinstance(expected, Odds) else (residual**2 - 1) / 2
    effect, variance = (np.stack(each, axis=1) for each in zip(*found, strict=True))
    inflated = np.ones(blocks) if copies_count else _copies(level, label, block, blocks)
    return BlockEffects(effect, variance * inflated[:, None], total(loss), rows)


def _effect(score: FloatArray, information: FloatArray) -> tuple[FloatArray, FloatArray]:
    told = information >= LEAST_INFORMATION
    safe = np.where(told, information, 1.0)
    return np.where(told, score / safe, np.nan), np.where(told, 1 / safe, np.inf)


def _intercepts(
    expected: Odds | Errors, level: FloatArray, label: FloatArray, *, total: Total, block: IntArray, blocks: int
) -> FloatArray:
    """Return by how much the intercept of each block has moved, (blocks,)."""
    moved, pull = np.zeros(blocks), INTERCEPT_SPREAD**-2
    for _ in range(INTERCEPT_STEPS):
        residual, weight = expected.residuals(level, label, moved[block])
        step = (total(residual) - pull * moved) / (total(weight) + pull)
        moved = moved + np.clip(step, -2.0, 2.0)
        if np.abs(step).max(initial=0.0) < 1e-6:
            break
    return moved


def _slope(level: FloatArray, residual: FloatArray, weight: FloatArray, total: Total) -> tuple[FloatArray, FloatArray]:
    ones, first, second = total(weight), total(weight * level), total(weight * level**2)
    mean = first / np.maximum(ones, 1e-12)
    return _effect(total(residual * level) - mean * total(residual), second - mean * first)


def _spread(
    expected: Odds | Errors, residual: FloatArray, rows: FloatArray, total: Total
) -> tuple[FloatArray, FloatArray]:
    """Return the mean squares of errors, with the variance that they have within the block."""
    if isinstance(expected, Odds):
        return np.full_like(rows, np.nan), np.full_like(rows, np.inf)
    told, safe = rows >= 2, np.maximum(rows, 2)
    mean = total(residual**2) / safe
    within = np.maximum(total(residual**4) / safe - mean**2, 0.0) + 1 / safe
    return np.where(told, mean, np.nan), np.where(told, within / safe, np.inf)


def _flips(
    expected: Odds | Errors, level: FloatArray, residual: FloatArray, weight: FloatArray, total: Total
) -> tuple[FloatArray, FloatArray]:
    """Return the share of labels turned over, in tenths, after the intercept.

    P(y | s) = (1 - 2r) p + r, whose score statistic in r weighs each row by (1 - 2p) / (p (1 - p)): it is the lowest
    scores that tell most of it.
    """
    if isinstance(expected, Errors):
        nothing = total(residual)
        return np.full_like(nothing, np.nan), np.full_like(nothing, np.inf)
    p = np.clip(expit(expected.log_odds(level)), LEAST_P, 1 - LEAST_P)
    towards = (1 - 2 * p) / (p * (1 - p)) / TENTHS
    ones, first = total(weight), total(weight * towards)
    mean = first / np.maximum(ones, 1e-12)
    score = total(residual * towards) - mean * total(residual)
    return _effect(score, total(weight * towards**2) - mean * first)


def _copies(level: FloatArray, label: FloatArray, block: IntArray, blocks: int) -> FloatArray:
    """Return by how much copies of the same rows make a variance larger (Kish 1965, the design effect): (blocks,).

    A campaign, or a client that asks again, brings rows of the same score and label, no evidence of their own.
    """
    keys = np.stack([block.astype(np.float64), level, label], axis=1)
    kept, times = np.unique(keys, axis=0, return_counts=True)
    of = kept[:, 0].astype(np.int64)
    counts = times.astype(np.float64)
    rows = np.bincount(of, counts, minlength=blocks)
    return np.where(rows > 0, np.bincount(of, counts**2, minlength=blocks) / np.maximum(rows, 1.0), 1.0)


@frozen(eq=False)
class _Line:
    """The weighted sums of 1, level and its square of each block, onto which slices are projected. All (blocks,)."""

    ones: FloatArray
    first: FloatArray
    second: FloatArray

    @classmethod
    def of(cls, level: FloatArray, weight: FloatArray, total: Total) -> "_Line":
        return cls(total(weight), total(weight * level), total(weight * level**2) + 1e-9)

    def effect(
        self, column: FloatArray, level: FloatArray, residual: FloatArray, weight: FloatArray, total: Total
    ) -> tuple[FloatArray, FloatArray]:
        """Return the effect of a slice (n,), less what the intercept and the slope explain."""
        weighted = weight * column
        inside, along = total(weighted), total(weighted * level)
        apart = np.maximum(self.ones * self.second - self.first**2, 1e-12)
        intercept = (self.second * inside - self.first * along) / apart
        slope = (self.ones * along - self.first * inside) / apart
        score = total(residual * column) - intercept * total(residual) - slope * total(residual * level)
        return _effect(score, total(weighted * column) - intercept * inside - slope * along)
