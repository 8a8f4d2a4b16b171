"""kill -9: an operator that dies at random instants, again and again, does what one does that never died.

The traffic is served by this process. The operator is a process of its own over the same home; it is told a time, looks
and acts, and says that it is done. Killed in between, it is started anew and told the same time again.
"""

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from operator_world import DAYS, FIRST_DAY, Traffic, make_project, memory, midnight, operate

from charkha.clock import SimulatedClock
from charkha.spec.project import Project
from charkha.storage.home import open_home

KILLS = 16
# A process that was just started is slower at its first tick.
WARMING_SECONDS = 0.03

# Forked from a server that has imported what takes long, a process is there in milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "charkha.operations.operator",
        "charkha.serving.service",
        "charkha.training.pipeline",
        "charkha.engines.local",
        "charkha.bundles.estimators",
        "charkha.words",
        "scipy.special",
        "sklearn.linear_model",
        "hypothesis",
        "pytest",
    ]
)


class OperatorProcess:
    """The operator's process, started anew whenever it was killed."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._process: BaseProcess | None = None
        self._line: Connection | None = None

    def tick(self, now_us: int, kill_after: float | None = None) -> bool:
        """Have it tick; kill it after so many seconds unless it is done. Return whether it came to its end."""
        line = self._started()
        line.send(now_us)
        if kill_after is not None and not line.poll(kill_after):
            self.kill()
            return False
        assert answer(line) == now_us
        return True

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process is gone."""
        if self._process and self._line:
            self._process.kill()
            self._process.join()
            self._line.close()
        self._process = None

    def _started(self) -> Connection:
        if self._process is None or self._line is None:
            self._line, theirs = PROCESSES.Pipe()
            self._process = PROCESSES.Process(target=operate, args=(self._project.root, theirs))
            self._process.start()
            theirs.close()
            assert answer(self._line) == "ready"
        return self._line


def answer(line: Connection) -> object:
    """Return what the operator says, when it has come to its end."""
    assert line.poll(100), "the operator said nothing for too long"
    return line.recv()


@contextmanager
def operator_process(project: Project) -> Iterator[OperatorProcess]:
    process = OperatorProcess(project)
    try:
        yield process
    finally:
        process.kill()


def live(folder: Path, seconds: dict[int, float] | None = None) -> tuple[dict[str, object], dict[int, float], int]:
    """Live through the world, and return its ledger, the seconds of each tick, and how often the operator was killed.

    seconds: how long each tick takes undisturbed; without, nobody is killed.
    """
    project, took, killed = make_project(folder), dict[int, float](), 0
    deadly = deadly_days(seconds) if seconds else []
    dice = random.Random(5)
    clock = SimulatedClock(midnight(FIRST_DAY))
    with open_home(project.home) as home, operator_process(project) as operator:
        traffic = Traffic(project, home, clock)
        for day in range(FIRST_DAY, DAYS):
            clock.advance_to(midnight(day))
            for _ in range(deadly.count(day)):
                killed += kill_at_work(operator, midnight(day), (seconds or {})[day] + WARMING_SECONDS, dice)
            started = time.perf_counter()
            operator.tick(midnight(day))
            took[day] = time.perf_counter() - started
            traffic.day(day)
        return memory(home), took, killed


def kill_at_work(operator: OperatorProcess, now_us: int, longest: float, dice: random.Random) -> bool:
    """Kill the operator within `longest` seconds of a tick; sooner when it was done before. Say if it was met."""
    for attempt in range(4):
        if not operator.tick(now_us, kill_after=dice.uniform(0, longest / 2**attempt)):
            return True
        operator.kill()
    return False


def deadly_days(seconds: dict[int, float]) -> list[int]:
    """Return a day for each kill: half of them among the six longest ticks, in which something was done."""
    busiest = sorted(seconds, key=lambda day: -seconds[day])[:6]
    dice = random.Random(3)
    return dice.choices(busiest, k=KILLS // 2) + dice.choices(sorted(seconds), k=KILLS - KILLS // 2)


@pytest.mark.slow
def test_an_operator_killed_at_random_does_what_one_does_that_never_died(tmp_path: Path) -> None:
    undisturbed, seconds, never = live(tmp_path / "undisturbed")
    disturbed, _, killed = live(tmp_path / "disturbed", seconds)
    assert never == 0
    assert killed > KILLS * 0.8, "nearly all kills should meet the operator at work"
    assert disturbed == undisturbed
    actions = [decision.action for decision in disturbed["decisions"]]  # type: ignore[attr-defined]
    assert actions.count("train") >= 3
    assert actions.count("promote") == 2
