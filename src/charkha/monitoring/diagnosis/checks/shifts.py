"""What has shifted: the sequential layer over the blocks of a case, for shares, for counts and for any other figure.

A null is learnt from the healthy blocks and tried on them (`sequential.calibration`), then the watched ones are looked
at one after the other, as an hourly look would have.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from attrs import evolve, frozen

from charkha.features.seen import BoolArray
from charkha.features.segments import IntArray
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.sequential.blocks import usual, usual_apart
from charkha.monitoring.sequential.budget import Budget
from charkha.monitoring.sequential.calibration import AnyNull, calibrated
from charkha.monitoring.sequential.counts import Counts
from charkha.monitoring.sequential.null import LEAST_BLOCKS
from charkha.monitoring.sequential.onset import onset
from charkha.monitoring.sequential.ranks import Ranks
from charkha.monitoring.sequential.shares import Shares
from charkha.monitoring.sequential.trail import Trail
from charkha.spec.durations import HOUR_US
from charkha.spec.model import FloatArray

Side = Literal["rise", "fall", "both"]


@frozen(kw_only=True)
class Shift:
    """One figure that is not what it was; times and evidence as of `Signal`.

    name: of the figure. since: the block in which it began, of the grid. usual, now: in the healthy blocks, and since
    it began: shares, counts of a block, or means of the figure.
    """

    name: str
    since: int
    alarmed_us: int
    began_us: int
    earliest_us: int
    latest_us: int
    evidence: float
    usual: float = np.nan
    now: float = np.nan


@frozen
class Watch:
    """How figures are watched: over which blocks, by which budget, and whether a rise matters, a fall or both.

    Its methods take figures by name, float64 (blocks, names). Those with too short a healthy history are left out, and
    those that ring too often in it.
    """

    grid: Grid
    budget: Budget
    side: Side = "both"

    @classmethod
    def of(cls, case: Case, side: Side = "both", block_us: int = HOUR_US) -> "Watch":
        """Return that of a case."""
        return cls(Grid(case.healthy, case.watched, block_us), case.budget, side)

    def shares(self, names: Sequence[str], hits: FloatArray, rows: FloatArray) -> list[Shift]:
        """Return the shares that shifted: how many rows each block had, and how many of them hits."""
        before = self.grid.before
        some = _enough(rows[:before] > 0)
        if not some.size:
            return []
        hits, rows = hits[:, some], np.maximum(rows, hits)[:, some]
        found = self.shifts([names[each] for each in some], Shares.of(hits[:before], rows[:before]), (hits, rows))
        return [self._told(shift, hits[:, check], rows[:, check]) for check, shift in found]

    def counts(self, names: Sequence[str], counts: FloatArray) -> list[Shift]:
        """Return the counts that shifted against what is usual at that hour of the week."""
        before = self.grid.before
        expected = self._usual(counts)
        some = _enough(expected[:before] > 0)
        if not some.size:
            return []
        counts, expected = counts[:, some], expected[:, some]
        null = Counts.of(counts[:before], expected[:before])
        found = self.shifts([names[each] for each in some], null, (counts, expected))
        return [_since(shift, expected[:, check], counts[:, check]) for check, shift in found]

    def ranks(self, names: Sequence[str], values: FloatArray, *, weekly: bool = False) -> list[Shift]:
        """Return the figures that shifted; NaN where a block has none.

        weekly: they are compared with their level at that hour of the week, and apart from it with how far they usually
        are at that hour of the day, for some hours are wilder than others.
        """
        grid = self.grid
        some = _enough(np.isfinite(values[: grid.before]))
        if not some.size:
            return []
        values = values[:, some]
        slot = grid.slots if weekly else np.zeros(grid.blocks, np.int64)
        level = _in_slot(values, slot, grid.before)
        apart = values - level
        if weekly:
            apart = apart / np.sqrt(_in_slot(apart**2, slot % 24, grid.before) + LEAST_VARIANCE)
        found = self.shifts([names[each] for each in some], Ranks.of(apart[: grid.before]), (apart,))
        return [_since(shift, level[:, check], values[:, check]) for check, shift in found]

    def shifts(self, names: Sequence[str], null: AnyNull, observed: tuple[FloatArray, ...]) -> list[tuple[int, Shift]]:
        """Return which figures shifted, each with its number. observed: of all blocks, as the null's `log_e` has it."""
        before = self.grid.before
        if not names or before in (0, self.grid.blocks):
            return []
        looks = HOUR_US / self.grid.block_us
        own = evolve(self.budget, looks_per_hour=looks, checks=max(self.budget.checks, len(names)))
        tried = calibrated(null, tuple(each[:before] for each in observed), own)
        log_e = _one_side(tried.null.log_e(*(each[before:] for each in observed)), self.side)
        evidence = _evidence(log_e, tried.null.alike)
        rang = (evidence >= own.log_level) & tried.usable
        tempered = log_e / tried.null.alike[:, None]
        return [
            (check, self._shift(names[check], tempered[:, check], evidence[:, check], int(rang[:, check].argmax())))
            for check in map(int, np.flatnonzero(rang.any(axis=0)))
        ]

    def _shift(self, name: str, log_e: FloatArray, evidence: FloatArray, alarmed: int) -> Shift:
        strongest = int(np.argmax(evidence))
        began = onset(log_e[: max(alarmed, strongest) + 1])
        if began.began > alarmed:  # what came later is another episode
            began = onset(log_e[: alarmed + 1])
        starts, length = self.grid.starts[self.grid.before :], self.grid.block_us
        return Shift(
            name=name,
            since=self.grid.before + began.began,
            alarmed_us=int(starts[alarmed]) + length,
            began_us=int(starts[began.began]),
            earliest_us=int(starts[began.earliest]),
            latest_us=int(starts[began.latest]) + length,
            evidence=float(evidence[strongest]),
        )

    def _told(self, shift: Shift, hits: FloatArray, rows: FloatArray) -> Shift:
        before, since = slice(0, self.grid.before), slice(shift.since, None)
        share = (float(hits[part].sum() / max(rows[part].sum(), 1.0)) for part in (before, since))
        return evolve(shift, usual=next(share), now=next(share))

    def _usual(self, counts: FloatArray) -> FloatArray:
        """Return what is usual at each block's hour of the week: of healthy blocks by their other weeks."""
        before, slot, ones = self.grid.before, self.grid.slots, np.ones_like(counts)
        apart = usual_apart(counts[:before], ones[:before], slot[:before])
        return np.concatenate([apart, usual(counts[:before], ones[:before], slot[:before], slot[before:])])


