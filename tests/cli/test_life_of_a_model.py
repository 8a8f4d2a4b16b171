"""One model's life by the command line: trained, served, promoted, rolled back, looked after; on real ratings."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest
import typer
from command_line import Shell, trained_shop

from charkha.cli import demo
from charkha.cli.replay import claim, clear
from charkha.clock import SystemClock
from charkha.features.feed import Feed
from charkha.operations.replay_summary import ReplaySummary
from charkha.spec.project import load_project
from charkha.storage.home import open_home
from charkha.storage.ledger import Assignment, Draft


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `charkha init` leaves it, with one version trained as of 25 August 2013."""
    return trained_shop(tmp_path_factory.mktemp("shops"))


@pytest.fixture
def here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shop)
    return shop


@pytest.mark.usefixtures("here")
def test_the_first_version_that_passed_is_the_champion(shell: Shell) -> None:
    (state,) = shell("status", "--json").json
    assert (state["champion"], state["versions"], state["next"]) == ("v1", ["v1"], None)
    assert state["tested"]["value"] > 0.65
    text = shell("status", "likes").out
    assert "champion  v1 since 20" in text
    assert f"next      {state['outlook']}" in text


@pytest.mark.usefixtures("here")
def test_promote_and_rollback_are_one_decision_each(shell: Shell) -> None:
    trained = shell("train", "--as-of", "2013-08-26", "--json")
    assert trained.code == 0
    assert (trained.json["version"], trained.json["passed"], trained.json["champion"]) == ("v2", True, False)
    assert shell("status", "--json").json[0]["waiting"] == ["v2"]

    promoted = shell("promote", "likes", "v2", "--reason", "newer rows")
    assert (promoted.code, promoted.out) == (0, "v2 is the champion of likes (decision 2)\n")
    rolled_back = shell("rollback", "-m", "complaints since noon", "--json")
    assert (rolled_back.code, rolled_back.json["action"]) == (0, "rollback")
    assert shell("status", "--json").json[0]["champion"] == "v1"

    decisions = shell("history", "--json").json
    assert [(decision["action"], decision["reason"]) for decision in decisions[1:]] == [
        ("promote", "newer rows"),
        ("rollback", "complaints since noon"),
    ]
    assert "complaints since noon" in shell("history", "likes", "--limit", "1").out


@pytest.mark.usefixtures("here")
def test_a_model_is_killed_and_revived(shell: Shell) -> None:
    killed = shell("kill", "likes", "-m", "withdrawn films")
    assert (killed.code, "likes is killed, calls are refused" in killed.out) == (0, True)
    assert "withdrawn films" in shell("status", "--json").json[0]["killed"]
    assert "killed    since 20" in shell("status").out
    again = shell("kill", "likes", "-m", "withdrawn films")
    assert (again.code, "it is killed already" in again.err) == (1, True)
    revived = shell("revive", "likes", "-m", "the catalogue is right", "--json")
    assert (revived.code, revived.json["action"]) == (0, "revive")
    assert shell("status", "--json").json[0]["killed"] is None


def test_a_shadow_makes_the_champion_no_younger(shell: Shell, here: Path, tmp_path: Path) -> None:
    shutil.copytree(here / ".charkha", tmp_path / "home")
    (before,) = shell("--home", str(tmp_path / "home"), "status", "--json").json
    with open_home(tmp_path / "home") as home:
        draft = Draft("shadow/v2", SystemClock().now(), "likes", "operator", "shadow", "to compare", {"version": "v2"})
        beside = (Assignment(before["champion"], "champion"), Assignment("v2", "shadow"))
        home.ledger.decide(draft, deploy=beside, expect_generation=before["generation"])
    (state,) = shell("--home", str(tmp_path / "home"), "status", "--json").json
    assert (state["shadows"], state["generation"]) == (["v2"], before["generation"] + 1)
    assert state["since"] == before["since"]


