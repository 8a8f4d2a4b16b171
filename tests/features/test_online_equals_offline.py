"""The first invariant: what a prediction is served is what training would compute for it, over real storage.

Four ways to each feature: pushed and read online, over history in memory, from files to files, and the obvious version.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from feature_oracle import Arrived, agree, answers, arrivals, slack
from feature_streams import Asked, Stream, cases, streams
from feature_ways import Live, from_files, in_memory
from hypothesis import given
from hypothesis import strategies as st

from charkha.features.events import decode_events, event_stream
from charkha.features.feed import Pushed
from charkha.spec.aggregates import Measure
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where there is such a place, files cost next to nothing


@pytest.fixture(scope="module")
def store() -> Iterator[LmdbOnline]:
    """One store for all cases, each of which empties it: opening one takes longer than filling it."""
    with TemporaryDirectory(dir=MEMORY) as folder:
        opened = LmdbOnline(Path(folder))
        yield opened
        opened.close()


# Into how many buckets of keys the offline path in memory cuts; and how many questions a backfill answers at once, of
# which one case in four has one, for it takes as long as all else.
BUCKETS, AT_ONCE = st.sampled_from([1, 1, 1, 3]), st.sampled_from([None, None, None, 100, None, None, None, 4])


@pytest.mark.timeout(7200)  # of the thorough profile
@cases(500)
@given(stream=streams(), buckets=BUCKETS, at_once=AT_ONCE)
def test_four_ways_lead_to_the_same_features(
    stream: Stream, buckets: int, at_once: int | None, store: LmdbOnline
) -> None:
    with TemporaryDirectory(dir=MEMORY) as folder:
        root = Path(folder)
        live = Live.of(stream, root, store)
        live.run()
        offline = in_memory(stream, root, live.log, buckets)
        files = offline if at_once is None else from_files(stream, root, live.log, at_once)
        logged = rows_in(live.log)
    pushes = [(push.at_us, push.rows) for push in stream.pushes]
    arrived = arrivals([*stream.files[0], *stream.files[1]], pushes, stream.world.source.key)
    assert [counts_of(pushed) for pushed in live.pushed] == expected_counts(stream, arrived)
    assert logged == sum(row.push > 0 for row in arrived)
    expected = [expected_features(stream, question, arrived) for question in stream.questions]
    for row, features in zip(offline.rows(), expected, strict=True):
        assert_as_expected(stream, dict(zip(offline.columns, row, strict=True)), features)
    measures = {name: measure for features in expected for name, (_, measure) in features.items() if measure}
    assert_they_agree(stream, files, offline, measures)
    if live.asked:
        places = [place for place, question in enumerate(stream.questions) if question in live.asked]
        for online in (pl.concat(live.alone), live.together()):
            assert_they_agree(stream, online, offline[places], measures)


def counts_of(pushed: Pushed) -> tuple[int, int, int]:
    """What became of the rows of a push: new, corrections, repetitions."""
    return pushed.accepted, pushed.corrections, pushed.duplicates


def expected_counts(stream: Stream, arrived: Sequence[Arrived]) -> list[tuple[int, int, int]]:
    """The same of each push, as the obvious version has it."""
    counted = Counter((row.push, row.first) for row in arrived)
    counts = ((counted[push, True], counted[push, False]) for push in range(1, len(stream.pushes) + 1))
    return [(*fresh, len(push.rows) - sum(fresh)) for fresh, push in zip(counts, stream.pushes, strict=True)]


def rows_in(log: SegmentLog) -> int:
    """How many rows a log holds."""
    return sum(len(decode_events(record.payload).rows) for record in log.read(event_stream("events")))


def expected_features(
    stream: Stream, question: Asked, arrived: Sequence[Arrived]
) -> dict[str, tuple[object, Measure | None]]:
    """Each feature of the views as the obvious version has it, with what it measures."""
    return {
        f"{view.name}.{name}": (value, measure)
        for view in stream.world.views
        for name, value, measure in answers(view, arrived, question.entity(view.entity.keys), question.at_us)
    }


def assert_as_expected(
    stream: Stream, found: dict[str, object], expected: dict[str, tuple[object, Measure | None]]
) -> None:
    for name, (value, measure) in expected.items():
        assert agree(measure, found[name], value, stream.scale(measure)), (name, found[name], value)


def assert_they_agree(
    stream: Stream, online: pl.DataFrame, offline: pl.DataFrame, measures: Mapping[str, Measure]
) -> None:
    """Exactly, but for sums, which are added up in another order."""
    assert online.columns == offline.columns
    for name in online.columns:
        measure = measures.get(name)
        allowed = slack(measure, stream.scale(measure))
        if not allowed:
            assert online[name].to_list() == offline[name].to_list(), (name, online[name], offline[name])
            continue
        for one, other in zip(online[name], offline[name], strict=True):
            same = one is other if None in (one, other) else isclose(one, other, rel_tol=1e-9, abs_tol=allowed)
            assert same, (name, one, other)
