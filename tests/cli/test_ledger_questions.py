"""The ledger answers, by the command line: at a date, why, otherwise, again; and holds to its anchors."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from command_line import Shell, trained_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_shop(tmp_path_factory.mktemp("shops"))


@pytest.fixture
def here(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shop, to be changed."""
    copy = shutil.copytree(shop, tmp_path / "shop")
    monkeypatch.chdir(copy)
    return copy


@pytest.mark.usefixtures("here")
def test_a_model_at_a_date(shell: Shell) -> None:
    assert "nothing was in production" in shell("history", "--at", "2020-01-01").out
    found = shell("history", "likes", "--at", "2099-01-01")
    assert found.code == 0
    assert "champion    v1 since 20" in found.out
    assert "decision 1 (promote) by" in found.out
    (standing,) = shell("history", "--at", "2099-01-01", "--json").json
    (post,) = standing["serving"]
    assert (post["version"], post["role"], post["decision"]["action"]) == ("v1", "champion", "promote")
    wrong = shell("history", "--at", "yesterday")
    assert (wrong.code, "expected a date or time such as" in wrong.err) == (2, True)


@pytest.mark.usefixtures("here")
def test_a_decision_by_hand_is_explained_and_follows_from_no_rule(shell: Shell) -> None:
    told = shell("explain", "1")
    assert told.code == 0, told.err
    assert "promote v1, which made generation 1" in told.out
    assert "training likes/by-hand/" in told.out
    assert "gate beats_trivial log_loss" in told.out
    assert "not measurable: there was no other version that could have answered" in told.out
    key = shell("history", "--json").json[0]["key"]
    assert shell("explain", key, "--json").json["decision"]["sequence"] == 1
    again = shell("replay-decision", "1", "--json")
    assert (again.code, again.json["verdict"]) == (0, "not_by_rule")
    unknown = shell("explain", "99")
    assert (unknown.code, "expected the number or the key of a decision, got 99" in unknown.err) == (2, True)


@pytest.mark.usefixtures("here")
def test_what_the_operator_decided_is_decided_again(shell: Shell) -> None:
    period = ("--from", "2013-08-30T12:00:00Z", "--until", "2013-08-31T12:00:00Z")
    assert shell("replay", *period).code == 0
    replayed = ("--home", ".charkha/replay")
    for number in (1, 2):
        again = shell(*replayed, "replay-decision", str(number))
        assert again.code == 0, again.out
        assert "equal: the rules come to the same step, on the same figures" in again.out
    told = shell(*replayed, "explain", "2").out
    assert "what led to it" in told
    assert "decision 1" in told


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
    assert checked.json == {"decisions": 1, "intact": True, "anchors": 1, "anchored_beyond": None}
    line = json.loads(copy.read_text())
    copy.write_text(json.dumps({**line, "reason": "another"}, sort_keys=True, separators=(",", ":")) + "\n")
    broken = shell("history", "--verify", str(copy))
    assert (broken.code, "decision 1 of the ledger: its hash is not that of its content" in broken.err) == (1, True)


def test_the_declared_file_is_anchored_to_and_held_to(shell: Shell, here: Path) -> None:
    nowhere = shell("anchor")
    assert (nowhere.code, 'Declare one (anchor = "FILE")' in nowhere.err) == (2, True)
    settings = here / "charkha.toml"
    settings.write_text(settings.read_text() + 'anchor = "kept/anchors.jsonl"\nanchor_every = "1h"\n')
    assert shell("anchor").out.endswith("kept/anchors.jsonl: decision 1\n")
    assert shell("operate", "--once").code == 0
    held = shell("history", "--verify")
    assert "it has all that was anchored (1, the newest at decision 1)" in held.out
    with sqlite3.connect(here / ".charkha" / "ledger.db") as ledger:
        ledger.executescript("PRAGMA foreign_keys = OFF; delete from decisions where sequence >= 1")
    ledger.close()
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
def test_the_operator_sends_the_head_to_a_webhook_once(
    shell: Shell, told: tuple[str, list[tuple[str | None, dict[str, object]]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = told
    monkeypatch.setenv("CHARKHA_ANCHOR_WEBHOOK", url)
    for _ in range(2):
        assert shell("operate", "--once").code == 0
    newest = shell("history", "--json").json[-1]
    (key, body) = received[-1]
    assert len({key for key, _ in received}) == len(received)
    assert key == f"anchor/shop/{newest['sequence']}/{newest['hash']}"
    anchor = body["anchor"]
    assert isinstance(anchor, dict)
    assert (body["kind"], anchor["hash"]) == ("anchor", newest["hash"])
