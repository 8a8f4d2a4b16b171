"""kill -9 at the named points of full rollouts: another operator goes on, and nothing differs, nor is done twice.

Here a sample of the points, of every kind one; all of them in benchmarks/operator_runs.py.
"""

import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from kill_points import Point, kill_and_resume, points_of, resumed
from lives import LIVES, Lived
from operator_world import NAME, midnight

from charkha.storage.home import open_home

SAMPLE = 12


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lived]:
    return cache(lambda life: Lived(tmp_path_factory.mktemp(life), life))


def sample(points: dict[int, list[Point]]) -> list[tuple[int, Point]]:
    """Return a point of each kind, then others by lot."""
    dice = random.Random(7)
    every = [(day, point) for day, found in points.items() for point in found]
    dice.shuffle(every)
    kinds = {point.kind: (day, point) for day, point in every}
    return [*kinds.values(), *every][: max(SAMPLE, len(kinds))]


def of_live_stages(lived: Lived, points: dict[int, list[Point]]) -> list[tuple[int, Point]]:
    """Return, of each kind of step of a live stage, the point before its decision or after it, in turn."""
    steps = {each.key: (each.action, day) for day, made in lived.acts.items() for each in made}
    found: dict[str, tuple[int, Point]] = {}
    for key, (action, day) in steps.items():
        when = "before" if len(found) % 2 else "after"
        if action in ("canary", "ab_test", "continue", "propose", "promote", "retract"):
            found.setdefault(action, next((day, each) for each in points[day] if each.name == f"{when} decide {key}"))
    return list(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("life", LIVES)
def test_killed_at_the_points_of_a_rollout_and_resumed_nothing_differs(
    lived: Callable[[str], Lived], life: str, tmp_path: Path
) -> None:
    world = lived(life)
    points: dict[int, list[Point]] = {}
    expected: dict[int, dict[str, object]] = {}
    for day, before in world.before.items():
        folder = shutil.copytree(before, tmp_path / f"dry-{day}")
        points[day] = points_of(world.project, folder, midnight(day))
        expected[day] = resumed(world.project, folder, midnight(day))  # a second tick at the same time changes nothing
    kinds = {point.kind for found in points.values() for point in found}
    assert {"before decide", "after decide", "before training", "after finish_run", "after record_version"} <= kinds
    chosen = sample(points) if life == "shadow" else of_live_stages(world, points)
    for number, (day, point) in enumerate(chosen):
        found = kill_and_resume(world, day, tmp_path / f"killed-{number}", point)
        assert found == expected[day], f"day {day}, killed {point.name}"


def test_between_them_the_lives_take_every_step_of_a_rollout(lived: Callable[[str], Lived]) -> None:
    assert lived("live").actions == [
        "train",
        "promote",
        "train_refused",  # it fell within the cooldown
        "train",
        "shadow",
        "canary",
        "canary",
        "ab_test",
        "propose",
        "promote",
    ]
    assert lived("equal").actions == ["train", "promote", "canary", "ab_test", *["continue"] * 3, "retract"]


def test_the_dry_run_does_what_the_undisturbed_did(lived: Callable[[str], Lived], tmp_path: Path) -> None:
    world = lived("shadow")
    day = max(world.before)
    folder = shutil.copytree(world.before[day], tmp_path / "dry")
    points = points_of(world.project, folder, midnight(day))
    assert any(point.name.startswith("after decide visit/") for point in points)
    with open_home(folder) as home:
        made = home.ledger.decisions(NAME)
    assert made[-len(world.acts[day]) :] == world.acts[day]
