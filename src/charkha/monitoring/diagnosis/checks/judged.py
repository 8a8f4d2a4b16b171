"""Labels beside what was expected of them: what the checks of labels and of performance have in common."""

import numpy as np
from attrs import frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.block_effects import BlockEffects, block_effects
from charkha.monitoring.diagnosis.checks.expectation import Errors, Odds, expectation
from charkha.monitoring.diagnosis.checks.flips import flip_evidence, flips_over_drift
from charkha.monitoring.diagnosis.checks.graded import Graded
from charkha.monitoring.diagnosis.checks.slices import Slices, slices_of
from charkha.monitoring.diagnosis.checks.timeline import Timeline
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray


@frozen(eq=False)
class Judged:
    """The rows of a case that can be judged, and what was expected of them."""

    case: Case
    graded: Graded
    expected: Odds | Errors
    slices: Slices

    @classmethod
    def of(cls, case: Case) -> "Judged | None":
        """Learn what is expected in the healthy span; None where its labels do not tell."""
        graded = Graded.of(case)
        healthy = graded.known(case.healthy)
        expected = expectation(case.task, graded.level[healthy], graded.label[healthy])
        return None if expected is None else cls(case, graded, expected, slices_of(case, graded, healthy))

    def effects(self, span: Span, length_us: int) -> tuple[Timeline, BlockEffects]:
        """Return the effects of the ripe blocks of a span."""
        line, rows, block = self._placed(span, length_us)
        level, label = self.graded.level[rows], self.graded.label[rows]
        inside = self.slices.inside[rows]
        return line, block_effects(self.expected, level, label, inside, block=block, blocks=line.blocks)

    def flip_evidence(self, span: Span, length_us: int) -> tuple[FloatArray, ...]:
        """Return `flip_evidence` of the ripe blocks of a span; copies of a row count once in each."""
        line, rows, block = self._placed(span, length_us)
        level, label = self.graded.level[rows], self.graded.label[rows]
        once = np.unique(np.stack([block.astype(np.float64), level, label], axis=1), axis=0, return_index=True)[1]
        return flip_evidence(
            self.expected, level[once], label[once], self._usual, block=block[once], blocks=line.blocks
        )

    def flips(self, rows: BoolArray) -> tuple[float, float]:
        """Return `flips_over_drift` of some rows (all of the graded,); copies of a row count once."""
        graded = self.graded
        places = np.flatnonzero(rows)
        pairs = np.stack([graded.level[places], graded.label[places]], axis=1)
        places = places[np.unique(pairs, axis=0, return_index=True)[1]]
        inside = self.slices.inside[places]
        return flips_over_drift(self.expected, graded.level[places], graded.label[places], inside, self._usual)

    @property
    def _usual(self) -> FloatArray:
        return self.graded.label[self.graded.known(self.case.healthy)]

    def _placed(self, span: Span, length_us: int) -> tuple[Timeline, IntArray, IntArray]:
        """Return blocks, the rows in them that can be judged, and the block of each."""
        line = Timeline.of(span, length_us, self.graded.now_us - self.graded.patience_us)
        rows = np.flatnonzero(self.graded.known(span))
        within, block = line.places(self.graded.at_us[rows])
        return line, rows[within], block
