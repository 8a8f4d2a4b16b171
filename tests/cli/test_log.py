"""`charkha log`: what it says is what is there, and looking changes nothing."""

import sys
from pathlib import Path

import pytest
from command_line import Shell

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from serving_project import open_stage, requests


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in a project that was served on 1 April 2013."""
    with open_stage(tmp_path) as stage:
        stage.service.predict("late_trip", requests("Pune", "Delhi"))
    monkeypatch.chdir(tmp_path)
    return Shell(capsys, monkeypatch)


def test_days_become_compact_and_go(shell: Shell, tmp_path: Path) -> None:
    before = shell("log", "status", "late_trip", "--json").json[0]
    assert (before["days"], before["keep_days"], before["log_since"][:10]) == ([], 400, "2013-04-01")
    assert before["log_bytes"] > 0
    done = shell("log", "compact")
    assert (done.code, done.err) == (0, "")
    assert "late_trip: 2 rows of 1 segments are compact now" in done.out
    after = shell("log", "status", "late_trip", "--json").json[0]
    assert [(day["day"], day["rows"]) for day in after["days"]] == [("2013-04-01", 2)]
    assert (after["segments"], after["log_bytes"], after["log_since"]) == (0, 0, None)
    assert "removes 2 rows of days before" in shell("log", "status").out
    assert f"2 rows and 0 labels of days before {after['kept_from']} are removed" in shell("log", "prune").out
    assert not list(tmp_path.glob(".charkha/predictions/*/day=*"))
    assert shell("log", "prune", "nobody").code == 2
