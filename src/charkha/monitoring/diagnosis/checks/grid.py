"""Two spans of time as one row of blocks, the healthy ones first: what checks that accumulate evidence stand on."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.segments import IntArray
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.blocks import slots
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import FloatArray

_BLOCK, _SUBJECT = "_block", "_subject"


@frozen
class Grid:
    """The whole blocks of a healthy and of a watched span, each numbered from 1970 in its own length (µs)."""

    healthy: Span
    watched: Span
    block_us: int = HOUR_US

    @property
    def before(self) -> int:
        """How many blocks are healthy."""
        return len(self._numbers(self.healthy))

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return self.before + len(self._numbers(self.watched))

    @property
    def slots(self) -> IntArray:
        """The hour of the week, in UTC, in which each block begins: int64 (blocks,)."""
        starts = self.starts // HOUR_US
        return np.concatenate([slots(int(hour), 1, 7 * DAY_US // HOUR_US) for hour in starts] or [starts])

    @property
    def starts(self) -> IntArray:
        """When each block begins (µs), int64 (blocks,)."""
        both = (np.asarray(self._numbers(span), dtype=np.int64) for span in (self.healthy, self.watched))
        return np.concatenate(list(both)) * self.block_us

    def sums(
        self, rows: pl.DataFrame, time: str, subject: pl.Expr, subjects: Sequence[str], columns: Sequence[str]
    ) -> list[FloatArray]:
        """Return the sums of some columns in each block, by subject: float64 (blocks, subjects), a matrix for each."""
        added = (pl.col(name).cast(pl.Float64).sum() for name in columns)
        return self.of_blocks(rows, time, subject, subjects, list(added), empty=0.0)

    def of_blocks(
        self,
        rows: pl.DataFrame,
        time: str,
        subject: pl.Expr,
        subjects: Sequence[str],
        told: Sequence[pl.Expr],
        *,
        empty: float = np.nan,
    ) -> list[FloatArray]:
        """Return what is told of the rows of each block and subject, `empty` where there are none; as of `sums`.

        time: the column with the times of rows (µs). told: expressions over the rows of a group.
        """
        numbered = pl.DataFrame({_SUBJECT: subjects, "_column": np.arange(len(subjects))}, schema_overrides=_NUMBERED)
        cells = (
            rows.with_columns(self.place(time).alias(_BLOCK), subject.cast(pl.String).alias(_SUBJECT))
            .drop_nulls(_BLOCK)
            .join(numbered, on=_SUBJECT, how="inner")
            .group_by(_BLOCK, "_column")
            .agg(*(each.alias(f"_told_{number}") for number, each in enumerate(told)))
        )
        found: list[FloatArray] = [np.full((self.blocks, len(subjects)), empty) for _ in told]
        where = cells[_BLOCK].to_numpy(), cells["_column"].to_numpy()
        for number, matrix in enumerate(found):
            matrix[where] = cells[f"_told_{number}"].cast(pl.Float64).fill_null(empty).to_numpy()
        return found

    def place(self, time: str) -> pl.Expr:
        """Return the number of the block that a time is in, from 0; null for a time in none."""
        block = pl.col(time) // self.block_us
        first, later = self._numbers(self.healthy), self._numbers(self.watched)
        return (
            pl.when((block >= first.start) & (block < first.stop))
            .then(block - first.start)
            .when((block >= later.start) & (block < later.stop))
            .then(block - later.start + len(first))
        )

    def _numbers(self, span: Span) -> range:
        first = -(-span.since_us // self.block_us)
        return range(first, max(first, span.until_us // self.block_us))


_NUMBERED = pl.Schema({_SUBJECT: pl.String(), "_column": pl.Int64()})
