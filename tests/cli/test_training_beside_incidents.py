"""`charkha train` and `charkha status` while an incident is open: by hand one is warned, and the operator waits."""

import sys
from pathlib import Path

import pytest
from attrs import evolve
from command_line import Shell

from charkha.clock import parse_time
from charkha.monitoring.diagnosis.incidents import close, find, observe
from charkha.spec.project import load_project
from charkha.storage.home import open_project

sys.path.append(str(Path(__file__).parents[1] / "monitoring"))
from diagnoses import diagnosis

BEGAN_US, NOW_US = parse_time("2013-08-01"), parse_time("2013-08-03")


def test_by_hand_one_is_warned_and_the_operator_waits(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell("init", "shop").code == 0
    monkeypatch.chdir(tmp_path / "shop")
    broken = evolve(diagnosis(NOW_US), model="likes", began_us=BEGAN_US, earliest_us=BEGAN_US, latest_us=BEGAN_US)
    with open_project(load_project(Path())) as home:
        observe(home.ledger, broken)
    said = "incident likes-1: source: null flood of weather.temp"
    (state,) = shell("status", "--json").json
    assert state["incidents"] == ["likes-1"]
    assert state["next"]["reason"].startswith(f"training waits: {said}. What is due: ")
    assert "incidents likes-1 open: charkha incidents likes" in shell("status").out

    warned = shell("train", "--as-of", "2013-08-03")  # which is too early to learn anything
    assert f"warning: {said}; by hand it goes on, without the rows of its time\n" in warned.err
    assert "the train part of the split has 0 rows" in warned.err
    before = shell("train", "--as-of", "2013-07-31")
    assert "likes-1" not in before.err

    with open_project(load_project(Path())) as home:
        close(home.ledger, find(home.ledger, "likes-1"), "asha", "the feed is back", NOW_US)
    noted = shell("train", "--as-of", "2013-08-03")
    assert "note: left out: likes-1, source, " in noted.err
    assert shell("status", "--json").json[0]["incidents"] == []
