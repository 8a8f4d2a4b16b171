"""Online state from the sources' files: built as of a time, and brought up to what the files are later."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from attrs import frozen
from msgspec.structs import replace

from charkha.clock import Clock, to_iso
from charkha.features.cutting import Doing
from charkha.features.declared import DataError
from charkha.features.kept import KeptViews, registered_views, state_of
from charkha.features.news import Files, news_of
from charkha.features.plan import view_to_plain
from charkha.features.prepared import Bounds, Preparation, Prepared
from charkha.features.progress import (
    applied_offset,
    declared_of,
    newest_known,
    newest_known_of,
    rows_prefix,
    set_declared,
    set_newest_known,
    set_taken,
    set_view_registry,
    taken_of,
    view_registry,
)
from charkha.features.state import declaration_digest, view_digest
from charkha.spec.sources import Query
from charkha.spec.views import FeatureView
from charkha.storage.log import Log
from charkha.storage.online import OnlineReader, OnlineStore, OnlineWriter

OnProgress = Callable[[int, int, str], None]

logger = logging.getLogger(__name__)


def unheard(what: str) -> None:
    """Be told what is going on, and tell nobody."""


class KnownLater(Exception):
    """State that is to be built as of a time, and has rows that became known after it."""

    def __init__(self, as_of_us: int, newest_us: int, *, anew: bool = False) -> None:
        self.as_of_us, self.newest_us = as_of_us, newest_us
        or_anew = "" if anew else "; or, where only files have rows that late, anew: --anew"
        super().__init__(
            f"expected no row that became known after {to_iso(as_of_us)}, got one of {to_iso(newest_us)}: what was "
            "pushed stays in the log, from which the state goes on. Build it in a home of its own: --home DIR"
            f"{or_anew}"
        )


@frozen
class Followed:
    """What became of news in a source's files. rows: how many were applied. anew: why its state was built anew, or "".

    problem: why nothing was done: files that cannot be read, or break their contract.
    """

    source: str
    rows: int = 0
    anew: str = ""
    problem: str = ""


class Builder:
    """Builds the state of views. kept: those whose state is kept, to which what is built is added.

    bounds: how much of a source is in memory meanwhile.
    """

    def __init__(
        self, kept: KeptViews, log: Log, store: OnlineStore, clock: Clock, *, bounds: Bounds | None = None
    ) -> None:
        self._kept, self._log, self._store, self._clock = kept, log, store, clock
        self._bounds = bounds or Bounds()

    def materialise(
        self,
        root: Path,
        as_of_us: int,
        on_progress: OnProgress = lambda done, total, doing: None,
        views: Sequence[FeatureView] | None = None,
        *,
        anew: bool = False,
        exactly: bool = False,
    ) -> int:
        """Build the state of every view the store does not hold, from what was known at a time; return how many.

        From then on every process keeps it, whatever its own definition says: a version that serves may be older. State
        that is ahead of the log is dropped first, all of it, and built anew.
        root: the folder that the sources' files are relative to. on_progress: called with sources done, sources in all
        and what is going on. views: those of this feed unless given. anew: whether to drop all state first, and build
        it from the files and the log; until that is done, readers see what was. Nothing can be pushed meanwhile.
        exactly: whether rows that became known later, such as those pushed a moment ago, must not be there. Raises
        DataError, UnknownSource and KnownLater.
        """
        with self._store.write() as state:
            self._kept.follow_registry(state)
            wanted = [*(self._kept.views if views is None else views), *self._dropped(state, anew=anew)]
            for source in self._kept.sources:
                self._kept.apply_log(state, source)
            # A row that came while we waited for the lock is known, and in the log, and in no state of a new view.
            newest_us = _newest_by(state, as_of_us if exactly else None, anew=anew)
            as_of_us = max(as_of_us, newest_us)
            kept = self._kept.registered()
            missing = {view_digest(view): view for view in wanted}
            missing = {digest: view for digest, view in missing.items() if digest not in kept}
            unseen = {name for name in self._kept.sources if taken_of(state, name) is None}
            order = {view.source.name: digest for digest, view in sorted(missing.items(), reverse=True)}
            waiting = sorted(order.keys() | unseen, key=lambda name: (order.get(name, b""), name))
            for done, name in enumerate(waiting):
                doing = partial(on_progress, done, len(waiting))
                files = Files(root, self._log, as_of_us)
                self._build(state, name, list(missing.values()), Preparation(files, self._bounds, doing))
            on_progress(len(waiting), len(waiting), "done")
            if missing:
                _register(state, [*self._kept.registered().values(), *missing.values()])
        return len(missing)

    def holds(self, views: Sequence[FeatureView]) -> bool:
        """Say whether the store holds the state of views, and what came of the files of their sources."""
        with self._store.read() as state:
            kept = registered_views(view_registry(state))
            return all(view_digest(view) in kept and taken_of(state, view.source.name) is not None for view in views)

    def _dropped(self, state: OnlineWriter, *, anew: bool) -> list[FeatureView]:
        """Drop state if asked to, or if it has applied more than the log holds; return whose views others had built."""
        ahead = [name for name in self._kept.sources if self._kept.end(name) < applied_offset(state, name)]
        if not ahead and not anew:
            return []
        if ahead:
            logger.warning("the online state is ahead of the log of %s: it is dropped and built anew", ", ".join(ahead))
        dropped = [view for view in self._kept.registered().values() if self._kept.feeds(view)]
        state.delete_prefix(b"")
        self._kept.follow_registry(state)
        return dropped

    def _build(self, state: OnlineWriter, source: str, views: Sequence[FeatureView], preparation: Preparation) -> None:
        declared = self._kept.source(source)
        mine = [view for view in views if view.source.name == source]
        if isinstance(declared.data, Query):  # asked again, it may give other rows: all views have the same
            self._build_anew(state, source, preparation, "its query was asked again", mine)
            return
        self._follow(state, source, preparation)  # views of one source have the same rows of it
        states, unbuilt = [state_of(view, declared) for view in mine], taken_of(state, source) is None
        with preparation.of(declared, states, seeds=unbuilt) as prepared:
            self._write(state, prepared)

    def _write(self, state: OnlineWriter, prepared: Prepared, why: str = "") -> None:
        """Write the state of views of one source, and the memory of its rows if that is to be; remember why.

        What the log alone had made of either goes first: it knew corrections of rows in files for rows of their own.
        """
        source, ready, views = prepared.source, prepared.ready, prepared.views
        rows = [rows_prefix(source.name)] if prepared.seeds else []
        for prefix in (*(view.digest for view in views), *rows):
            state.delete_prefix(prefix)
        if prepared.seeds:
            if ready.newest_us is not None:
                set_newest_known(state, source.name, ready.newest_us)
            for pairs in ready.of_rows():
                state.put_many(pairs)
        for view in views:  # behind the rows: what is put behind all else fills its pages
            for pairs in ready.of_view(view):
                state.put_many(pairs)
        if prepared.seeds:
            set_declared(state, source.name, declaration_digest(source))
            set_taken(state, source.name, replace(prepared.taken, built_us=self._clock.now(), why=why))

    def follow(self, root: Path, as_of_us: int | None = None, doing: Doing = unheard) -> list[Followed]:
        """Bring state that is there up to what the sources' files are now; return what became of those with news.

        New rows are applied, or the state of their source is built anew; see `news`. A source that cannot be read, or
        whose new files break its contract, stays as it was, which is said in a warning. as_of_us: up to what was known
        then, instead of now. doing: told what is going on. Raises KnownLater: then nothing was changed.
        """
        found: list[Followed] = []
        with self._store.write() as state:
            self._kept.follow_registry(state)
            for source in self._kept.sources:
                self._kept.apply_log(state, source)
            newest_us = _newest_by(state, as_of_us)
            files = Files(root, self._log, max(self._clock.now() if as_of_us is None else as_of_us, newest_us))
            preparation = Preparation(files, self._bounds, doing)
            for source in self._kept.sources:
                try:
                    found += self._follow(state, source, preparation)
                except DataError as error:
                    logger.warning("source %s: its files are not followed. %s", source, error)
                    found.append(Followed(source, problem=str(error)))
        return found

    def _follow(self, state: OnlineWriter, source: str, preparation: Preparation) -> list[Followed]:
        taken, declared = taken_of(state, source), self._kept.sources[source]
        if taken is None:
            return []
        newest_us = newest_known_of(state, [source]).get(source)
        news = news_of(declared, preparation.files, taken, declared_of(state, source), newest_us)
        if news is None:
            return []
        if news.anew:
            self._build_anew(state, source, preparation, news.anew)
            return [Followed(source, anew=news.anew)]
        self._kept.apply_files(state, declared, news.rows)
        set_taken(state, source, news.taken)
        return [Followed(source, news.rows.height)]

    def _build_anew(
        self,
        state: OnlineWriter,
        source: str,
        preparation: Preparation,
        why: str,
        more: Sequence[FeatureView] = (),
    ) -> None:
        """Build all state of one source anew, that of more views too. Raises DataError: then nothing was changed.

        Views that read fields which this definition has not are built anew by the next that has them.
        """
        declared, registered = self._kept.sources[source], self._kept.registered()
        mine = {digest: view for digest, view in registered.items() if view.source.name == source}
        fed = {digest: view for digest, view in mine.items() if self._kept.feeds(view)}
        states = [state_of(view, declared) for view in (*fed.values(), *more)]
        with preparation.of(declared, states, seeds=True) as prepared:
            if left := mine.keys() - fed.keys():
                _register(state, [view for digest, view in registered.items() if digest not in left])
                self._kept.follow_registry(state)
            self._write(state, prepared, why)


def _newest_by(state: OnlineReader, as_of_us: int | None, *, anew: bool = False) -> int:
    """Return when the newest row became known. Raises KnownLater where that is after a time, if one is given."""
    newest_us = newest_known(state)
    if as_of_us is not None and newest_us > as_of_us:
        raise KnownLater(as_of_us, newest_us, anew=anew)
    return newest_us


def _register(state: OnlineWriter, views: Sequence[FeatureView]) -> None:
    set_view_registry(state, msgspec.json.encode([view_to_plain(view) for view in views]))