# Below this a figure did not vary at all.
LEAST_VARIANCE = 1e-12


def _evidence(log_e: FloatArray, alike: FloatArray) -> FloatArray:
    """Return the evidence after each block: float64 (blocks, checks)."""
    trail = Trail.start(log_e.shape[1], log_e.shape[2])
    told = np.empty(log_e.shape[:2])
    for block, each in enumerate(log_e):
        trail = trail.looked(block, each, alike)
        told[block] = trail.evidence
    return told


def _one_side(log_e: FloatArray, side: Side) -> FloatArray:
    half = log_e.shape[-1] // 2
    return {"rise": log_e[..., :half], "fall": log_e[..., half:], "both": log_e}[side]


def _since(shift: Shift, level: FloatArray, values: FloatArray) -> Shift:
    """Return a shift with the means of what was usual and what was measured, of the blocks since then with both."""
    known = np.isfinite(values) & np.isfinite(level) & (np.arange(len(values)) >= shift.since)
    if not known.any():
        return shift
    return evolve(shift, usual=float(level[known].mean()), now=float(values[known].mean()))


def _enough(told: BoolArray) -> IntArray:
    """Return which checks have enough healthy blocks to learn from."""
    return np.flatnonzero(told.sum(axis=0) >= LEAST_BLOCKS).astype(np.int64)


def _in_slot(values: FloatArray, slot: IntArray, before: int) -> FloatArray:
    """Return the mean in each block's slot over the healthy blocks, of a healthy one by the others: (blocks, checks).

    One more block that is like all of them belongs to each slot.
    """
    known = np.isfinite(values[:before])
    healthy = np.where(known, values[:before], 0.0)
    sums, counts = (np.zeros((int(slot.max(initial=0)) + 1, values.shape[1])) for _ in range(2))
    np.add.at(sums, slot[:before], healthy)
    np.add.at(counts, slot[:before], known)
    total, blocks = sums[slot] + healthy.sum(axis=0) / np.maximum(known.sum(axis=0), 1), counts[slot] + 1.0
    total[:before] -= healthy
    blocks[:before] -= known
    means: FloatArray = total / blocks
    return means
