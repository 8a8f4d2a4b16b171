"""The blocks of a case in which labels are judged: whole ones, numbered from 1970, old enough at the end."""

import numpy as np
from attrs import frozen

from charkha.features.segments import IntArray
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray
from charkha.spec.durations import DAY_US, HOUR_US

LENGTHS_US = (6 * HOUR_US, DAY_US)


@frozen
class Timeline:
    """Blocks of one length within a span. first: the number of the first, counted from 1970 UTC."""

    length_us: int
    first: int
    blocks: int

    @classmethod
    def of(cls, span: Span, length_us: int, ripe_us: int) -> "Timeline":
        """Return the whole blocks of a span that end by `ripe_us`."""
        first, end = -(-span.since_us // length_us), min(span.until_us, ripe_us) // length_us
        return cls(length_us, first, max(0, end - first))

    def places(self, at_us: IntArray) -> tuple[BoolArray, IntArray]:
        """Return which times are in a block, and of these the block, from 0 up."""
        block = at_us // self.length_us - self.first
        within = (block >= 0) & (block < self.blocks)
        return within, block[within].astype(np.int64)

    def began_us(self, block: int) -> int:
        """Return when a block began."""
        return (self.first + block) * self.length_us
