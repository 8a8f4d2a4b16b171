"""What is metered of a process, against what it did."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from charkha.clock import SimulatedClock
from charkha.storage.gpu import GpuSampler
from charkha.storage.ledger import WHOLE, Usage
from charkha.storage.metering import ChildMeter, Meter, used_here

LINUX = sys.platform == "linux"


def meter(told: list[Usage]) -> Meter:
    return Meter(
        kind="training", run="late/train/1", model="late", team="eta", clock=SimulatedClock(7), on_usage=told.append
    )


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_stage_is_told_what_it_used(tmp_path: Path) -> None:
    told: list[Usage] = []
    before = used_here()
    with meter(told).stage("fit"):
        burn(0.15)
        kept = bytearray(60_000_000)
        (tmp_path / "file").write_bytes(bytes(1_000_000))
        del kept
    (usage,) = told
    assert (usage.stage, usage.run, usage.team, usage.began_us) == ("fit", "late/train/1", "eta", 7)
    assert 0.15 <= usage.cpu_seconds <= used_here().cpu_seconds - before.cpu_seconds
    assert usage.wall_seconds >= 0.15
    if LINUX:
        assert usage.peak_bytes is not None
        assert usage.peak_bytes > 60_000_000
        assert usage.written_bytes is not None
        assert 1_000_000 <= usage.written_bytes < 1_200_000
        assert usage.memory_gb_seconds == pytest.approx(usage.peak_bytes / 1e9 * usage.wall_seconds)


@pytest.mark.skipif(not LINUX, reason="the peak of a process is forgotten by Linux alone")
def test_the_peak_is_that_of_the_stage() -> None:
    told: list[Usage] = []
    metered = meter(told)
    with metered.stage("features"):
        kept = bytearray(200_000_000)
        del kept
    with metered.stage("fit"):
        pass
    first, second = (each.peak_bytes or 0 for each in told)
    assert first - second > 100_000_000
    assert told[0].id != told[1].id


def test_a_stage_that_fails_is_told_too() -> None:
    told: list[Usage] = []
    with pytest.raises(ValueError, match="no"), meter(told).stage("fit"):
        raise ValueError("no")
    assert [each.stage for each in told] == ["fit"]


def test_the_whole_of_a_run_has_the_highest_peak_and_all_the_time() -> None:
    told: list[Usage] = []
    metered = meter(told)
    with metered.whole():
        with metered.stage("features"):
            kept = bytearray(100_000_000)
            del kept
        with metered.stage("fit"):
            burn(0.05)
    first, second, whole = told
    assert whole.stage == WHOLE
    assert whole.cpu_seconds >= first.cpu_seconds + second.cpu_seconds
    assert whole.peak_bytes == (max(first.peak_bytes or 0, second.peak_bytes or 0) or None)


CHILD = """
import sys, time
kept = bytearray(80_000_000)
open(sys.argv[1], "wb").write(bytes(2_000_000))
until = time.process_time() + 0.3
while time.process_time() < until: pass
sys.stdin.read(1) if len(sys.argv) > 2 else None
sys.exit(3)
"""


def start(tmp_path: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", CHILD, str(tmp_path / "file"), *more]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)


def test_a_child_is_metered_as_a_whole(tmp_path: Path) -> None:
    told: list[Usage] = []
    with start(tmp_path) as child:
        metered = ChildMeter(meter(told), child)
        assert metered.wait(60) == 3
        assert child.poll() == 3
        metered.close()
    (usage,) = told
    assert usage.stage == WHOLE
    assert 0.3 <= usage.cpu_seconds < 5
    assert usage.peak_bytes is not None
    assert usage.peak_bytes > 80_000_000
    if LINUX:
        assert usage.written_bytes is not None
        assert 2_000_000 <= usage.written_bytes < 2_200_000


@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_a_child_that_does_not_end_in_time_is_metered_as_far_as_it_came(tmp_path: Path) -> None:
    told: list[Usage] = []
    child = start(tmp_path, "waits")
    try:
        metered = ChildMeter(meter(told), child)
        with pytest.raises(subprocess.TimeoutExpired):
            metered.wait(1.5)
        metered.close()
    finally:
        child.kill()
        child.communicate()
    (usage,) = told
    assert usage.cpu_seconds > 0
    assert usage.peak_bytes


def test_device_seconds_are_those_of_our_processes() -> None:
    asked = threading.Event()

    def holders() -> Sequence[set[int]]:
        asked.set()
        return [{os.getpid(), 1}, {1}, {os.getpid()}]

    began = time.perf_counter()
    sampler = GpuSampler(os.getpgrp(), holders, every_seconds=0.01)
    assert asked.wait(5)
    time.sleep(0.1)
    sampler.close()
    seconds = sampler.seconds()
    assert seconds is not None
    assert 0 < seconds <= 2 * (time.perf_counter() - began)


def test_what_cannot_be_told_of_devices_is_unknown_and_none_is_none() -> None:
    unknown = GpuSampler(os.getpgrp(), lambda: None, every_seconds=0.01)
    for _ in range(500):
        if unknown.seconds() is None:
            break
        time.sleep(0.01)
    assert unknown.seconds() is None
    assert GpuSampler(os.getpgrp(), None).seconds() == 0.0
