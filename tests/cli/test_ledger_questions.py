"""The ledger answers, by the command line: at a date, why, otherwise, again, at what cost; and holds to its anchors."""

import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from attrs import evolve
from command_line import Shell

from charkha.clock import SimulatedClock
from charkha.storage.home import open_home
from charkha.storage.ledger import WHOLE, Usage

sys.path.append(str(Path(__file__).parents[1] / "operations"))
from operator_world import FIRST_DAY, NAME, Traffic, make_operator, make_project, midnight

DEFINITION = f"""
import sys
sys.path.append({str(Path(__file__).parents[1] / "operations")!r})
import operator_world
sys.path.pop()
import charkha as ck
visit = operator_world.make_model(prices=ck.Prices(cpu_hour=3.6))
"""
SHARE = 0.25


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a trained champion that served for some days, and what that used."""
    folder = tmp_path_factory.mktemp("worlds") / "world"
    project = make_project(folder)
    (folder / "charkha.toml").write_text('[project]\nname = "world"\n')
    (folder / "definition.py").write_text(DEFINITION)
    clock = SimulatedClock(midnight(FIRST_DAY))
    with open_home(project.home) as home:
        operator, traffic = make_operator(project, home, clock), Traffic(project, home, clock)
        for day in range(FIRST_DAY, FIRST_DAY + 3):
            clock.advance_to(midnight(day))
            operator.tick(NAME)
            traffic.day(day)
        whole = Usage(
            id="run#a/whole",
            kind="training",
            run="run",
            model=NAME,
            team="tests",
            stage=WHOLE,
            began_us=midnight(FIRST_DAY),
            wall_seconds=10,
            cpu_seconds=100,
            gpu_seconds=0.0,
        )
        part = evolve(whole, id="run#a/fit", stage="fit", cpu_seconds=100 * (1 - SHARE))
        home.ledger.record_usage([whole, part])
    return folder


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, to be changed."""
    copy = shutil.copytree(world, tmp_path / "world")
    monkeypatch.chdir(copy)
    return copy


@pytest.mark.usefixtures("here")
def test_a_model_at_a_date(shell: Shell) -> None:
    assert "nothing was in production" in shell("history", "--at", "2012-01-01").out
    found = shell("history", NAME, "--at", "2013-01-26")
    assert found.code == 0, found.err
    assert "champion    v1 since 2013-01-25 00:00" in found.out
    assert "decision 2 (promote) by operator: v1 passed its 1 gate" in found.out
    (standing,) = shell("history", "--at", "2013-01-26", "--json").json
    (post,) = standing["serving"]
    assert (post["version"], post["role"], post["decision"]["action"]) == ("v1", "champion", "promote")
    wrong = shell("history", "--at", "yesterday")
    assert (wrong.code, "expected a date or time such as" in wrong.err) == (2, True)


@pytest.mark.usefixtures("here")
def test_a_decision_is_explained(shell: Shell) -> None:
    told = shell("explain", "2")
    assert told.code == 0, told.err
    assert "operator decided at 2013-01-25 00:00 UTC: promote v1, which made generation 1" in told.out
    assert f"training {NAME}/train/1" in told.out
    assert "gate beats_champion log_loss" in told.out
    assert "decision 1" in told.out
    assert "not measurable: there was no other version that could have answered" in told.out
    key = shell("history", "--json").json[1]["key"]
    assert shell("explain", key, "--json").json["decision"]["sequence"] == 2
    for number in ("99", "9" * 23, "9" * 5000, "²"):
        unknown = shell("explain", number)
        assert (unknown.code, "expected the number or the key of a decision, got" in unknown.err) == (2, True)


@pytest.mark.usefixtures("here")
def test_what_the_operator_decided_is_decided_again(shell: Shell) -> None:
    for number in ("1", "2"):
        again = shell("replay-decision", number)
        assert again.code == 0, again.err
        assert "equal: the rules come to the same step, on the same figures" in again.out
    assert shell("replay-decision", "1", "--json").json["verdict"] == "equal"
    shell("kill", NAME, "--reason", "a drill")
    by_hand = shell("replay-decision", "3")
    assert (by_hand.code, "not by a rule of the operator" in by_hand.out) == (0, True)


@pytest.mark.usefixtures("here")
def test_rules_that_changed_come_to_another_step(shell: Shell, here: Path) -> None:
    definition = here / "definition.py"
    definition.write_text(definition.read_text().replace("prices=", 'gates=(ck.at_least("roc_auc", 0.5),), prices='))
    again = shell("replay-decision", "2")
    assert (again.code, "the definition has changed since v1 was trained" in again.out) == (0, True)


