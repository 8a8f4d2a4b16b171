"""The newest row of a key by event time, as bytes.

A view of numbers packs them: a byte that says how, the event time (int64, µs), then one float per column, of 32 bits
where none of them loses anything by it. So a batch of keys is one array, and 10 float32 features take 49 bytes. A row
that holds text, or an integer beyond 2^53, is MessagePack, whose first byte is another.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from math import isnan
from typing import Any

import msgspec
import numpy as np
import polars as pl
from attrs import field, frozen

from charkha.features.segments import IntArray
from charkha.spec.fields import TIME, FieldType
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView

FLOATS, DOUBLES = 4, 8  # the first byte of a packed row, and the bytes of each of its numbers
# The values of one feature for many keys; None is null in a list, NaN in an array.
Column = Sequence[Any] | FloatArray

_LARGEST_EXACT = 1 << 53
_NEVER = -(1 << 62)  # before any time, yet no overflow when subtracted from one
_NULL = float("nan")
_FEW = 8  # rows that are packed sooner one by one
_EVENT = struct.Struct("<q")
_WIDE = (0xCF, 0xD3)  # how MessagePack begins an integer of 64 bits, which it writes the other way round
_LETTERS: Mapping[int, str] = {FLOATS: "f", DOUBLES: "d"}


def listed(column: Column) -> Sequence[Any]:
    """Return a column as a list: of an array its plain numbers."""
    return column.tolist() if isinstance(column, np.ndarray) else column


class _PlainRow(msgspec.Struct, frozen=True, array_like=True):
    event_us: int
    values: list[int | float | str | bool | None]


_PLAIN_ENCODER = msgspec.msgpack.Encoder()
_PLAIN_DECODER = msgspec.msgpack.Decoder(_PlainRow)


@frozen(eq=False)
class LatestRows:
    """How the newest rows of a view lie in the online store, and are read back.

    names: of the features. kinds: the types of their columns. max_age_us: when they expire, if they do. packs: whether
    all are numbers. counts: whether some are whole numbers, which a float may not hold.
    """

    names: tuple[str, ...]
    kinds: tuple[FieldType, ...]
    max_age_us: int | None
    packs: bool = field()
    counts: bool = field()
    dtypes: Mapping[int, np.dtype[np.void]] = field()
    _structs: Mapping[int, struct.Struct] = field()
    _missing: Mapping[int, bytes] = field()

    @packs.default
    def _of_numbers(self) -> bool:
        return str not in self.kinds

    @counts.default
    def _of_whole_numbers(self) -> bool:
        return not {int, datetime}.isdisjoint(self.kinds)

    @dtypes.default
    def _packed(self) -> Mapping[int, np.dtype[np.void]]:
        shape = (len(self.kinds),)
        return {
            size: np.dtype([("packing", "u1"), ("event_us", "<i8"), ("values", f"<f{size}", shape)])
            for size in (FLOATS, DOUBLES)
        }

    @_structs.default
    def _as_structs(self) -> Mapping[int, struct.Struct]:
        return {size: struct.Struct(f"<Bq{len(self.kinds)}{letter}") for size, letter in _LETTERS.items()}

    @_missing.default
    def _of_nobody(self) -> Mapping[int, bytes]:
        nulls = [_NULL] * len(self.kinds)
        return {size: layout.pack(size, _NEVER, *nulls) for size, layout in self._structs.items()}

    @classmethod
    def of(cls, view: FeatureView) -> "LatestRows":
        """Return the layout of a view's latest values."""
        names = tuple(f"{view.name}.{column}" for column in view.latest)
        return cls(names, tuple(view.source.fields[column] for column in view.latest), view.max_age_us)

    def encode(self, event_us: int, values: Sequence[Any]) -> bytes:
        """Return one row; times as µs, None for null."""
        if not self.packs:
            return _PLAIN_ENCODER.encode((event_us, values))
        numbers = [_NULL if value is None else float(value) for value in values]
        if self.counts and self._is_inexact(values):
            return _PLAIN_ENCODER.encode((event_us, values))
        try:
            packed = self._structs[FLOATS].pack(FLOATS, event_us, *numbers)
        except OverflowError:
            return self._structs[DOUBLES].pack(DOUBLES, event_us, *numbers)
        kept = self._structs[FLOATS].unpack(packed)[2:]
        same = kept == tuple(numbers) or all(a == b or isnan(a) for a, b in zip(numbers, kept, strict=True))
        return packed if same else self._structs[DOUBLES].pack(DOUBLES, event_us, *numbers)

    def encode_columns(self, event_us: Sequence[int], columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return many rows, as `encode` does one. columns: the values of each column, one per event time."""
        if len(event_us) < _FEW or not self.packs:
            return [self.encode(event, row) for event, row in zip(event_us, zip(*columns, strict=True), strict=True)]
        numbers = np.array(columns, np.float64).T
        return self._encoded(np.array(event_us, np.int64), numbers, lambda row: [column[row] for column in columns])

    def encode_many(self, event_us: IntArray, columns: pl.DataFrame) -> list[bytes]:
        """Return many rows. columns: those of the view's latest values, one row per event time."""
        plain = columns.with_columns(pl.col(TIME).dt.epoch("us"))
        if not self.packs:
            return [_PLAIN_ENCODER.encode(row) for row in zip(event_us.tolist(), plain.rows(), strict=True)]
        numbers = plain.cast(pl.Float64).fill_null(_NULL).to_numpy().reshape(len(event_us), len(self.kinds))
        return self._encoded(event_us, numbers, plain.row)

    def _encoded(self, event_us: IntArray, numbers: FloatArray, row: Callable[[int], Sequence[Any]]) -> list[bytes]:
        """Return rows. numbers: float64 (n, columns), NaN for null. row: the values of one, where floats lose some."""
        with np.errstate(over="ignore"):
            narrow = numbers.astype(np.float32)
        fits = ((narrow == numbers) | np.isnan(numbers)).all(axis=1)
        rows = np.empty(len(event_us), object)
        for size, where, values in ((FLOATS, fits, narrow), (DOUBLES, ~fits, numbers)):
            rows[where] = self._packed_rows(size, event_us[where], values[where])
        # 2^53 itself may be what 2^53 + 1 was rounded to.
        for place in np.flatnonzero((np.abs(numbers) >= _LARGEST_EXACT).any(axis=1)).tolist():
            rows[place] = self.encode(int(event_us[place]), row(place))
        packed: list[bytes] = rows.tolist()
        return packed

    def event_us(self, stored: bytes) -> int:
        """Return the event time of a row (µs)."""
        if stored[0] in (FLOATS, DOUBLES):
            return int(_EVENT.unpack_from(stored, 1)[0])
        return _PLAIN_DECODER.decode(stored).event_us

    def stamp(self, stored: bytes) -> bytes:
        """Return the event time of a row as 8 bytes (int64, little-endian, µs): much cheaper than as a number."""
        if stored[0] in (FLOATS, DOUBLES):
            return stored[1:9]
        return stored[9:1:-1] if stored[1] in _WIDE else _EVENT.pack(self.event_us(stored))

    def plain(self, stored: bytes | None, at_us: int) -> Sequence[Any]:
        """Return the values of one key, None for null: all null where there are none or they expired."""
        if stored is None or (self.max_age_us is not None and at_us - self.event_us(stored) > self.max_age_us):
            return [None] * len(self.kinds)
        if stored[0] not in (FLOATS, DOUBLES):
            return _PLAIN_DECODER.decode(stored).values
        numbers = self._structs[stored[0]].unpack(stored)[2:]
        return [_plain_value(kind, number) for kind, number in zip(self.kinds, numbers, strict=True)]

    def unpacked(self, packing: int, stored: Sequence[bytes | None]) -> np.ndarray[Any, np.dtype[np.void]]:
        """Return the rows of one packing as an array of `dtypes[packing]`; those of another as if nothing lay there."""
        missing = self._missing[packing]
        mine = [row if row and row[0] == packing else missing for row in stored]
        return np.frombuffer(b"".join(mine), self.dtypes[packing])

    def _packed_rows(self, size: int, event_us: IntArray, values: np.ndarray[Any, Any]) -> list[bytes]:
        rows = np.empty(len(event_us), self.dtypes[size])
        rows["packing"], rows["event_us"], rows["values"] = size, event_us, values
        packed, step = rows.tobytes(), self.dtypes[size].itemsize
        return [packed[start : start + step] for start in range(0, len(packed), step)]

    def _is_inexact(self, values: Sequence[Any]) -> bool:
        return any(isinstance(value, int) and abs(value) > _LARGEST_EXACT for value in values)


@frozen(eq=False)
class LatestStack:
    """Views whose packed rows look alike, read together: so a small batch costs little more for three than for one."""

    views: tuple[LatestRows, ...]
    _names: tuple[str, ...] = field()
    _no_numbers: tuple[tuple[str, FieldType], ...] = field()
    _limits_us: IntArray = field()

    @_names.default
    def _of_all(self) -> tuple[str, ...]:
        return tuple(name for view in self.views for name in view.names)

    @_no_numbers.default
    def _flags_and_times(self) -> tuple[tuple[str, FieldType], ...]:
        pairs = (pair for view in self.views for pair in zip(view.names, view.kinds, strict=True))
        return tuple((name, kind) for name, kind in pairs if kind not in (int, float, str))

    @_limits_us.default
    def _of_the_views(self) -> IntArray:
        unlimited = np.iinfo(np.int64).max
        return np.array([[unlimited if view.max_age_us is None else view.max_age_us] for view in self.views])

    def values(self, stored: Sequence[Sequence[bytes | None]], at_us: IntArray) -> dict[str, Column]:
        """Return the values of many keys by feature, each at its own time; null where there are none or they expired.

        stored: of each view, what lies there for each key. Numbers come as float64 arrays with NaN for null, where no
        row keeps them from it; else as lists.
        """
        numbers = self._numbers(stored, at_us) if self.views[0].packs else None
        if numbers is None:
            parts = (_plain_columns(view, rows, at_us) for view, rows in zip(self.views, stored, strict=True))
            return dict(chain.from_iterable(parts))
        by_feature = numbers.transpose(0, 2, 1).reshape(-1, len(at_us))
        columns: dict[str, Column] = dict(zip(self._names, by_feature, strict=True))
        for name, kind in self._no_numbers:
            columns[name] = [_plain_value(kind, number) for number in columns[name]]
        return columns

    def _numbers(self, stored: Sequence[Sequence[bytes | None]], at_us: IntArray) -> FloatArray | None:
        """Return the values, float64 (views, keys, columns) with NaN for null; None when a row is not packed."""
        rows = [row for of_view in stored for row in of_view]
        packings = {row[0] for row in rows if row}
        if not packings <= {FLOATS, DOUBLES}:
            return None
        if len(packings) < 2:
            packed = self.views[0].unpacked(packings.pop() if packings else FLOATS, rows)
            values, event_us = packed["values"].astype(np.float64), packed["event_us"]
        else:
            narrow, wide = (self.views[0].unpacked(packing, rows) for packing in (FLOATS, DOUBLES))
            values = np.where(np.isnan(narrow["values"]), wide["values"], narrow["values"])
            event_us = np.maximum(narrow["event_us"], wide["event_us"])  # of the one that is there
        shape = (len(self.views), len(at_us))
        values = values.reshape(*shape, -1)
        values[at_us - event_us.reshape(shape) > self._limits_us] = _NULL
        numbers: FloatArray = values
        return numbers


def latest_stacks(views: Sequence[LatestRows]) -> list[list[int]]:
    """Return the positions of the views, those whose rows look alike together; views without latest values left out."""
    stacks: dict[tuple[bool, int, int], list[int]] = {}
    for position, view in enumerate(views):
        alone = 0 if view.packs else position
        if view.names:
            stacks.setdefault((view.packs, len(view.names), alone), []).append(position)
    return list(stacks.values())


def _plain_columns(view: LatestRows, stored: Sequence[bytes | None], at_us: IntArray) -> Iterator[tuple[str, Column]]:
    rows = [view.plain(found, at) for found, at in zip(stored, at_us.tolist(), strict=True)]
    return ((name, [row[place] for row in rows]) for place, name in enumerate(view.names))


def _plain_value(kind: FieldType, number: float) -> Any:
    if isnan(number):
        return None
    return number if kind is float else bool(number) if kind is bool else int(number)