@pytest.mark.usefixtures("here")
def test_what_cannot_be_done_is_refused_with_its_reason(shell: Shell) -> None:
    again = shell("promote", "likes", "v1", "--reason", "again")
    assert (again.code, again.err) == (1, "charkha: model 'likes': v1 is the champion already\n")
    unknown = shell("promote", "likes", "v9", "--reason", "typo")
    assert unknown.code == 2
    assert "expected a version of 'likes' (v1" in unknown.err
    other = shell("train", "liks")
    assert other.code == 2
    assert "expected one of the project's models (likes), got 'liks'" in other.err
    early = shell("train", "--as-of", "2013-08-03")
    assert early.code == 1
    assert early.err.startswith("charkha: the train part of the split has 0 rows")
    when = shell("train", "--as-of", "yesterday")
    assert when.code == 2
    assert "expected a date or time such as 2013-04-01" in when.err


@pytest.mark.usefixtures("here")
def test_the_ledger_can_be_checked_and_taken_along(shell: Shell, tmp_path: Path) -> None:
    number = len(shell("history", "--json").json)
    assert shell("history", "--verify", "--json").json == {
        "decisions": number,
        "intact": True,
        "anchors": 0,
        "anchored_beyond": None,
        "uncovered_generations": 0,
    }
    file = tmp_path / "decisions.jsonl"
    assert f"{number} decisions written to {file}" in shell("history", "--export", str(file)).out
    assert len(file.read_text().splitlines()) == number


def test_a_decision_that_was_changed_is_found(shell: Shell, here: Path, tmp_path: Path) -> None:
    import sqlite3

    shutil.copytree(here / ".charkha", tmp_path / "home")
    with sqlite3.connect(tmp_path / "home" / "ledger.db") as ledger:
        ledger.execute("update decisions set reason = 'it was not me' where sequence = 1")
    ledger.close()
    ended = shell("--home", str(tmp_path / "home"), "history", "--verify")
    assert ended.code == 1
    assert "decision 1" in ended.err


def test_history_that_ended_long_before_a_pushed_row_is_trained_as_of_its_end(
    shell: Shell, here: Path, tmp_path: Path
) -> None:
    shutil.copytree(here / ".charkha", tmp_path / "home")
    project = load_project(here)
    now = datetime.now(UTC)
    with open_home(tmp_path / "home") as home:
        feed = Feed(project.sources, project.views, home.log, home.online, SystemClock())
        feed.push("ratings", [(10**9, 1, 1, now - timedelta(hours=2), now, 8.0)])
    lost = shell("--home", str(tmp_path / "home"), "train")
    assert lost.code == 1
    assert "the validation part of the split has 0 rows" in lost.err
    assert "Train as of a time that has labelled predictions shortly before it (charkha train --as-of TIME)" in lost.err
    assert shell("--home", str(tmp_path / "home"), "train", "--as-of", "2013-09-01").code == 0


def test_a_version_that_fails_a_gate_exits_with_1(shell: Shell, here: Path) -> None:
    definition = (here / "definition.py").read_text()
    (here / "definition.py").write_text(
        definition.replace('ck.beats_trivial("log_loss")', 'ck.at_least("roc_auc", 0.99)')
    )
    try:
        ended = shell("train", "--as-of", "2013-08-26")
    finally:
        (here / "definition.py").write_text(definition)
    assert ended.code == 1
    assert "did not pass its gates" in ended.out
    assert "gate at_least roc_auc: failed, roc_auc is 0.7" in ended.out
    assert "It will not serve" in ended.out


@pytest.mark.usefixtures("here")
def test_the_operator_does_what_is_due_once(shell: Shell) -> None:
    ended = shell("operate", "--once")
    assert ended.code == 0
    assert "likes: " in ended.out


@pytest.fixture
def server(here: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "charkha", "--project", str(here), "serve", "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def wait_until_ready(url: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"the server at {url} was not ready within {seconds} s")


def test_the_server_answers_and_ends_when_told(server: tuple[subprocess.Popen[str], str]) -> None:
    process, url = server
    wait_until_ready(url)
    answer = httpx.post(f"{url}/v1/models/likes/predict", json={"user_id": 9290, "movie_id": 1535108})
    assert answer.status_code == 200
    assert 0 < json.loads(answer.text)["score"] < 1
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130)
    assert "Traceback" not in process.communicate()[1]


