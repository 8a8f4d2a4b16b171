"""Rows that are applied together, with what is made of them once for all views that read them."""

from collections.abc import Iterable, Sequence
from itertools import compress, islice

from attrs import field, frozen

from charkha.features.events import Row, RowLayout
from charkha.features.keys import key_bytes, key_texts


@frozen(eq=False)
class ArrivedRows:
    """Rows of one source in the order in which they became known.

    rows: behind the fields, the answers of the source's filters. event_us, known_us: their times. firsts: whether each
    is the first version of its row, rather than a correction.
    """

    rows: Sequence[Row]
    event_us: Sequence[int]
    known_us: Sequence[int]
    firsts: Sequence[bool]
    _keys: dict[tuple[int, ...], list[bytes | None]] = field(factory=dict, init=False)
    _newest: dict[tuple[int, ...], dict[bytes, int]] = field(factory=dict, init=False)

    @classmethod
    def of(cls, layout: RowLayout, rows: Iterable[tuple[Row, bool]], known: Iterable[int]) -> "ArrivedRows":
        """Return rows, each with whether it is its first version; those without an event time are left out.

        known: when each became known (µs), or that of all, repeated without end.
        """
        versions = list(rows)
        values, firsts = [row for row, _ in versions], [first for _, first in versions]
        event_us, known_us = layout.events_us(values), list(islice(known, len(versions)))
        timed = [event is not None for event in event_us]
        columns = (values, event_us, known_us, firsts)
        return cls(*(columns if all(timed) else (list(compress(column, timed)) for column in columns)))

    def keys(self, places: tuple[int, ...]) -> list[bytes | None]:
        """Return the key of each row by the columns at some places; None where a part of it is null."""
        if places not in self._keys:
            keys = key_texts([[row[place] for row in self.rows] for place in places])
            self._keys[places] = [None if key is None else key_bytes(key) for key in keys]
        return self._keys[places]

    def newest(self, places: tuple[int, ...]) -> dict[bytes, int]:
        """Return which row of each key is the newest by event time; of ties, the later. places: as for `keys`."""
        if places not in self._newest:
            newest = self._newest[places] = {}
            for row, (key, event) in enumerate(zip(self.keys(places), self.event_us, strict=True)):
                if key is not None:
                    before = newest.get(key)
                    if before is None or event >= self.event_us[before]:
                        newest[key] = row
        return self._newest[places]
