"""The views whose state is kept, by whichever process and definition it was built, and how rows change it."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import msgspec
import polars as pl
from attrs import evolve

from charkha.features.arrived import ArrivedRows
from charkha.features.events import PARTITION, EventBatch, Row, RowLayout, decode_events, encode_events, event_stream
from charkha.features.filters import RowFilters
from charkha.features.materialise import plain_values
from charkha.features.plan import view_from_plain
from charkha.features.progress import (
    applied_offset,
    declared_of,
    remember_row,
    remember_rows,
    set_applied_offset,
    set_declared,
    set_newest_known,
    view_registry,
)
from charkha.features.state import ViewState, columns_of, declaration_digest, view_digest
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.log import Log
from charkha.storage.online import OnlineReader, OnlineWriter

_ROWS_AT_ONCE = 1 << 16  # rows of files whose changes are gathered before they are written


class UnknownSource(KeyError):
    """A source that no definition of the project names."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        super().__init__(f"expected one of the sources {sorted(known)}, got {name!r}")

    def __str__(self) -> str:
        return str(self.args[0])


class StateAheadOfLog(Exception):
    """Online state that has applied what the log no longer holds."""

    def __init__(self, source: str, applied: int, end: int) -> None:
        self.source, self.applied, self.end = source, applied, end
        super().__init__(source, applied, end)

    def __str__(self) -> str:
        return (
            f"source {self.source!r}: expected the log to hold all that the online state has applied, up to offset "
            f"{self.applied}, got a log that ends at {self.end}: a power failure took its last records, or a file was "
            "cut. Start charkha serve anew, which builds the state from what the log holds (or run charkha "
            "features materialise), and push again what was lost"
        )