@pytest.mark.usefixtures("here")
def test_a_replay_has_a_home_of_its_own_and_ends_with_a_report(shell: Shell, here: Path) -> None:
    period = ("--from", "2013-08-30T12:00:00Z", "--until", "2013-08-31T12:00:00Z")
    before = shell("history", "--json").json
    ended = shell("replay", *period, "--json", "figures.json")
    assert ended.code == 0, ended.err
    figures = json.loads((here / "figures.json").read_text())
    assert figures["predictions"] > 300
    assert figures["max_skew"] <= 1e-9
    # What made the first champion is no change of it.
    assert [decision["action"] for decision in figures["decisions"]] == ["train", "promote"]
    assert (figures["retrains"], figures["promotions"]) == (0, 0)
    demanded = "predictions labels retrains promotions rejections served_auc_by_month frozen_auc_by_month max_skew"
    assert set(demanded.split()) <= demo.figures(msgspec.convert(figures, ReplaySummary)).keys()
    assert f"report: {here / '.charkha' / 'replay' / 'report.html'}" in ended.out
    assert "Served and recomputed features differ by" in ended.out
    assert shell("history", "--json").json == before
    assert shell("--home", ".charkha/replay", "history", "--json").json[0]["action"] == "train"
    status = shell("--home", ".charkha/replay", "status")
    assert re.search(r"\n  as of     2013-08-31T\d\d:\d\d:\d\dZ, when the replay ends\n", status.out)
    assert "\n  tested    ROC-AUC 0." in status.out
    assert "\n  last      promote: " in status.out
    assert "\n  next      there is" not in status.out
    of_replay = ("--home", ".charkha/replay")
    assert shell(*of_replay, "kill", "likes", "--reason", "a trial").code == 0
    ended_then = re.search(r"\n  as of     (\S+), when", shell(*of_replay, "status").out)
    assert ended_then is not None
    assert ended_then[1] in status.out  # what a person decides later has the time of then

    again = shell("replay", *period)
    assert again.code == 1
    assert "--fresh" in again.err
    assert shell("replay", *period, "--fresh").code == 0


def test_a_replay_that_cannot_begin_leaves_the_one_before_it(shell: Shell, here: Path) -> None:
    report = here / ".charkha" / "replay" / "report.html"
    report.parent.mkdir(exist_ok=True)
    (report.parent / ".replay").touch()
    report.write_text("of the replay before")
    ended = shell("replay", "--since", "2030-01-01", "--fresh")
    assert ended.code == 2
    assert "when history ends, got 2030-01-01T00:00:00Z" in " ".join(ended.err.split())
    assert report.read_text() == "of the replay before"
    assert sorted(path.name for path in (here / ".charkha").glob("replay*")) == ["replay"]


def test_a_replay_without_a_champion_says_why(shell: Shell, here: Path) -> None:
    ended = shell("replay", "--from", "2013-08-01", "--until", "2013-08-03", "--fresh")
    assert ended.code == 1
    assert "the train part of the split has" in ended.err
    assert f"charkha --home {here / '.charkha' / 'replay'} history likes" in ended.err


@pytest.mark.usefixtures("here")
def test_a_replay_never_deletes_what_serves(shell: Shell, here: Path) -> None:
    ended = shell(
        "--home", str(here / ".charkha"), "replay", "--fresh", "--from", "2013-08-30", "--until", "2013-08-31"
    )
    assert ended.code == 2
    assert "expected the home of a replay" in ended.err
    assert (here / ".charkha" / "ledger.db").exists()


def test_a_folder_that_is_no_home_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(typer.BadParameter, match="it is left as it is"):
        clear(tmp_path)
    (tmp_path / "ledger.db").touch()
    with pytest.raises(typer.BadParameter, match="it is left as it is"):
        clear(tmp_path)
    claim(tmp_path / "replay")
    clear(tmp_path / "replay")
    assert (tmp_path / "thesis.tex").exists()
    assert not (tmp_path / "replay").exists()
