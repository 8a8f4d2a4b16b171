"""The operator killed at every point of a rollout, or stopped there and overtaken: that part of `operator_runs`.

The world, its lives and its points are those of the operator's tests.
"""

import importlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from claims import Measured
from running import REPOSITORY
from suite import Found

from charkha.clock import SimulatedClock
from charkha.spec.project import Project
from charkha.storage.home import open_home

Tell = Callable[[str], None]
QUICK_POINTS, QUICK_DAYS = 12, 12


@frozen(eq=False)
class Bench:
    """Where the benchmark works, and how much of it is done."""

    folder: Path
    quick: bool
    tell: Tell


def kill_points(bench: Bench) -> Found:
    """Kill the operator before and after each change of each tick that does something, and let another one go on."""
    points = _of_the_tests("kill_points")
    unlike: list[str] = []
    kinds: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for lived, day, point, expected in _points(bench):
        kinds[point.kind] += 1
        steps.update(each.action for each in lived.acts[day] if point.name.endswith(f" decide {each.key}"))
        if points.kill_and_resume(lived, day, bench.folder / "killed", point) != expected:
            unlike.append(f"{lived.life}, day {day}, {point.name}")
    said = f"of {kinds.total()} points: {_counts(kinds)}; of decisions: {_counts(steps)}"
    note = said + (f"; unlike: {', '.join(unlike[:5])}" if unlike else "")
    yield "operator_kill_points_unlike_the_undisturbed", Measured(len(unlike), note)


def overtaken(bench: Bench) -> Found:
    """Stop the operator that leads at each point where another can overtake it, and let it go on when one has."""
    stops = _of_the_tests("stop_points")
    made, refused, unlike, tried = list[str](), 0, 0, 0
    for lived, day, point, expected in _points(bench, stops.can_be_overtaken):
        found = stops.overtake(lived, day, bench.folder / "stopped", point)
        made += found.made
        refused, unlike, tried = refused + found.refused, unlike + (found.ends != expected), tried + 1
    note = f"of {tried} points, at {refused} of which it was refused a write{': ' if made else ''}{', '.join(made[:5])}"
    yield "operator_changes_made_by_an_overtaken_leader", Measured(len(made), note)
    yield "operator_overtaken_points_unlike_the_undisturbed", Measured(unlike, f"of {tried}")


def _points(
    bench: Bench, wanted: Callable[[Any], bool] = lambda point: True
) -> Iterator[tuple[Any, int, Any, dict[str, object]]]:
    """Yield the points of all lives, each with its day and what the world is when that day's tick has been made."""
    points, lives, midnight = (
        _of_the_tests("kill_points"),
        _of_the_tests("lives"),
        _of_the_tests("operator_world").midnight,
    )
    for life in lives.LIVES:
        folder = Path(tempfile.mkdtemp(dir=bench.folder))
        lived = lives.Lived(folder / life, life)
        for day, before in lived.before.items():
            dry = shutil.copytree(before, folder / f"dry-{day}")
            found = [each for each in points.points_of(lived.project, dry, midnight(day)) if wanted(each)]
            expected = points.resumed(lived.project, dry, midnight(day))
            chosen = _sample(found, len(found) * len(lived.before) // QUICK_POINTS) if bench.quick else found
            bench.tell(f"    {life}, day {day}: {len(chosen)} of {len(found)} points")
            yield from ((lived, day, point, expected) for point in chosen)


def _sample(found: list[Any], stride: int) -> list[Any]:
    """Return every so many points, and of those before and behind a decision one."""
    numbered = enumerate(found)
    return [each for at, each in numbered if at % max(1, stride) == 0 or (" decide " in each.name and at % 2)]


def whole_life(bench: Bench) -> Found:
    """Live through whole rollouts; each operator is killed at a point, the next one at the point behind it."""
    points, differ, notes = _of_the_tests("kill_points"), 0, list[str]()
    for name, life in _of_the_tests("lives").LIVES.items():
        undisturbed, _ = _lived(bench, name, life, deadly=False)
        disturbed, kills = _lived(bench, name, life, deadly=True)
        differ += points.untimed(undisturbed) != points.untimed(disturbed)
        actions = Counter(each.action for each in undisturbed["decisions"])
        notes.append(f"{name}: {kills} kills; {_counts(actions)}")
    yield "operator_life_killed_at_each_point_in_turn_differs", Measured(differ, "; ".join(notes))


def _lived(bench: Bench, name: str, life: Any, *, deadly: bool) -> tuple[dict[str, Any], int]:
    """Live one life, and return what the world is then, and how often an operator was killed."""
    points, world = _of_the_tests("kill_points"), _of_the_tests("operator_world")
    project: Project = world.make_project(bench.folder / f"{name}-{deadly}", **life.settings)
    clock, kills = SimulatedClock(world.midnight(world.FIRST_DAY)), 0
    with open_home(project.home) as home:
        traffic = world.Traffic(project, home, clock)
        for day in life.days[:QUICK_DAYS] if bench.quick else life.days:
            clock.advance_to(world.midnight(day))
            number = 0
            # What was done is not done again, so the points behind come nearer; those before are met again.
            while deadly and points.killed_at(project.root, project.home, clock.now(), number, name):
                kills, number = kills + 1, number + 1
            if not deadly:
                world.make_operator(project, home, clock).tick(world.NAME)
            life.persons(project, home, clock)
            traffic.day(day)
        made = points.world_of(home)
    # The ids of predictions are drawn by lot, so of the tables only the numbers are alike.
    return made | {"tables": {table: counted[:2] for table, counted in made["tables"].items()}}, kills


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counted.items()))


def _of_the_tests(module: str) -> Any:
    """Return a module of the operator's tests; on the path too, for the processes that it starts."""
    folder = str(REPOSITORY / "tests" / "operations")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(module)
