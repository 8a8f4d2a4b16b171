"""The ways to the features of a stream: rows taken in and questions answered online; over history; from files."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl
from attrs import define, field
from feature_streams import Asked, Push, Stream, as_frame

from charkha.clock import SimulatedClock
from charkha.engines.engine import Bucket, Result
from charkha.features.backfill import backfill
from charkha.features.feed import Feed, Pushed
from charkha.features.offline import offline_features
from charkha.features.online import Fetched, fetch, online_columns
from charkha.features.reading import Sources
from charkha.features.request import frame_of
from charkha.features.rows import read_rows
from charkha.spec.fields import TIME, polars_schema
from charkha.storage.online import OnlineStore
from charkha.storage.segment_log import SegmentLog


class Inline:
    """An engine without threads: starting one takes longer than a few rows do."""

    def map(self, kernel: Callable[[Bucket], Result], buckets: Iterable[Bucket]) -> Iterator[Result]:
        """Yield results in bucket order."""
        return map(kernel, buckets)


@define(eq=False)
class Live:
    """A stream as it happens: pushes and questions in the order of time, over real storage.

    pushed: what became of each push. asked: the questions that came when the state was there. alone, together: their
    features, each answered when it came, and all of them finalised at the end.
    """

    stream: Stream
    root: Path
    store: OnlineStore
    log: SegmentLog
    clock: SimulatedClock
    feed: Feed
    pushed: list[Pushed] = field(factory=list)
    asked: list[Asked] = field(factory=list)
    alone: list[pl.DataFrame] = field(factory=list)
    _fetched: list[Fetched] = field(factory=list)

    @classmethod
    def of(cls, stream: Stream, root: Path, store: OnlineStore) -> "Live":
        """Empty the store, and build the state of the files, which are written into the folder."""
        for number, events in enumerate(stream.files):
            as_frame(events, stream.world).write_parquet(root / f"rows-{number}.parquet")
        with store.write() as state:
            state.delete_prefix(b"")
        log, clock = SegmentLog(root / "log"), SimulatedClock(stream.built_us)
        feed = Feed({"events": stream.world.source}, stream.world.views, log, store, clock)
        assert feed.materialise(root, clock.now()) == len(stream.world.views)
        return cls(stream, root, store, log, clock, feed)

    def run(self) -> None:
        """Let everything happen."""
        pushes = list(self.stream.pushes)
        for question in self.stream.questions:
            if question.at_us is not None and question.at_us >= self.stream.built_us:
                while pushes and pushes[0].at_us <= question.at_us:
                    self._push(pushes.pop(0))
                self.clock.advance_to(question.at_us)
                self._answer(question, question.at_us)
        for push in pushes:
            self._push(push)

    def together(self) -> pl.DataFrame:
        """The features of all questions, from what was fetched for each when it came."""
        plan, requests = self.stream.world.plan, [question.request for question in self.asked]
        columns = {name: [request[name] for request in requests] for name in plan.request}
        times = [question.at_us or 0 for question in self.asked]
        return frame_of(plan, online_columns(plan, columns, Fetched.together(self._fetched), times))

    def _push(self, push: Push) -> None:
        self.clock.advance_to(push.at_us)
        self.pushed.append(self.feed.push("events", [tuple(event.fields.values()) for event in push.rows]))
        if len(self.pushed) == self.stream.anew:
            self.feed = Feed(
                {"events": self.stream.world.source}, self.stream.world.views, self.log, self.store, self.clock
            )
            self.feed.materialise(self.root, self.clock.now(), anew=True)

    def _answer(self, question: Asked, at_us: int) -> None:
        plan, columns = self.stream.world.plan, {name: [value] for name, value in question.request.items()}
        with self.store.read() as state:
            fetched = fetch(plan, state, columns)
        self.asked.append(question)
        self._fetched.append(fetched)
        self.alone.append(frame_of(plan, online_columns(plan, columns, fetched, [at_us])))


def in_memory(stream: Stream, root: Path, log: SegmentLog, buckets: int) -> pl.DataFrame:
    """Return the features of every question over all rows in memory."""
    rows = {"events": read_rows(stream.world.source, root, log)}
    return offline_features(stream.world.plan, spine_of(stream), rows, Inline(), buckets)


def from_files(stream: Stream, root: Path, log: SegmentLog, at_once: int) -> pl.DataFrame:
    """Return the same through files. at_once: questions answered at once; five times as many rows fit in memory."""
    bounds = {"memory_rows": 5 * at_once, "bucket_rows": 4 * at_once}
    sources = Sources(root, {"events": stream.world.source}, log, **bounds)
    parts = backfill(stream.world.plan, questions_in(root, stream), sources, root / "out", rows_at_once=at_once)
    return pl.concat([pl.read_parquet(part) for part in parts]).select(stream.world.plan.names)


def questions_in(root: Path, stream: Stream) -> Path:
    """Write a stream's questions into a file."""
    path, plan = root / "questions.parquet", stream.world.plan
    spine_of(stream).select(*plan.request, pl.col("_at_us").cast(TIME).alias(plan.at)).write_parquet(path)
    return path


def spine_of(stream: Stream) -> pl.DataFrame:
    """Return a stream's questions as a frame: the request's fields and `_at_us`."""
    schema = {**polars_schema(stream.world.plan.request), "_at_us": pl.Int64()}
    rows = [(*question.request.values(), question.at_us) for question in stream.questions]
    return pl.DataFrame(rows, schema=schema, orient="row")
