"""Rows as a caller has them, made what the log keeps; or refused, all that came together."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from charkha.clock import to_micros
from charkha.features.events import Row, RowLayout
from charkha.features.numbers import finite_number
from charkha.spec.sources import Source

_FIRST_US, _LAST_US = to_micros(datetime.min), to_micros(datetime.max)


class NotPushable(ValueError):
    """Rows that cannot be taken: their source has no key, they lack theirs or their time, or values have odd types."""


def plain_rows(source: Source, layout: RowLayout, rows: Sequence[Sequence[Any]]) -> list[Row]:
    """Return rows as the log keeps them: times as µs, decimals in their one form. Raises NotPushable."""
    try:
        plain: list[Row] = msgspec.convert(_with_micros(rows, layout.datetime_places), layout.rows_type)
    except msgspec.ValidationError as error:
        fields = ", ".join(f"{name}: {kind.__name__}" for name, kind in source.fields.items())
        raise NotPushable(f"source {source.name!r}: expected rows of ({fields}), got others: {error}") from None
    _make_finite(plain, layout.float_places)
    for place in layout.datetime_places:
        for row in plain:
            if row[place] is not None and not _FIRST_US <= row[place] <= _LAST_US:
                said = f"expected {layout.fields[place]!r} in the years 1 to 9999, got {row[place]} µs"
                raise NotPushable(f"source {source.name!r}: {said}")
    if str in source.fields.values():
        _refuse_surrogates(source, plain)
    if None in layout.keys_of(plain):
        raise NotPushable(
            f"source {source.name!r}: expected the row key {list(source.key)} in every row, got null in it"
        )
    if None in layout.events_us(plain):
        raise NotPushable(f"source {source.name!r}: expected the event time {source.time!r} in every row, got null")
    return plain


def _with_micros(rows: Sequence[Sequence[Any]], places: Sequence[int]) -> Sequence[Sequence[Any]]:
    """Return rows with their times as µs where there is a datetime; what else is wrong with them is not seen here."""
    if not any(isinstance(value, datetime) for place in places for row in rows for value in row[place : place + 1]):
        return rows
    return [[to_micros(value) if isinstance(value, datetime) else value for value in row] for row in rows]


def _make_finite(rows: list[Row], places: Sequence[int]) -> None:
    """Put null for decimals that are not finite, and 0.0 for -0.0: all are looked at together, few are changed."""
    if not places or not rows:
        return
    decimals = np.array([[row[place] for row in rows] for place in places], np.float64)
    odd = ~np.isfinite(decimals) | ((decimals == 0) & np.signbit(decimals))
    for at in np.flatnonzero(odd.any(axis=0)).tolist():
        values = list(rows[at])
        for place in places:
            values[place] = finite_number(values[place])
        rows[at] = tuple(values)


def _refuse_surrogates(source: Source, rows: Sequence[Row]) -> None:
    """Raise NotPushable for text with half a character, which no file and no log can hold."""
    for row in rows:
        for value in row:
            if isinstance(value, str) and not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise NotPushable(
                        f"source {source.name!r}: expected text of whole characters, got a lone surrogate: {error}"
                    ) from None
