"""The segment log against a plain list: torn appends, changed bytes, rolled segments, several writers."""

import logging
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from charkha.storage import segment_log
from charkha.storage.log import LogCorrupt, Record
from charkha.storage.segment_format import HEADER_BYTES, frame
from charkha.storage.segment_log import SegmentLog
from charkha.storage.segments import Segment, settled_end, whole_end

Batch = list[bytes]
BATCHES = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), min_size=1, max_size=8)


def segment_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.segment"))


def write_log(folder: Path, batches: list[Batch], segment_bytes: int = 1 << 20) -> None:
    writer = SegmentLog(folder, segment_bytes=segment_bytes).writer("s", "p")
    for batch in batches:
        writer.append(batch)
    writer.close()


def read_batches(folder: Path) -> Batch:
    return [record.payload for record in SegmentLog(folder).read("s")]


def read_until_damage(folder: Path) -> tuple[Batch, Path | None]:
    seen = []
    try:
        for record in SegmentLog(folder).read("s"):
            seen.append(record.payload)
    except LogCorrupt as error:
        return seen, error.file
    return seen, None


def joined(batches: list[Batch]) -> Batch:
    return [payload for batch in batches for payload in batch]


class LogAgainstAList(RuleBasedStateMachine):
    """Two writers, a polling reader and crashes in mid-append: what was acknowledged is there once and in order."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.log = SegmentLog(self.folder, segment_bytes=120)
        self.writers = [self.log.writer("s", "p"), SegmentLog(self.folder, segment_bytes=70).writer("s", "p")]
        self.expected: Batch = []
        self.polled: list[Record] = []

    @rule(which=st.integers(0, 1), sizes=st.lists(st.integers(0, 60), max_size=4))
    def append(self, which: int, sizes: list[int]) -> None:
        batch = [b"%d:" % (len(self.expected) + index) + b"x" * size for index, size in enumerate(sizes)]
        end = self.writers[which].append(batch)
        self.expected += batch
        assert self.log.end("s") == {"p": end}

    @rule(sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4), cut=st.integers(1, 10_000))
    def crash_in_an_append(self, sizes: list[int], cut: int) -> None:
        offset = self.writers[0].append([])
        data = frame([b"lost" * size for size in sizes], offset)
        with segment_files(self.folder)[-1].open("ab") as file:
            file.write(data[: 1 + cut % (len(data) - 1)])

    @rule(which=st.integers(0, 1))
    def start_again(self, which: int) -> None:
        self.writers[which].close()
        self.log = SegmentLog(self.folder, segment_bytes=120)
        self.writers[which] = self.log.writer("s", "p")

    @rule()
    def poll(self) -> None:
        position = {"p": self.polled[-1].end} if self.polled else None
        self.polled += self.log.read("s", position)
        assert [record.payload for record in self.polled] == self.expected

    @invariant()
    def the_log_is_the_list(self) -> None:
        assert [record.payload for record in self.log.read("s")] == self.expected

    def teardown(self) -> None:
        for writer in self.writers:
            writer.close()
        self.temporary.cleanup()


LogAgainstAList.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestLogAgainstAList = LogAgainstAList.TestCase


@settings(deadline=None)
@given(batches=BATCHES, more=BATCHES, cut=st.integers(0, 10_000), garbage=st.binary(max_size=30))
def test_a_torn_append_is_cut_at_any_byte(batches: list[Batch], more: list[Batch], cut: int, garbage: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder, batches)
        [file] = segment_files(folder)
        ends = [0]
        for batch in batches:
            ends.append(ends[-1] + sum(HEADER_BYTES + len(payload) for payload in batch))
        cut %= ends[-1] + 1
        before = file.read_bytes()
        file.write_bytes(before[:cut] + garbage)
        same = len(os.path.commonprefix([before, file.read_bytes()]))  # noqa: RUF071 (garbage may be what was cut)
        whole = joined([batch for batch, end in zip(batches, ends[1:], strict=True) if end <= same])
        assert read_batches(folder) == whole
        write_log(folder, more)
        assert read_batches(folder) == whole + joined(more)


@settings(deadline=None)
@given(
    batches=BATCHES,
    segment_bytes=st.sampled_from([60, 1 << 20]),
    place=st.integers(0, 10_000),
    change=st.integers(1, 255),
)
def test_a_changed_byte_is_never_read(batches: list[Batch], segment_bytes: int, place: int, change: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder, batches, segment_bytes)
        files = segment_files(folder)
        file = files[place % len(files)]
        content = bytearray(file.read_bytes())
        if not content:
            return
        content[place % len(content)] ^= change
        file.chmod(0o644)
        file.write_bytes(content)
        seen, damage = read_until_damage(folder)
        assert seen == joined(batches)[: len(seen)]
        # Only the very last append can pass for one that was never completed.
        assert damage == file or (damage is None and file == files[-1] and seen == joined(batches[:-1]))


def test_a_damaged_record_before_whole_ones_stops_readers_and_writers(tmp_path: Path) -> None:
    write_log(tmp_path, [[b"first"], [b"second"], [b"third"]])
    [file] = segment_files(tmp_path)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"second", b"sEcond"))
    log, where = SegmentLog(tmp_path), HEADER_BYTES + len(b"first")
    for attempt in (lambda: log.end("s"), lambda: log.read("s"), lambda: log.writer("s", "p").append([b"fourth"])):
        with pytest.raises(LogCorrupt, match=f"truncate -s {where} ") as caught:
            attempt()
        assert (caught.value.file, caught.value.offset, caught.value.position) == (file, where, where)
    assert len(file.read_bytes()) == len(content)


def test_a_damaged_sealed_segment_is_read_up_to_the_damage(tmp_path: Path) -> None:
    write_log(tmp_path, [[b"a" * 30], [b"b" * 30], [b"c" * 30], [b"d" * 30]], segment_bytes=80)
    first = segment_files(tmp_path)[0]
    first.chmod(0o644)
    first.write_bytes(first.read_bytes().replace(b"bbb", b"bBb", 1))
    assert read_until_damage(tmp_path) == ([b"a" * 30], first)
    assert SegmentLog(tmp_path).writer("s", "p").append([b"e"]) > 0


def test_a_shortened_sealed_segment_is_corrupt(tmp_path: Path) -> None:
    write_log(tmp_path, [[b"a" * 30], [b"b" * 30], [b"c" * 30]], segment_bytes=80)
    first = segment_files(tmp_path)[0]
    os.truncate(first, first.stat().st_size - 3)
    with pytest.raises(LogCorrupt):
        list(SegmentLog(tmp_path).read("s"))


def test_what_follows_the_advice_of_the_error_reads_again(tmp_path: Path) -> None:
    write_log(tmp_path, [[b"first"], [b"second"], [b"third"]])
    [file] = segment_files(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"second", b"sEcond"))
    with pytest.raises(LogCorrupt) as caught:
        SegmentLog(tmp_path).end("s")
    subprocess.run(str(caught.value).rsplit(": ", 1)[1].split(), check=True)
    write_log(tmp_path, [[b"again"]])
    assert read_batches(tmp_path) == [b"first", b"again"]


def test_a_copy_of_a_record_in_a_torn_append_is_not_a_record(tmp_path: Path) -> None:
    write_log(tmp_path, [[b"first"]])
    [file] = segment_files(tmp_path)
    inner = frame([b"inner"], 0)
    with file.open("ab") as opened:
        opened.write(frame([inner * 5], file.stat().st_size)[:-1])
    write_log(tmp_path, [[b"second"]])
    assert read_batches(tmp_path) == [b"first", b"second"]


def test_cutting_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_log(tmp_path, [[b"first"]])
    [file] = segment_files(tmp_path)
    with file.open("ab") as opened:
        opened.write(b"12345")
    with caplog.at_level(logging.WARNING):
        write_log(tmp_path, [[b"second"]])
    assert [record.getMessage() for record in caplog.records] == [
        f"cut 5 bytes of an append that was never completed from {file}"
    ]


def test_segments_are_sealed_at_their_size_and_offsets_go_on(tmp_path: Path) -> None:
    write_log(tmp_path, [[b"x" * 50]] * 10, segment_bytes=150)
    files = segment_files(tmp_path)
    bases = [int(file.stem) for file in files]
    assert [base + file.stat().st_size for base, file in zip(bases, files, strict=True)][:-1] == bases[1:]
    assert all(file.stat().st_size >= 150 for file in files[:-1])
    assert [bool(file.stat().st_mode & 0o222) for file in files] == [False] * (len(files) - 1) + [True]


def test_sealing_reads_under_its_lock_only_what_came_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SegmentLog(tmp_path)
    writer = log.writer("s", "p")
    known = writer.append([b"one"] * 100)
    looked_from: list[int] = []

    def looks(segment: Segment, start: int) -> int:
        end = whole_end(segment, start)
        writer.append([b"two"])
        return end

    def settles(segment: Segment, start: int) -> int:
        looked_from.append(start)
        return settled_end(segment, start)

    monkeypatch.setattr(segment_log, "whole_end", looks)
    monkeypatch.setattr(segment_log, "settled_end", settles)
    log.seal("s", "p")
    monkeypatch.undo()
    assert looked_from == [known]
    writer.append([b"three"])
    assert [record.payload for record in log.read("s")] == [b"one"] * 100 + [b"two", b"three"]
    (sealed,) = log.sealed("s")
    assert sealed.end == known + HEADER_BYTES + 3


def test_a_crash_between_sealing_and_the_next_segment_is_gone_on_from(tmp_path: Path) -> None:
    write_log(tmp_path, [[b"first"]])
    [file] = segment_files(tmp_path)
    file.chmod(0o444)
    write_log(tmp_path, [[b"second"]])
    assert read_batches(tmp_path) == [b"first", b"second"]
    assert len(segment_files(tmp_path)) == 2


def test_a_record_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    batches = [[b"small"], [os.urandom(3 << 20), b"beside it"], [b"x" * (1 << 20)], [b"end"]]
    write_log(tmp_path, batches)
    assert read_batches(tmp_path) == joined(batches)


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='fsync: expected "never" or "always", got \'sometimes\''):
        SegmentLog(tmp_path, fsync="sometimes")  # type: ignore[arg-type]


def test_a_small_record_is_appended_in_microseconds(tmp_path: Path) -> None:
    writer, payload = SegmentLog(tmp_path).writer("s", "p"), [b"x" * 200]
    # The processor time of this thread alone: what else the machine does is not ours. It takes 5 µs, of which the
    # system calls are three quarters.
    best = 1.0
    for _ in range(20):
        began = time.thread_time()
        for _ in range(300):
            writer.append(payload)
        best = min(best, (time.thread_time() - began) / 300)
    writer.close()
    assert best < 20e-6


APPEND_TO_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from charkha.storage.segment_log import SegmentLog
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SegmentLog(Path(sys.argv[1]))
writer = log.writer("s", "p")
writer.append([b"fits"])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    writer.append([b"one", b"x" * 2000])
except OSError as error:
    print(error.errno)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append([b"fits again"])
print([record.payload for record in log.read("s")])
"""


def test_an_append_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", APPEND_TO_A_FULL_DISK, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "27\n[b'fits', b'fits again']\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


FORK_WITH_A_WRITER = """
import os, sys
from pathlib import Path
from charkha.storage.segment_log import SegmentLog
log = SegmentLog(Path(sys.argv[1]), segment_bytes=2000)
writer = log.writer("s", "p")
writer.append([b"before"])
child = os.fork()
who = b"parent" if child else b"child"
for number in range(300):
    writer.append([b"%s %d" % (who, number), b"end"])
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_parent_and_forked_child_both_go_on_with_one_writer(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK_WITH_A_WRITER, tmp_path], check=True)
    first, *seen = read_batches(tmp_path)
    assert first == b"before"
    assert seen[1::2] == [b"end"] * 600
    for who in (b"parent", b"child"):
        mine = [payload for payload in seen[::2] if payload.startswith(who)]
        assert mine == [b"%s %d" % (who, number) for number in range(300)]
