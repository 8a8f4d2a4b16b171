"""Real processes appending, killed at any instant."""

import random
import time
from pathlib import Path

from killed_children import CONTEXT, append_forever, last_of, run_and_kill

from charkha.storage.segment_log import SegmentLog


def numbers_of(payloads: list[bytes], name: bytes) -> list[int]:
    return [int(number) for who, number, _ in (payload.split(b" ", 2) for payload in payloads) if who == name]


def test_a_killed_writer_loses_and_repeats_nothing(tmp_path: Path) -> None:
    instants, log = random.Random(7), SegmentLog(tmp_path, segment_bytes=4 << 20)
    survivor, position, seen, appended = log.writer("events", "shared"), dict[str, int](), list[bytes](), 0
    for _ in range(48):
        after_seconds = instants.uniform(0, 0.02)
        acknowledged = run_and_kill(append_forever, tmp_path, b"child", appended, after_seconds=after_seconds)
        for record in log.read("events", position):
            position[record.partition] = record.end
            seen.append(record.payload[:20])
        numbers = numbers_of(seen, b"child")
        appended = len(numbers)
        assert numbers == list(range(appended))
        assert appended - acknowledged in (0, 3)
        survivor.append([b"survivor %d " % (len(seen) - appended)])
    payloads = [record.payload for record in SegmentLog(tmp_path).read("events")]
    assert numbers_of(payloads, b"child") == list(range(appended))
    assert numbers_of(payloads, b"survivor") == list(range(48))


def test_two_processes_append_to_one_partition_while_it_is_read(tmp_path: Path) -> None:
    log, position, seen = SegmentLog(tmp_path), dict[str, int](), list[bytes]()
    pipes = [CONTEXT.Pipe(duplex=False) for _ in range(2)]
    children = [
        CONTEXT.Process(target=append_forever, args=(sending, tmp_path, name, 0))
        for name, (_, sending) in zip((b"one", b"other"), pipes, strict=True)
    ]
    for child, (_, sending) in zip(children, pipes, strict=True):
        child.start()
        sending.close()
    first = [receiving.recv() for receiving, _ in pipes]
    reading_until = time.perf_counter() + 0.5
    while time.perf_counter() < reading_until:
        for record in log.read("events", position):
            position[record.partition] = record.end
            seen.append(record.payload[:20])
    for child in children:
        child.kill()
        child.join()
    seen += [record.payload[:20] for record in log.read("events", position)]
    for name, (receiving, _), count in zip((b"one", b"other"), pipes, first, strict=True):
        numbers = numbers_of(seen, name)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) - last_of(receiving, count) in (0, 3)
    assert [record.payload[:20] for record in SegmentLog(tmp_path).read("events")] == seen
