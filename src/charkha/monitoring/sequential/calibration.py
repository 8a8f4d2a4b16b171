"""Nulls that would have been quiet in their own healthy history.

Real hours are alike, have seasons and outliers, and no model of them is right. So every null is tried on the history
it was learnt from: first it is widened by what the autocorrelation of its own evidence asks for, then the detector runs
over the history at many levels, and where it rings more often than that level allows, the null is widened further,
until it does not. The low levels are the telling ones: a month of hours cannot show an alarm a year, but it shows
whether the level of one in fifty hours keeps its word, and a detector that is honest at all low levels is honest above.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Generic, TypeVar, cast

import numpy as np
from attrs import fields, frozen
from scipy.special import pdtrik

from charkha.monitoring.sequential.alarms import alarm_counts
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray
from charkha.monitoring.sequential.budget import Budget
from charkha.monitoring.sequential.dependence import autocorrelation
from charkha.monitoring.sequential.null import Null

AnyNull = TypeVar("AnyNull", bound=Null)

# Looks to one false alarm, at which a history is long enough to see whether they keep their word.
LEVELS = (10.0, 30.0, 100.0)
# A null is widened by this factor at a time, and given up beyond the limit: it would see nothing any more.
STEP, MOST = 1.3, 200.0
KEPT = 256
# As many alarms as come by chance, of what a level allows, in all but this share of histories.
CHANCE = 0.05


@frozen(eq=False)
class Calibrated(Generic[AnyNull]):
    """A null after it was tried on its history, and what was found; arrays are (checks,).

    alarms_before, alarms_after: of its history, at the levels together, before and after it was widened. usable: false
    where it still rings too often, as when the history is not healthy.
    """

    null: AnyNull
    blocks: int
    alarms_before: IntArray
    alarms_after: IntArray
    usable: BoolArray

    def said(self, check: int) -> str:
        """Say what was done to one check."""
        width, alike = float(self.null.width[check]), float(self.null.alike[check])
        before, after = int(self.alarms_before[check]), int(self.alarms_after[check])
        told = f"tried on {self.blocks} healthy blocks; variance of sums × {alike:.1f}, as blocks are alike"
        if width > 1:
            told += f", and of each × {width:.1f}, for alarms in that history: {before} → {after}"
        return told if self.usable[check] else f"{told}; it still rings too often: look whether the history is healthy"


@frozen(eq=False)
class _History(Generic[AnyNull]):
    """What a calibration is made of; equal where the numbers are."""

    null: AnyNull
    observed: tuple[FloatArray, ...]
    budget: Budget
    digest: bytes

    @classmethod
    def of(cls, null: AnyNull, observed: tuple[FloatArray, ...], budget: Budget) -> "_History[AnyNull]":
        digest = blake2b(repr((type(null), budget, [each.shape for each in observed])).encode())
        for each in (*observed, *_arrays(null)):
            digest.update(np.ascontiguousarray(each).tobytes())
        return cls(null, observed, budget, digest.digest())

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _History) and self.digest == other.digest


def _arrays(value: Any) -> Iterator[FloatArray]:
    """Yield the arrays that an object of attrs is made of, those of its parts too."""
    if isinstance(value, np.ndarray):
        yield value
    else:
        for field in fields(type(value)):
            yield from _arrays(getattr(value, field.name))


def calibrated(null: AnyNull, observed: tuple[FloatArray, ...], budget: Budget) -> Calibrated[AnyNull]:
    """Widen a null until it keeps its budget in its own history: `observed`, as the null's `log_e` takes it.

    The newest are kept, for drills look at many faults beside one history.
    """
    return cast(Calibrated[AnyNull], _calibrated(_History.of(null, observed, budget)))


@lru_cache(maxsize=KEPT)
def _calibrated(history: _History[Any]) -> Calibrated[Any]:
    null, observed, budget = history.null, history.observed, history.budget
    ones, blocks = np.ones_like(null.alike), len(observed[0])
    null = null.widened(ones, _alike(null.surprise(*observed)))
    counts = _alarms(null, observed, budget)
    before, after, width = counts.sum(axis=0), counts.sum(axis=0), ones
    loud = _too_many(counts, blocks, budget)
    while np.any(trying := loud & (width < MOST)):
        width = np.where(trying, width * STEP, width)
        some = null.only(trying).widened(width[trying], ones[trying])
        counts = _alarms(some, tuple(each[..., trying] for each in observed), budget)
        after[trying], loud[trying] = counts.sum(axis=0), _too_many(counts, blocks, budget)
    return Calibrated(null.widened(width, ones), blocks, before, after, ~loud)


def _alike(surprise: FloatArray) -> FloatArray:
    """Return the autocorrelation of the evidence: of a small rise or a small fall, whichever is the more alike."""
    half = surprise.shape[-1] // 2
    return np.maximum(*(autocorrelation(surprise[..., each]) for each in (0, half)))


def _levels(budget: Budget) -> list[float]:
    return [*(level for level in LEVELS if level < budget.looks_between), budget.looks_between]


def _alarms(null: Null, observed: tuple[FloatArray, ...], budget: Budget) -> IntArray:
    """Return how often each check rings at each level: int64 (levels, checks)."""
    return alarm_counts(null.log_e(*observed), null.alike, np.log(_levels(budget)))


def _too_many(counts: IntArray, blocks: int, budget: Budget) -> BoolArray:
    allowed = np.array([_by_chance(blocks / level) for level in _levels(budget)])
    loud: BoolArray = np.any(counts > allowed[:, None], axis=0)
    return loud


def _by_chance(expected: float) -> float:
    """Return the number that a Poisson count of this mean exceeds in at most CHANCE of cases."""
    return max(float(np.ceil(pdtrik(1 - CHANCE, expected))), 0.0)
