"""Who leads: taken over from the dead at once, from the silent when the lease has lapsed, and never from the living."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import evolve

from charkha.clock import SimulatedClock, SystemClock
from charkha.operations.lease import Leadership, leader_of
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import LEASE, Draft, LeaseLost
from charkha.storage.processes import Process

NEVER = threading.Event()
NOW_US = 1_700_000_000_000_000
AT_ONCE = 0.0
SHORT_SECONDS = 0.5


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as home:
        yield home


def draft(key: str) -> Draft:
    return Draft(key, 5, "late", "operator", "train", "due", {})


def test_one_leads_and_another_does_not_get_its_turn(home: Home) -> None:
    first, second = Leadership(home.ledger, SystemClock()), Leadership(home.ledger, SystemClock())
    with first.held(NEVER) as leads:
        assert leads
        with second.held(NEVER, AT_ONCE) as led_too:
            assert not led_too
        found = leader_of(home.ledger, SystemClock().now())
        assert found is not None
        assert (found.term, found.process.pid) == (1, os.getpid())
    assert leader_of(home.ledger, SystemClock().now()) is None
    with second.held(NEVER, AT_ONCE) as led:
        assert (led, second.term) == (True, 2)


def test_the_lease_is_renewed_while_it_is_held(home: Home) -> None:
    with Leadership(home.ledger, SystemClock(), lasts_seconds=SHORT_SECONDS).held(NEVER):
        waits_for(lambda: (found := home.ledger.lease(LEASE)) is not None and found.renewals >= 2)
        other = Leadership(home.ledger, SystemClock(), lasts_seconds=60)
        with other.held(NEVER, AT_ONCE) as led:
            assert not led


def test_a_clock_that_stands_still_or_goes_wrong_makes_no_second_leader_that_writes(home: Home) -> None:
    """The second's clock is a day ahead: it takes over without need, and the first cannot write any more."""
    first, second = Leadership(home.ledger, SimulatedClock(NOW_US)), Leadership(home.ledger, SimulatedClock(2 * NOW_US))
    mine, theirs = first.fenced(home), second.fenced(home)
    with ExitStack() as stack:
        assert stack.enter_context(first.held(NEVER))
        mine.ledger.decide(draft("one"))
        assert stack.enter_context(second.held(NEVER, AT_ONCE))
        with pytest.raises(LeaseLost):
            mine.ledger.decide(draft("two"))
        theirs.ledger.decide(draft("two"))
    assert [each.key for each in home.ledger.decisions()] == ["one", "two"]


def test_a_leader_whose_clock_is_ahead_is_not_waited_for_when_it_is_silent(home: Home) -> None:
    elsewhere = Process("another machine", "1", 7, "99")
    with Leadership(home.ledger, SimulatedClock(2 * NOW_US)).held(NEVER):
        found = home.ledger.lease(LEASE)
        assert found is not None
    home.ledger.take_lease(LEASE, evolve(found, process=elsewhere), dead=home.ledger.lease(LEASE))
    began = time.perf_counter()
    with Leadership(home.ledger, SimulatedClock(NOW_US), lasts_seconds=SHORT_SECONDS).held(NEVER, 20.0) as leads:
        assert leads
    assert time.perf_counter() - began >= SHORT_SECONDS


LEAD = """
import sys, threading
from pathlib import Path
from charkha.clock import SystemClock
from charkha.operations.lease import Leadership
from charkha.storage.home import open_home
from charkha.storage.ledger import Draft
with open_home(Path(sys.argv[1])) as opened:
    leadership = Leadership(opened.ledger, SystemClock(), lasts_seconds=float(sys.argv[2]))
    home = leadership.fenced(opened)
    with leadership.held(threading.Event()):
        print("leads", flush=True)
        for line in sys.stdin:
            try:
                home.ledger.decide(Draft(line.strip(), 5, "late", "operator", "train", "due", {}))
            except Exception as error:
                print(type(error).__name__, flush=True)
            else:
                print("written", flush=True)
"""


class Leader:
    """A process that leads, and writes what it is told to."""

    def __init__(self, home: Path, lasts_seconds: float) -> None:
        command = [sys.executable, "-c", LEAD, str(home), str(lasts_seconds)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "leads"

    def write(self, key: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{key}\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def leader(home: Home) -> Iterator[Callable[[float], Leader]]:
    started: list[Leader] = []

    def start(lasts_seconds: float) -> Leader:
        started.append(Leader(home.folder, lasts_seconds))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the end of a process is seen when its lease has lapsed")
def test_a_leader_that_was_killed_is_taken_over_from_at_once(home: Home, leader: Callable[[float], Leader]) -> None:
    """Its lease would last an hour; even before its parent has noticed, it is seen to be gone."""
    first = leader(3600)
    assert first.write("one") == "written"
    first.process.send_signal(signal.SIGKILL)
    with Leadership(home.ledger, SystemClock()).held(NEVER, 20.0) as leads:
        assert leads


def test_a_leader_that_was_stopped_is_overtaken_and_writes_nothing_when_it_goes_on(
    home: Home, leader: Callable[[float], Leader]
) -> None:
    first = leader(SHORT_SECONDS)
    assert first.write("one") == "written"
    first.process.send_signal(signal.SIGSTOP)
    second = Leadership(home.ledger, SystemClock(), lasts_seconds=60)
    with second.held(NEVER, 60.0) as leads:
        assert leads
        second.fenced(home).ledger.decide(draft("two"))
        first.process.send_signal(signal.SIGCONT)
        assert first.write("three") == "LeaseLost"
    assert [each.key for each in home.ledger.decisions()] == ["one", "two"]


def waits_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    until = time.perf_counter() + seconds
    while not condition():
        assert time.perf_counter() < until
        time.sleep(0.01)
