"""Points at which an operator can be killed: before and after each change that it makes, found by a dry run.

Every method of the ledger and of the tables that is not known to only read is taken for a change, and so is the
training: what is added to either is a point of its own without a word here.
"""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from attrs import evolve, frozen
from lives import LIVES, Lived
from operator_world import NAME, make_operator, memory, midnight, project_in, trainer

from charkha.clock import SimulatedClock
from charkha.operations.operator import Operator
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Decision
from charkha.training.pipeline import Candidate, Order
from charkha.training.tracking import NoTracker

READS = frozenset(
    {
        "api_key",
        "api_keys",
        "api_keys_counted",
        "champions",
        "checkpoint",
        "close",
        "decision",
        "decisions",
        "deployment",
        "deployments",
        "fenced",
        "generations",
        "head",
        "incidents",
        "killed",
        "lease",
        "parts",
        "read",
        "runs",
        "scan",
        "usage",
        "verify",
        "version",
        "versions",
    }
)

# In the evidence of decisions, what rests on how long calls took.
TIMED = frozenset({"latency", "latency_us", "latency_p95_ms", "slow_entities"})

# Forked from a server that has imported what takes long, a process is there in milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["test_operator_killed", "lives", "charkha.operations.operator", "charkha.training.pipeline"]
)


@frozen
class Point:
    """One point of a tick: its number, from 0, and what it is, such as "after finish_run visit/train/1"."""

    number: int
    name: str

    @property
    def kind(self) -> str:
        """The point without what it is about, such as "after finish_run"."""
        return " ".join(self.name.split()[:2])


class Watched:
    """A store that tells of each change, before and after it is made."""

    def __init__(self, store: Any, reached: Callable[[str], None]) -> None:
        self._store, self._reached = store, reached

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._store, name)
        return known if name in READS or not callable(known) else self._watched(name, known)

    def _watched(self, name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            about = getattr(arguments[0], "key", arguments[0]) if arguments else ""
            self._reached(f"before {name} {about}")
            result = change(*arguments, **named)
            self._reached(f"after {name} {about}")
            return result

        return call


def watched_operator(project: Project, home: Home, now_us: int, reached: Callable[[str], None]) -> Operator:
    """Return an operator that tells of each point that it reaches, those of its trainings too."""
    tables: Any = Watched(home.tables, reached)
    ledger: Any = Watched(home.ledger, reached)
    watched, clock = evolve(home, tables=tables, ledger=ledger), SimulatedClock(now_us)
    train = trainer(watched, clock, NoTracker())

    def told(order: Order) -> Candidate:
        reached(f"before training {order.run_key}")
        made = train(order)
        reached(f"after training {order.run_key}")
        return made

    return Operator(project, watched, clock, told, NoTracker())


def points_of(project: Project, home_folder: Path, now_us: int) -> list[Point]:
    """Return the points of a tick in the order in which it reaches them; the tick is made."""
    names: list[str] = []
    with open_home(home_folder) as home:
        watched_operator(project, home, now_us, names.append).tick(NAME)
    return [Point(number, name) for number, name in enumerate(names)]


def tick_until(root: Path, home_folder: Path, now_us: int, number: int, life: str) -> None:
    """Tick, and kill this process at a point. To be run in a process of its own."""
    reached: list[str] = []

    def reach(name: str) -> None:
        reached.append(name)
        if len(reached) > number:
            os.kill(os.getpid(), signal.SIGKILL)

    with open_home(home_folder) as home:
        watched_operator(project_in(root, **LIVES[life].settings), home, now_us, reach).tick(NAME)


def killed_at(root: Path, home_folder: Path, now_us: int, number: int, life: str = "shadow") -> bool:
    """Let an operator of a process of its own tick, killed at a point; say whether it came so far. life: of `LIVES`."""
    process = PROCESSES.Process(target=tick_until, args=(root, home_folder, now_us, number, life))
    process.start()
    process.join(100)
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the operator ended with {process.exitcode} instead of being killed")
    return process.exitcode == -signal.SIGKILL


def resumed(project: Project, home_folder: Path, now_us: int) -> dict[str, object]:
    """Let another operator go on, and return what is then: the ledger, the tables and the versions on the disk."""
    with open_home(home_folder) as home:
        make_operator(project, home, SimulatedClock(now_us)).tick(NAME)
        return world_of(home)


def world_of(home: Home) -> dict[str, object]:
    """Return all that an operator has made: two that did the same, each step once, are equal in it."""
    return {**memory(home), "tables": _tables(home), "bundles": _bundles(home)}


def untimed(world: Any) -> Any:
    """Return what a world is without how long its calls took: two lives that were served apart differ in that."""
    if isinstance(world, Decision):
        return evolve(world, evidence=untimed(world.evidence))
    if isinstance(world, Mapping):
        return {name: untimed(each) for name, each in world.items() if name not in TIMED}
    return [untimed(each) for each in world] if isinstance(world, list) else world


def _tables(home: Home) -> Mapping[str, object]:
    tables: dict[str, object] = {}
    for table in (f"predictions/{NAME}", f"labels/{NAME}"):
        rows = [home.tables.read(table, part) for part in home.tables.parts(table)]
        ids = pl.concat([each.select("id") for each in rows])["id"] if rows else pl.Series([], dtype=pl.String)
        tables[table] = (len(ids), ids.n_unique(), int(ids.hash(7).sum()))
    return tables


def _bundles(home: Home) -> Mapping[str, object]:
    folder = home.bundles / NAME
    return {each.name: sorted(file.name for file in each.iterdir()) for each in folder.iterdir() if each.is_dir()}


def kill_and_resume(lived: Lived, day: int, copy: Path, point: Point) -> dict[str, object] | None:
    """Kill an operator at a point of a day's tick, let another go on, and return what is then; None where none was.

    copy: where the tick is made, which is gone afterwards.
    """
    shutil.copytree(lived.before[day], copy)
    try:
        if not killed_at(lived.project.root, copy, midnight(day), point.number, lived.life):
            return None
        return resumed(lived.project, copy, midnight(day))
    finally:
        shutil.rmtree(copy)
