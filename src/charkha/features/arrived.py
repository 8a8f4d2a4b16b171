"""Rows that are applied together, with what is made of them once for all views that read them."""

from collections.abc import Iterable, Sequence

from attrs import field, frozen

from charkha.features.events import Row, RowLayout
from charkha.features.keys import key_bytes, key_text


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

    @classmethod
    def of(cls, layout: RowLayout, rows: Iterable[tuple[Row, bool]], known: Iterable[int]) -> "ArrivedRows":
        """Return rows, each with whether it is its first version; those without an event time are left out.

        known: when each became known (µs), or that of all, repeated without end.
        """
        events = ((row, first, layout.event_us(row), at) for (row, first), at in zip(rows, known, strict=False))
        timed = [(row, event, at, first) for row, first, event, at in events if event is not None]
        of_rows, event_us, known_us, firsts = zip(*timed, strict=True) if timed else ((), (), (), ())
        return cls(of_rows, event_us, known_us, firsts)

    def keys(self, places: tuple[int, ...]) -> list[bytes | None]:
        """Return the key of each row by the columns at some places; None where a part of it is null."""
        if places not in self._keys:
            keys = (key_text([row[place] for place in places]) for row in self.rows)
            self._keys[places] = [None if key is None else key_bytes(key) for key in keys]
        return self._keys[places]
