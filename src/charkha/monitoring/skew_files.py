"""Rows of files that the online state had not when it was read: files that it has not taken, or that came later."""

from collections.abc import Iterable, Sequence

import polars as pl
from attrs import field, frozen

from charkha.clock import to_iso
from charkha.features.events import RowLayout
from charkha.features.materialise import plain_values
from charkha.features.progress import Taken, row_places
from charkha.features.sought import PIECE
from charkha.monitoring.skew_cases import MOST_COMPUTED, Case, Difference
from charkha.spec.sources import Source
from charkha.storage.online import OnlineStore

# So many of the files that were written last are looked into.
MOST_FILES = 40
# Pieces to leave out; which these are, for a reader; and until when rows of other files count, if not all do.
_Choice = tuple[list[int], str, int | None]


@frozen(eq=False)
class SourceFiles:
    """The batches of a source as they are now. names, changed_us: of each of its pieces, None for what was pushed.

    untaken: the pieces that the state has not taken as they are now. gone: the batches it has taken that are no longer
    there, or are not what they were.
    """

    names: Sequence[str | None]
    changed_us: Sequence[int | None]
    untaken: frozenset[int] = field(factory=frozenset)
    gone: Sequence[str] = ()
    changed: Sequence[str] = ()

    @classmethod
    def of(cls, found: Difference, taken: Taken | None) -> "SourceFiles":
        """Look at the batches of a source. taken: what the state has of them."""
        batches = [piece.batches[0] if piece.batches else None for piece in found.sought.pieces]
        stamps = {batch.name: batch.stamp()[1:] for batch in batches if batch is not None}
        names = [None if batch is None else batch.name for batch in batches]
        written = [None if batch is None else batch.changed_us() for batch in batches]
        if taken is None:
            return cls(names, written)
        same = {name for name, stamp in stamps.items() if taken.batches.get(name) == stamp}
        untaken = frozenset(number for number, name in enumerate(names) if name is not None and name not in same)
        gone = [name for name in taken.batches if name not in stamps]
        return cls(
            names, written, untaken, gone, [name for name in taken.batches if name in stamps and name not in same]
        )

    def said(self, pieces: Sequence[int]) -> str:
        """Return the names of pieces in words: the first, and how many more there are."""
        names = [name for name in (self.names[piece] for piece in pieces) if name is not None]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{names[0]}{more}"


def cases_untaken(found: Difference, files: SourceFiles, taken: Taken | None) -> list[Case]:
    """Return the cases without files that the state has not taken, and without those written after the prediction."""
    choices: list[_Choice] = []
    if taken is not None:
        why = "which the online state has not taken in yet: charkha features materialise does"
        until_us = None if found.sought.source.static else taken.until_us
        choices.append((sorted(files.untaken & set(found.versions[PIECE])), why, until_us))
    written = _written(found, files)
    since = [piece for piece, us in written if us > found.at_us]
    if since:
        choices.append((since, _when(dict(written)[since[-1]], found, since), None))
    return _cases(found, files, choices)


def cases_by_file(found: Difference, files: SourceFiles) -> list[Case]:
    """Return the cases without the files that were written last, ever more of them, then without each of them alone."""
    written = _written(found, files)[:MOST_FILES]
    together = [([piece for piece, _ in written[: number + 1]], us) for number, (_, us) in enumerate(written)]
    alone = [([piece], us) for piece, us in written[1:]]
    return _cases(found, files, [(pieces, _when(us, found, pieces), None) for pieces, us in [*together, *alone]])


def _written(found: Difference, files: SourceFiles) -> list[tuple[int, int]]:
    """Return the pieces that have rows of the key and when each was written, the last one first."""
    pieces = ((piece, files.changed_us[piece]) for piece in found.versions[PIECE].unique().to_list())
    return sorted(((piece, us) for piece, us in pieces if us is not None), key=lambda each: -each[1])


def _cases(found: Difference, files: SourceFiles, choices: Iterable[_Choice]) -> list[Case]:
    most = MOST_COMPUTED // max(1, found.counted.height)
    cases: list[Case] = []
    for pieces, why, until_us in choices:
        left = found.counted_of(found.without(pieces, until_us))
        gone = found.counted.height - left.height
        if len(cases) < most and (gone or not left.equals(found.counted)):
            there = f"{gone:,} {'row' if gone == 1 else 'rows'} of this key" if gone > 0 else "what is said of this key"
            where = f"in {files.said(pieces)}" if pieces else "that became known since the state was built"
            cases.append(Case(left.head(0), left, f"{there} {where}, {why}"))
    return cases


def _when(written_us: int, found: Difference, pieces: Sequence[int]) -> str:
    later = " and later" if len(pieces) > 1 else ""
    after = "after the prediction" if written_us > found.at_us else "and not in the online state at the prediction"
    return f"written at {to_iso(written_us)}{later}, {after}"


def cases_never_taken(found: Difference, source: Source, store: OnlineStore) -> list[Case]:
    """Return the case without the rows that the state never took, if there are any and it could tell."""
    rows = found.relevant
    if not source.key or rows.is_empty():
        return []
    layout = RowLayout.of(source)
    places = row_places(layout, plain_values(rows.select(list(source.fields))).rows())
    with store.read() as state:
        unknown = pl.Series([each is None for each in state.get_many(places)], dtype=pl.Boolean)
    return [Case(rows.filter(unknown), rows.filter(~unknown))] if unknown.any() else []