class KeptViews:
    """The state of a definition's views and of those that any other has built; rows are applied to all of them.

    sources: as this definition has them. views: its own. log: what rows are pushed to.
    """

    def __init__(self, sources: Mapping[str, Source], views: Sequence[FeatureView], log: Log) -> None:
        self.sources = sources
        self.layouts = {name: RowLayout.of(source) for name, source in sources.items()}
        self._declared = {name: declaration_digest(source) for name, source in sources.items()}
        self.views = tuple(views)
        self._log = log
        self._writers = {name: log.writer(event_stream(name), PARTITION) for name in sources}
        self._registry: bytes | None = None
        self._lacking: dict[str, int] = {}
        self._filters: dict[str, RowFilters] = {}
        self._states = self._states_of(self.views)

    def follow_registry(self, state: OnlineReader) -> None:
        """Keep the state of what any process has built, from the very next row on."""
        registry = view_registry(state)
        if registry != self._registry:
            self._states = self._states_of((*self.views, *registered_views(registry).values()))
            self._registry = registry

    def registered(self) -> dict[bytes, FeatureView]:
        """Return the views whose state the store has, by digest, as of the last `follow_registry`."""
        return registered_views(self._registry)

    def source(self, name: str) -> Source:
        """Return a source as this definition has it. Raises UnknownSource."""
        if name not in self.sources:
            raise UnknownSource(name, list(self.sources))
        return self.sources[name]

    def _states_of(self, views: Sequence[FeatureView]) -> dict[str, list[ViewState]]:
        """Return the state of each view by source.

        A view that another definition has may read fields that this one's source has not: a row that is taken here says
        nothing of them, and is null there, as it will be for whoever reads it from the log. A view for which a field is
        of another type stands still: its source is marked, and whoever starts next builds it anew.
        """
        mine: dict[str, dict[bytes, FeatureView]] = {name: {} for name in self.sources}
        for view in views:
            if view.source.name in mine and _reads_alike(view, self.sources[view.source.name]):
                mine[view.source.name][view_digest(view)] = view
        wide = {name: _with_fields_of(self.sources[name], found.values()) for name, found in mine.items()}
        self._lacking = {name: len(source.fields) - len(self.sources[name].fields) for name, source in wide.items()}
        self._filters = {name: RowFilters.of(wide[name], found.values()) for name, found in mine.items()}
        return {
            name: [state_of(view, wide[name], self._filters[name]) for view in found.values()]
            for name, found in mine.items()
        }

    def feeds(self, view: FeatureView) -> bool:
        """Say whether the source of a view, as declared now, has what the view reads: it can be built from files."""
        source = self.sources.get(view.source.name)
        return source is not None and columns_of(view) <= source.fields.keys() and _reads_alike(view, source)

    def take(self, state: OnlineWriter, source: str, rows: Sequence[Row], known_us: int) -> list[tuple[Row, bool]]:
        """Log rows that became known together, and apply them; return those that count, and whether it is their first.

        The log must be applied up to its end.
        """
        layout = self.layouts[source]
        fresh = remember_rows(state, layout, rows)
        if fresh:
            payload = encode_events(EventBatch(source, known_us, layout.fields, [row for row, _ in fresh]))
            applied = self._writers[source].append([payload])
            self._mark(state, source)
            self.apply_rows(state, layout, fresh, repeat(known_us))
            set_newest_known(state, source, known_us)
            set_applied_offset(state, source, applied)
        return fresh

    def apply_log(self, state: OnlineWriter, source: str) -> int:
        """Apply what the log holds of a source and the state does not; return where it was applied up to."""
        applied, end, layout = applied_offset(state, source), self.end(source), self.layouts[source]
        if end < applied:
            raise StateAheadOfLog(source, applied, end)
        if end == applied:
            return applied
        self._mark(state, source)
        for record in self._log.read(event_stream(source), {PARTITION: applied}):
            batch = decode_events(record.payload)
            fresh = remember_rows(state, layout, batch.rows_of(layout.fields))
            self.apply_rows(state, layout, fresh, repeat(batch.known_us))
            set_newest_known(state, source, batch.known_us)
            applied = record.end
        set_applied_offset(state, source, applied)
        return applied

    def _mark(self, state: OnlineWriter, source: str) -> None:
        """Have a source built anew by the next start, if its rows were applied as another definition declares them."""
        if declared_of(state, source) not in (None, "", self._declared[source]):
            set_declared(state, source, "")

    def end(self, source: str) -> int:
        """Return where the log of a source ends now: nothing is appended."""
        return self._writers[source].append([])

    def apply_rows(
        self, state: OnlineWriter, layout: RowLayout, rows: Iterable[tuple[Row, bool]], known: Iterable[int]
    ) -> None:
        """Apply rows of a source, each with whether it is its first version, and when it became known (µs)."""
        if lacking := self._lacking[layout.source]:
            rows = [((*row, *[None] * lacking), first) for row, first in rows]
        arrived = ArrivedRows.of(layout, self._filters[layout.source].applied(rows), known)
        changes = [change for view in self._states[layout.source] for change in view.changes(state, arrived)]
        state.put_many(sorted(changes))

    def apply_files(self, state: OnlineWriter, source: Source, rows: pl.DataFrame) -> None:
        """Apply rows that became known after all others of their source, in that order."""
        layout = self.layouts[source.name]
        for some in rows.iter_slices(_ROWS_AT_ONCE):
            known = some["_known_us"].to_list()
            values = plain_values(some.select(list(source.fields))).rows()
            firsts = [remember_row(state, layout, row) if source.key else True for row in values]
            fresh = [place for place, first in enumerate(firsts) if first is not None]
            versions = [(values[place], bool(firsts[place])) for place in fresh]
            self.apply_rows(state, layout, versions, [known[place] for place in fresh])
            set_newest_known(state, source.name, known[-1])


def _reads_alike(view: FeatureView, source: Source) -> bool:
    """Say whether what a view reads of a source has the types for which it was declared; numbers are numbers."""
    shared = columns_of(view) & source.fields.keys()
    kinds = ((view.source.fields[name], source.fields[name]) for name in shared)
    return all(then is now or {then, now} == {int, float} for then, now in kinds)


def _with_fields_of(source: Source, views: Iterable[FeatureView]) -> Source:
    """Return a source with the fields that it lacks, and views of it read, behind its own."""
    fields = dict(source.fields)
    for view in views:
        fields |= {name: view.source.fields[name] for name in sorted(columns_of(view) - fields.keys())}
    return evolve(source, fields=fields)


def state_of(view: FeatureView, source: Source, filters: RowFilters | None = None) -> ViewState:
    """Return where the view's state lies, with its fields where the source, as declared now, has them."""
    return evolve(ViewState.of(evolve(view, source=source), filters), digest=view_digest(view))


def registered_views(registry: bytes | None) -> dict[bytes, FeatureView]:
    """Return the views whose state is kept, by digest. registry: of `view_registry`."""
    views = [view_from_plain(plain) for plain in msgspec.json.decode(registry)] if registry else []
    return {view_digest(view): view for view in views}
