"""Real processes appending, killed at any instant."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from charkha.storage.segment_log import SegmentLog

# Appends batches of three numbered records of random size; after each it says how many it has had acknowledged.
APPEND_FOREVER = """
import os, random, sys
from pathlib import Path
from charkha.storage.segment_log import SegmentLog
folder, name, number, segment_bytes = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])
writer = SegmentLog(folder, segment_bytes=segment_bytes).writer("events", "shared")
sizes = random.Random(number)
while True:
    writer.append([b"%s %d " % (name, number + i) + b"x" * sizes.choice((10, 1000, 300_000)) for i in range(3)])
    number += 3
    os.write(1, number.to_bytes(8))
"""
SEGMENT_BYTES = 4 << 20


def start_child(folder: Path, name: str, number: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", APPEND_FOREVER, str(folder), name, str(number), str(SEGMENT_BYTES)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def pipe(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def numbers_of(payloads: list[bytes], name: bytes) -> list[int]:
    return [int(number) for who, number, _ in (payload.split(b" ", 2) for payload in payloads) if who == name]


@pytest.mark.slow
def test_a_killed_writer_loses_and_repeats_nothing(tmp_path: Path) -> None:
    instants, log = random.Random(7), SegmentLog(tmp_path, segment_bytes=SEGMENT_BYTES)
    survivor, position, seen, appended = log.writer("events", "shared"), dict[str, int](), list[bytes](), 0
    for _ in range(36):
        child = start_child(tmp_path, "child", appended)
        with pipe(child) as output:
            acknowledged = output.read(8)
            time.sleep(instants.uniform(0, 0.03))
            child.send_signal(signal.SIGKILL)
            child.wait()
            acknowledged += output.read()
        for record in log.read("events", position):
            position[record.partition] = record.end
            seen.append(record.payload)
        numbers = numbers_of(seen, b"child")
        appended = len(numbers)
        assert numbers == list(range(appended))
        assert appended - int.from_bytes(acknowledged[-8:]) in (0, 3)
        survivor.append([b"survivor %d " % (len(seen) - appended)])
    payloads = [record.payload for record in SegmentLog(tmp_path).read("events")]
    assert numbers_of(payloads, b"child") == list(range(appended))
    assert numbers_of(payloads, b"survivor") == list(range(36))


def test_two_processes_append_to_one_partition_while_it_is_read(tmp_path: Path) -> None:
    log, position, seen = SegmentLog(tmp_path), dict[str, int](), list[bytes]()
    children = [start_child(tmp_path, name, 0) for name in ("one", "other")]
    for child in children:
        pipe(child).read(8)
    reading_until = time.perf_counter() + 1.0
    while time.perf_counter() < reading_until:
        for record in log.read("events", position):
            position[record.partition] = record.end
            seen.append(record.payload[:20])
    for child in children:
        child.kill()
        acknowledged = pipe(child).read()
        child.wait()
        pipe(child).close()
        assert len(acknowledged) > 0
    seen += [record.payload[:20] for record in log.read("events", position)]
    for name in (b"one", b"other"):
        numbers = numbers_of(seen, name)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > 30
    assert [record.payload[:20] for record in SegmentLog(tmp_path).read("events")] == seen
