"""The way of a pushed row into the log and the online state: logged, applied, then acknowledged.

All of it happens under the online store's write lock, which is exclusive over all processes: so the events of a source
have one order, and the state always knows up to which record of them it has come. A process that dies between append
and commit leaves a record that is logged and not applied; whoever next writes to that source applies it first. A power
failure, or a segment that was cut by hand, may leave the opposite: state of records that the log has lost. Nothing is
pushed on top of that, for a lost row that comes again would be taken for a repetition; `materialise`, with which every
server begins, builds the state anew.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from charkha.clock import MOST_BACK_US, Clock, to_iso
from charkha.features.building import Builder
from charkha.features.kept import KeptViews
from charkha.features.plain_rows import NotPushable, plain_rows
from charkha.features.prepared import Bounds
from charkha.features.progress import newest_known, newest_known_of
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.log import Log
from charkha.storage.online import OnlineReader, OnlineStore

# Clocks are put right by less; known time stands still until this one has come as far as the state.
MOST_AHEAD_US = MOST_BACK_US


class ClockBehind(Exception):
    """A clock that says a time long before the newest row of the state: one of the two was wrong."""

    def __init__(self, now_us: int, source: str, newest_us: int) -> None:
        self.now_us, self.source, self.newest_us = now_us, source, newest_us
        super().__init__(
            f"expected a clock that has come as far as the newest row of source {source!r}, known at "
            f"{to_iso(newest_us)}, got {to_iso(now_us)}. If this clock is wrong, put it right. If another was, which "
            "took rows in too early, they are in the log as known then: move that source's log away, and push them "
            "again"
        )


@frozen
class Pushed:
    """What became of pushed rows. accepted: new rows; corrections: new content for a known row; duplicates: ignored."""

    accepted: int
    corrections: int
    duplicates: int
    known_us: int


class Feed(Builder):
    """Takes rows of the project's sources into the log and into the state of its views, which it builds too."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        views: Sequence[FeatureView],
        log: Log,
        store: OnlineStore,
        clock: Clock,
        *,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__(KeptViews(sources, views, log), log, store, clock, bounds=bounds)

    def push(self, source: str, rows: Sequence[Sequence[Any]]) -> Pushed:
        """Take rows in; when it returns they are in the log and in the state.

        rows: values in the order of the source's fields, times as datetime or µs. All rows of a call become known at
        the same time. A row that is already there is ignored, and so are versions of one row that end in what it says
        already. Raises UnknownSource, NotPushable, ClockBehind
        and StateAheadOfLog: nothing was taken.
        """
        plain = plain_rows(self._pushable(source), self._kept.layouts[source], rows)
        with self._store.write() as state:
            self._kept.follow_registry(state)
            self._kept.apply_log(state, source)
            now_us, newest_us = self._clock.now(), newest_known(state)
            if newest_us and newest_us - now_us > MOST_AHEAD_US:  # 0 when there is none
                raise ClockBehind(now_us, *self._newest(state))
            known_us = max(now_us, newest_us)
            fresh = self._kept.take(state, source, plain, known_us)
        new = sum(first for _, first in fresh)
        return Pushed(new, len(fresh) - new, len(plain) - len(fresh), known_us)

    def catch_up(self) -> dict[str, int]:
        """Apply what the log holds and the state does not; return up to which offset each source was applied.

        Raises StateAheadOfLog.
        """
        with self._store.write() as state:
            self._kept.follow_registry(state)
            return {source: self._kept.apply_log(state, source) for source in self._kept.sources}

    def newest_known_us(self) -> dict[str, int]:
        """Return, per source that ever had a row, when its newest row became known (µs)."""
        with self._store.read() as state:
            return newest_known_of(state, list(self._kept.sources))

    def _newest(self, state: OnlineReader) -> tuple[str, int]:
        known = newest_known_of(state, list(self._kept.sources))
        return max(known.items(), key=lambda each: each[1], default=("of another definition", newest_known(state)))

    def _pushable(self, name: str) -> Source:
        source = self._kept.source(name)
        if not source.key:
            raise NotPushable(
                f"source {name!r}: expected a row key, got none declared. Declare key=[...] on the source, so that a "
                "row that is pushed twice counts once"
            )
        return source
