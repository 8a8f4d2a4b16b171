"""kill -9 at the named points of a full rollout: another operator goes on, and nothing differs, nor is done twice.

Here a sample of the points, of every kind one; all of them in benchmarks/operator_runs.py.
"""

import random
import shutil
from pathlib import Path

import pytest
from kill_points import Point, kill_and_resume, points_of, resumed
from operator_world import NAME, midnight
from test_operator import Lived

from charkha.storage.home import open_home

SAMPLE = 12


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return Lived(tmp_path_factory.mktemp("lived"))


def sample(points: dict[int, list[Point]]) -> list[tuple[int, Point]]:
    """Return a point of each kind, then others by lot."""
    dice = random.Random(7)
    every = [(day, point) for day, found in points.items() for point in found]
    dice.shuffle(every)
    kinds = {point.kind: (day, point) for day, point in every}
    return [*kinds.values(), *every][: max(SAMPLE, len(kinds))]


@pytest.mark.slow
def test_killed_at_the_points_of_a_rollout_and_resumed_nothing_differs(lived: Lived, tmp_path: Path) -> None:
    points: dict[int, list[Point]] = {}
    expected: dict[int, dict[str, object]] = {}
    for day, before in lived.before.items():
        folder = shutil.copytree(before, tmp_path / f"dry-{day}")
        points[day] = points_of(lived.project, folder, midnight(day))
        expected[day] = resumed(lived.project, folder, midnight(day))  # a second tick at the same time changes nothing
    kinds = {point.kind for found in points.values() for point in found}
    assert {"before decide", "after decide", "before training", "after finish_run", "after record_version"} <= kinds
    for number, (day, point) in enumerate(sample(points)):
        copy = tmp_path / f"killed-{number}"
        found = kill_and_resume(lived.project, lived.before[day], copy, midnight(day), point)
        assert found == expected[day], f"day {day}, killed {point.name}"


def test_the_dry_run_does_what_the_undisturbed_did(lived: Lived, tmp_path: Path) -> None:
    day = max(lived.before)
    folder = shutil.copytree(lived.before[day], tmp_path / "dry")
    points = points_of(lived.project, folder, midnight(day))
    assert any(point.name.startswith("after decide visit/") for point in points)
    with open_home(folder) as home:
        made = home.ledger.decisions(NAME)
    assert made[-len(lived.acts[day]) :] == lived.acts[day]
