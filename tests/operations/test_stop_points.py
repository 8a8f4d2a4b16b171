"""An operator that hangs while it leads, is overtaken and goes on: it changes nothing any more, wherever it hung."""

import shutil
import sys
from pathlib import Path

import pytest
from kill_points import Point, points_of, resumed
from lives import Lived
from operator_world import midnight
from stop_points import can_be_overtaken, overtake

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of processes in files")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return Lived(tmp_path_factory.mktemp("lived"), "equal")


def points(lived: Lived, day: int, copy: Path) -> tuple[list[Point], dict[str, object]]:
    """Return the points of a day's tick at which it can be overtaken, and what the world is after it."""
    shutil.copytree(lived.before[day], copy)
    found = points_of(lived.project, copy, midnight(day))
    return list(filter(can_be_overtaken, found)), resumed(lived.project, copy, midnight(day))


def test_who_was_overtaken_changes_nothing_any_more(lived: Lived, tmp_path: Path) -> None:
    first, last = min(lived.before), max(lived.before)
    (training,) = [
        each for each in points(lived, first, tmp_path / "first")[0] if each.name.startswith("after training")
    ]
    ending, expected = points(lived, last, tmp_path / "last")
    for day, point in ((first, training), (last, ending[0])):
        found = overtake(lived, day, tmp_path / "stopped", point)
        assert (found.refused, found.made) == (True, ()), point.name
    assert found.ends == expected


def test_without_the_fence_it_would(lived: Lived, tmp_path: Path) -> None:
    """So this can fail. That even then nothing is done twice is the merit of the keys of decisions."""
    day = max(lived.before)
    found_points, expected = points(lived, day, tmp_path / "dry")
    found = overtake(lived, day, tmp_path / "stopped", found_points[0], fenced=False)
    assert not found.refused
    assert any(name.startswith("after decide") for name in found.made)
    assert found.ends == expected
