"""An operator that is stopped at a point while it leads, overtaken, and let go on: what it still changes, and may not.

A process that hangs, or whose machine was suspended, knows nothing of the time that has passed. It goes on where it
was, with what it had seen, and would write that; the fence of its lease is what keeps it from the ledger.
"""

import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from attrs import frozen
from kill_points import PROCESSES, Point, watched_operator, world_of
from lives import LIVES, Lived
from operator_world import NAME, make_operator, midnight, project_in

from charkha.clock import SimulatedClock, SystemClock
from charkha.operations.lease import Leadership
from charkha.storage.home import open_home
from charkha.storage.ledger import LeaseLost

LASTS_SECONDS = 0.3
WAIT_SECONDS = 60.0
# Points at which no lock of files is held: whoever hangs with one is waited for, and nobody overtakes it.
OF_THE_LEDGER = ("decide", "begin_run", "finish_run", "record_version", "training")


@frozen(eq=False)
class Overtaken:
    """What became of a leader that was stopped. refused: whether a write of its was. made: the changes it made after
    another had led. ends: all that the world is then, as of `world_of`.
    """

    refused: bool
    made: tuple[str, ...]
    ends: dict[str, object]


def can_be_overtaken(point: Point) -> bool:
    """Say whether somebody else can do the whole tick while an operator is stopped at a point."""
    return point.name.split()[1] in OF_THE_LEDGER


def lead_until(
    root: Path, home_folder: Path, now_us: int, number: int, life: str, fenced: bool, told: Connection
) -> None:
    """Lead and tick, and stop this process at a point. Tells what it has changed since, and whether it was refused."""
    logging.getLogger("charkha.operations.lease").setLevel(logging.ERROR)  # that it is overtaken is no news here
    reached: list[str] = []

    def reach(name: str) -> None:
        reached.append(name)
        if len(reached) == number + 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    refused = False
    with open_home(home_folder) as home:
        leadership = Leadership(home.ledger, SystemClock(), lasts_seconds=LASTS_SECONDS)
        with leadership.held(threading.Event()):
            mine = leadership.fenced(home) if fenced else home
            try:
                watched_operator(project_in(root, **LIVES[life].settings), mine, now_us, reach).tick(NAME)
            except LeaseLost:
                refused = True
    told.send((refused, [name for name in reached[number + 1 :] if name.startswith("after")]))


def overtake(lived: Lived, day: int, copy: Path, point: Point, *, fenced: bool = True) -> Overtaken:
    """Stop the leader at a point of a day's tick, let another do the tick, and let the first go on.

    copy: where the tick is made, which is gone afterwards. fenced: whether the first leads as operators do.
    """
    shutil.copytree(lived.before[day], copy)
    mine, theirs = PROCESSES.Pipe()
    arguments = (lived.project.root, copy, midnight(day), point.number, lived.life, fenced, theirs)
    process = PROCESSES.Process(target=lead_until, args=arguments)
    process.start()
    try:
        _wait_until_stopped(process)
        with open_home(copy) as home:
            leadership = Leadership(home.ledger, SystemClock(), lasts_seconds=LASTS_SECONDS)
            with leadership.held(threading.Event(), WAIT_SECONDS) as leads:
                if not leads:
                    raise RuntimeError("nobody overtook the operator that was stopped")
                make_operator(lived.project, leadership.fenced(home), SimulatedClock(midnight(day))).tick(NAME)
                os.kill(process.pid or 0, signal.SIGCONT)
                if not mine.poll(WAIT_SECONDS):
                    raise RuntimeError(f"the operator said nothing after {point.name}")
                refused, made = mine.recv()
            return Overtaken(refused, tuple(made), world_of(home))
    finally:
        process.kill()
        process.join()
        mine.close()
        shutil.rmtree(copy)


def _wait_until_stopped(process: multiprocessing.process.BaseProcess) -> None:
    """Wait until a process has stopped itself."""
    status, until = Path(f"/proc/{process.pid}/stat"), time.monotonic() + WAIT_SECONDS
    while status.read_text().rpartition(")")[2].split()[0] != "T":
        if time.monotonic() > until or not process.is_alive():
            raise RuntimeError("the operator was not stopped at its point")
        time.sleep(0.01)
