"""The way of a pushed row into the log and the online state: logged, applied, then acknowledged.

All of it happens under the online store's write lock, which is exclusive over all processes: so the events of a source
have one order, and the state always knows up to which record of them it has come. A process that dies between append
and commit leaves a record that is logged and not applied; whoever next writes to that source applies it first. A power
failure, or a segment that was cut by hand, may leave the opposite: state of records that the log has lost. Nothing is
pushed on top of that, for a lost row that comes again would be taken for a repetition; `materialise`, with which every
server begins, builds the state anew.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from attrs import evolve, frozen

from charkha.clock import Clock, to_micros
from charkha.features.events import (
    PARTITION,
    EventBatch,
    Row,
    RowLayout,
    decode_events,
    encode_events,
    event_stream,
)
from charkha.features.filters import RowFilters
from charkha.features.keys import key_text
from charkha.features.materialise import build_views, seed_rows
from charkha.features.numbers import finite_number
from charkha.features.plan import view_from_plain, view_to_plain
from charkha.features.progress import (
    applied_offset,
    is_seeded,
    newest_known,
    newest_known_of,
    remember_rows,
    set_applied_offset,
    set_newest_known,
    set_view_registry,
    view_registry,
)
from charkha.features.rows import read_rows
from charkha.features.state import ViewState, columns_of, view_digest
from charkha.features.touched import Touched
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.log import Log
from charkha.storage.online import OnlineReader, OnlineStore, OnlineWriter

logger = logging.getLogger(__name__)


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
            "cut. Start charkha serve anew, which builds the state from what the log holds (or delete online/ "
            "while nothing runs), and push again what was lost"
        )


class NotPushable(ValueError):
    """Rows that cannot be taken: their source has no key, they lack theirs or their time, or values have odd types."""


@frozen
class Pushed:
    """What became of pushed rows. accepted: new rows; corrections: new content for a known row; duplicates: ignored."""

    accepted: int
    corrections: int
    duplicates: int
    known_us: int


class Feed:
    """Takes rows of the project's sources into the log and into the state of its views."""

    def __init__(
        self, sources: Mapping[str, Source], views: Sequence[FeatureView], log: Log, store: OnlineStore, clock: Clock
    ) -> None:
        self._sources = sources
        self._layouts = {name: RowLayout.of(source) for name, source in sources.items()}
        self._views = tuple(views)
        self._registry: bytes | None = None
        self._filters: dict[str, RowFilters] = {}
        self._states = self._states_of(self._views)
        self._log = log
        self._store = store
        self._clock = clock
        self._writers = {name: log.writer(event_stream(name), PARTITION) for name in sources}

    def push(self, source: str, rows: Sequence[Sequence[Any]]) -> Pushed:
        """Take rows in; when it returns they are in the log and in the state.

        rows: values in the order of the source's fields, times as datetime or µs. All rows of a call become known at
        the same time. A row that is already there is ignored, and so are versions of one row that end in what it says
        already. Raises UnknownSource, NotPushable and StateAheadOfLog:
        nothing was taken.
        """
        declared = self._source(source)
        layout = self._layouts[source]
        plain = _plain_rows(declared, layout, rows)
        with self._store.write() as state:
            self._follow_registry(state)
            self._apply_log(state, source)
            known_us = max(self._clock.now(), newest_known(state))
            fresh = remember_rows(state, layout, plain)
            if fresh:
                payload = encode_events(EventBatch(source, known_us, layout.fields, [row for row, _ in fresh]))
                applied = self._writers[source].append([payload])
                self._apply_rows(state, layout, fresh, known_us)
                set_newest_known(state, source, known_us)
                set_applied_offset(state, source, applied)
        new = sum(first for _, first in fresh)
        return Pushed(new, len(fresh) - new, len(plain) - len(fresh), known_us)

    def catch_up(self) -> dict[str, int]:
        """Apply what the log holds and the state does not; return up to which offset each source was applied.

        Raises StateAheadOfLog.
        """
        with self._store.write() as state:
            self._follow_registry(state)
            return {source: self._apply_log(state, source) for source in self._sources}

    def newest_known_us(self) -> dict[str, int]:
        """Return, per source that ever had a row, when its newest row became known (µs)."""
        with self._store.read() as state:
            return newest_known_of(state, list(self._sources))

    def materialise(
        self,
        root: Path,
        as_of_us: int,
        on_progress: Callable[[int, int], None] | None = None,
        views: Sequence[FeatureView] | None = None,
        *,
        anew: bool = False,
    ) -> int:
        """Build the state of every view the store does not hold, from what was known at a time; return how many.

        From then on every process keeps it, whatever its own definition says: a version that serves may be older. State
        that is ahead of the log is dropped first, all of it, and built anew.
        root: the folder that the sources' files are relative to. on_progress: called with sources done and in all.
        views: those of this feed unless given. anew: whether to drop all state first, and build it from the files and
        the log; until that is done, readers see what was. Nothing can be pushed meanwhile. Raises DataError and
        UnknownSource.
        """
        with self._store.write() as state:
            self._follow_registry(state)
            wanted = [*(self._views if views is None else views), *self._dropped(state, anew=anew)]
            for source in self._sources:
                self._apply_log(state, source)
            # A row that came while we waited for the lock is known, and in the log, and in no state of a new view.
            as_of_us = max(as_of_us, newest_known(state))
            kept = registered_views(self._registry)
            missing = {view_digest(view): view for view in wanted}
            missing = {digest: view for digest, view in missing.items() if digest not in kept}
            unseen = {name for name in self._sources if not is_seeded(state, name)}
            order = {view.source.name: digest for digest, view in sorted(missing.items(), reverse=True)}
            waiting = sorted(order.keys() | unseen, key=lambda name: (order.get(name, b""), name))
            for done, name in enumerate(waiting):
                self._build(state, name, list(missing.values()), root, as_of_us)
                if on_progress:
                    on_progress(done + 1, len(waiting))
            if missing:
                registry = [view_to_plain(view) for view in (*kept.values(), *missing.values())]
                set_view_registry(state, msgspec.json.encode(registry))
        return len(missing)

    def _dropped(self, state: OnlineWriter, *, anew: bool) -> list[FeatureView]:
        """Drop state if asked to, or if it has applied more than the log holds; return whose views others had built."""
        ahead = [name for name in self._sources if self._end(name) < applied_offset(state, name)]
        if not ahead and not anew:
            return []
        if ahead:
            logger.warning("the online state is ahead of the log of %s: it is dropped and built anew", ", ".join(ahead))
        fed = {view.digest for states in self._states.values() for view in states}
        dropped = [view for digest, view in registered_views(self._registry).items() if digest in fed]
        state.delete_prefix(b"")
        self._follow_registry(state)
        return dropped

    def _build(self, state: OnlineWriter, source: str, views: Sequence[FeatureView], root: Path, as_of_us: int) -> None:
        if source not in self._sources:
            raise UnknownSource(source, list(self._sources))
        declared = self._sources[source]
        rows = read_rows(declared, root, self._log, as_of_us)
        build_views(state, [_state_of(view, declared) for view in views if view.source.name == source], rows)
        seed_rows(state, declared, rows)

    def _follow_registry(self, state: OnlineReader) -> None:
        """Keep the state of what any process has built, from the very next row on."""
        registry = view_registry(state)
        if registry != self._registry:
            self._states = self._states_of((*self._views, *registered_views(registry).values()))
            self._registry = registry

    def _states_of(self, views: Sequence[FeatureView]) -> dict[str, list[ViewState]]:
        """Return the state of each view by source, reading rows as this definition has them; others stand still."""
        readable: dict[str, dict[bytes, FeatureView]] = {name: {} for name in self._sources}
        for view in views:
            if self._feeds(view):
                readable[view.source.name][view_digest(view)] = view
        self._filters = {name: RowFilters.of(self._sources[name], found.values()) for name, found in readable.items()}
        return {
            name: [_state_of(view, self._sources[name], self._filters[name]) for view in found.values()]
            for name, found in readable.items()
        }

    def _feeds(self, view: FeatureView) -> bool:
        """Say whether the source of a view, as declared now, has what the view reads."""
        source = self._sources.get(view.source.name)
        return source is not None and columns_of(view) <= source.fields.keys()

    def _source(self, name: str) -> Source:
        if name not in self._sources:
            raise UnknownSource(name, list(self._sources))
        if not self._sources[name].key:
            raise NotPushable(
                f"source {name!r}: expected a row key, got none declared. Declare key=[...] on the source, so that a "
                "row that is pushed twice counts once"
            )
        return self._sources[name]

    def _apply_log(self, state: OnlineWriter, source: str) -> int:
        """Apply what the log holds of a source and the state does not; return where it was applied up to."""
        applied, end, layout = applied_offset(state, source), self._end(source), self._layouts[source]
        if end < applied:
            raise StateAheadOfLog(source, applied, end)
        if end == applied:
            return applied
        for record in self._log.read(event_stream(source), {PARTITION: applied}):
            batch = decode_events(record.payload)
            fresh = remember_rows(state, layout, batch.rows_of(layout.fields))
            self._apply_rows(state, layout, fresh, batch.known_us)
            set_newest_known(state, source, batch.known_us)
            applied = record.end
        set_applied_offset(state, source, applied)
        return applied

    def _end(self, source: str) -> int:
        """Return where the log of a source ends now: nothing is appended."""
        return self._writers[source].append([])

    def _apply_rows(
        self, state: OnlineWriter, layout: RowLayout, rows: Iterable[tuple[Row, bool]], known_us: int
    ) -> None:
        views, touched = self._states[layout.source], Touched(state)
        for row, first in self._filters[layout.source].applied(rows):
            event = layout.event_us(row)
            for view in views:
                key = key_text([row[column] for column in view.key_columns])
                if key is not None and event is not None:
                    view.apply(touched, key, row, (event, known_us), first=first)
        touched.flush()