@pytest.mark.usefixtures("here")
def test_what_it_cost_by_whatever_is_asked(shell: Shell, tmp_path: Path) -> None:
    found = shell("cost", "--json")
    assert found.code == 0, found.err
    (line,) = found.json["lines"]
    assert (line["name"], line["cpu_seconds"], line["unattributed"]) == (NAME, 100, SHARE)
    told = line["cost"]
    assert (round(told["amount"], 9), told["currency"], told["unknown"]) == (0.1, "INR", ["memory", "moved bytes"])
    assert found.json["stored"][0]["bytes"] > 0
    assert found.json["stored"][0]["month"]["amount"] is None
    text = shell("cost", NAME, "--by", "stage").out
    assert "(unattributed)" in text
    assert "0.10 INR + unknown (memory, moved bytes)" in text
    assert "which costs unknown a month" in text
    prices = tmp_path / "prices.toml"
    prices.write_text('gb_hour = 1.0\ncurrency = "EUR"\n')
    assert shell("cost", "--prices", str(prices), "--json").json["lines"][0]["cost"]["amount"] is None
    assert "nothing was metered" in shell("cost", "--until", "2012-01-01").out
    assert "expected one of model, team, stage, run" in shell("cost", "--by", "colour").err
    prices.write_text("cpu = 1")
    assert "got 'cpu'" in shell("cost", "--prices", str(prices)).err


@pytest.mark.usefixtures("here")
def test_an_exported_ledger_is_checked_without_project_and_database(
    shell: Shell, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, anchors = tmp_path / "copy.jsonl", tmp_path / "anchors.jsonl"
    assert shell("anchor", "--to", str(anchors)).code == 0
    shell("history", "--export", str(copy))
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(here)
    checked = shell("history", "--verify", str(copy), "--anchors", str(anchors), "--json")
    assert checked.json == {"decisions": 2, "intact": True, "anchors": 1, "anchored_beyond": None}
    lines = copy.read_text().splitlines(keepends=True)
    copy.write_text(lines[0])
    short = shell("history", "--verify", str(copy), "--anchors", str(anchors))
    assert "anchored at decision 2, up to which this copy does not reach" in short.out
    changed = json.dumps({**json.loads(lines[0]), "reason": "another"}, sort_keys=True, separators=(",", ":"))
    copy.write_text(changed + "\n")
    broken = shell("history", "--verify", str(copy))
    assert (broken.code, "decision 1 of the ledger: its hash is not that of its content" in broken.err) == (1, True)


def write(database: Path, statement: str) -> None:
    """Change a ledger as whoever may write to the file could."""
    with sqlite3.connect(database) as connection:
        connection.executescript(statement)
    connection.close()


def test_the_declared_file_is_anchored_to_and_held_to(shell: Shell, here: Path) -> None:
    nowhere = shell("anchor")
    assert (nowhere.code, 'Declare one (anchor = "FILE")' in nowhere.err) == (2, True)
    settings = here / "charkha.toml"
    settings.write_text(settings.read_text() + 'anchor = "kept/anchors.jsonl"\nanchor_every = "1h"\n')
    early = shell("history", "--verify")
    assert (early.code, "kept/anchors.jsonl is declared, and was never written to" in early.err) == (0, True)
    assert shell("anchor").out.endswith("kept/anchors.jsonl: decision 2\n")
    (here / "kept" / "anchors.jsonl").rename(here / "moved.jsonl")
    gone = shell("history", "--verify")
    assert (gone.code, "expected the anchor of decision 2" in gone.err, "is not there" in gone.err) == (1, True, True)
    assert shell("history", "--verify", "--anchors", str(here / "moved.jsonl")).code == 0
    (here / "moved.jsonl").rename(here / "kept" / "anchors.jsonl")
    held = shell("history", "--verify")
    assert "it has all that was anchored (1, the newest at decision 2)" in held.out
    assert shell("history", "--verify", "--json").json["uncovered_generations"] == 0
    database = here / ".charkha" / "ledger.db"
    write(database, "update assignments set version = 'v9' where generation = 1")
    other = shell("history", "--verify")
    assert (other.code, "decided was v1 champion 1, and what stands is v9 champion 1" in other.err) == (1, True)
    write(database, "update assignments set version = 'v1' where generation = 1")
    write(database, "PRAGMA foreign_keys = OFF; delete from decisions where sequence = 2")
    cut = shell("history", "--verify")
    assert (cut.code, "it was anchored at" in cut.err, "and is not there" in cut.err) == (1, True, True)
    settings.write_text(settings.read_text().replace("1h", "often"))
    assert "anchor_every" in shell("anchor").err


@pytest.fixture
def told() -> Iterator[tuple[str, list[tuple[str | None, dict[str, object]]]]]:
    """A receiver of anchors, and what it was told with which key."""
    received: list[tuple[str | None, dict[str, object]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.headers["Idempotency-Key"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/anchors", received
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("here")
def test_the_head_is_sent_to_a_webhook(
    shell: Shell, told: tuple[str, list[tuple[str | None, dict[str, object]]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = told
    monkeypatch.setenv("CHARKHA_ANCHOR_WEBHOOK", url)
    assert shell("anchor").out == "127.0.0.1: decision 2\n"
    newest = shell("history", "--json").json[-1]
    ((key, body),) = received
    assert key == f"anchor/world/2/{newest['hash']}"
    anchor = body["anchor"]
    assert isinstance(anchor, dict)
    assert (body["kind"], anchor["hash"]) == ("anchor", newest["hash"])