def _state_of(view: FeatureView, source: Source, filters: RowFilters | None = None) -> ViewState:
    """Return where the view's state lies, with its fields where the source, as declared now, has them."""
    return evolve(ViewState.of(evolve(view, source=source), filters), digest=view_digest(view))


def registered_views(registry: bytes | None) -> dict[bytes, FeatureView]:
    """Return the views whose state is kept, by digest. registry: of `view_registry`."""
    views = [view_from_plain(plain) for plain in msgspec.json.decode(registry)] if registry else []
    return {view_digest(view): view for view in views}


def _plain_rows(source: Source, layout: RowLayout, rows: Sequence[Sequence[Any]]) -> list[Row]:
    """Return rows as the log keeps them: times as µs, decimals in their one form. Raises NotPushable."""
    plain = [tuple(row) for row in rows]
    if layout.datetime_places:
        plain = [tuple(to_micros(value) if isinstance(value, datetime) else value for value in row) for row in plain]
    try:
        plain = msgspec.convert(plain, layout.rows_type)
    except msgspec.ValidationError as error:
        fields = ", ".join(f"{name}: {kind.__name__}" for name, kind in source.fields.items())
        raise NotPushable(f"source {source.name!r}: expected rows of ({fields}), got others: {error}") from None
    if float in source.fields.values():
        plain = [tuple(finite_number(value) if type(value) is float else value for value in row) for row in plain]
    for row in plain:
        if layout.key_of(row) is None:
            raise NotPushable(
                f"source {source.name!r}: expected the row key {list(source.key)} in every row, got null in it"
            )
        if layout.event_us(row) is None:
            raise NotPushable(f"source {source.name!r}: expected the event time {source.time!r} in every row, got null")
    return plain
