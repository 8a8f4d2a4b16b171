"""Webhooks are told of incidents as a local server sees it: once each, in order, whatever goes wrong in between."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from charkha.monitoring.diagnosis.incidents import PATIENCE_US, observe
from charkha.monitoring.diagnosis.messages import message
from charkha.operations import webhooks
from charkha.operations.notifier import SILENT_US, Notifier, Silence, tell_webhook
from charkha.operations.proposal_messages import proposal_message
from charkha.spec.durations import DAY_US
from charkha.spec.faults import DefinitionError
from charkha.spec.project import load_project
from charkha.spec.webhooks import is_address, webhooks_of
from charkha.storage.ledger import Draft, Ledger

sys.path.append(str(Path(__file__).parents[1] / "monitoring"))
from diagnoses import BEGAN_US, NOW_US, diagnosis, healthy


@define(eq=False)
class Receiver:
    """A server that keeps what it is told. answers: the codes of the next answers; 200 once there are none."""

    url: str = ""
    told: list[tuple[str, Any]] = field(factory=list)
    answers: list[int] = field(factory=list)
    hold: threading.Event = field(factory=threading.Event)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()
    kept.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kept.hold.wait(20)
            code = kept.answers.pop(0) if kept.answers else 200
            if code == 200:
                kept.told.append((self.headers["Idempotency-Key"], body))
            self.send_response(code)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}/secret"
    yield kept
    kept.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setattr(webhooks, "PAUSES_SECONDS", (0.0, 0.0))
    opened = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


def tell(ledger: Ledger, receiver: Receiver, now_us: int = NOW_US) -> str:
    return tell_webhook(ledger, "json", receiver.url, now_us)


def test_each_step_is_told_once_and_in_order(ledger: Ledger, receiver: Receiver) -> None:
    observe(ledger, diagnosis())
    ledger.decide(Draft("x", NOW_US, "late", "operator", "train", "because", {}))
    assert tell(ledger, receiver) == ""
    observe(ledger, healthy(NOW_US + PATIENCE_US))
    assert [tell(ledger, receiver), tell(ledger, receiver)] == ["", ""]
    assert [(key, body["event"], body["status"]) for key, body in receiver.told] == [
        ("incident_open:late-1", "incident_open", "open"),
        ("incident_close:late-1", "incident_close", "closed"),
    ]
    first = receiver.told[0][1]
    assert (first["incident"], first["cause"], first["diagnosis"]["remedy"]["action"]) == (
        "late-1",
        "source",
        "page_source_owner",
    )


def test_what_waits_for_a_person_is_told_and_what_they_said(ledger: Ledger, receiver: Receiver) -> None:
    asked = {"proposes": "promote v3", "generation": 4, "not_by": []}
    ledger.decide(
        Draft("late/promote/v3/4/proposed", NOW_US, "late", "operator", "propose", "promote v3? Better", asked)
    )
    said = {"proposal": "late/promote/v3/4/proposed", "proposes": "promote v3", "generation": 4}
    answer = Draft(
        "late/promote/v3/4/proposed/answered", NOW_US + 1, "late", "asha", "decline", "not <!here> today", said
    )
    ledger.decide(answer)
    assert tell(ledger, receiver) == ""
    assert [(body["event"], body["proposal"], body["status"], body["actor"]) for _, body in receiver.told] == [
        ("propose", "late/promote/v3/4/proposed", "proposed", "operator"),
        ("decline", "late/promote/v3/4/proposed", "declined", "asha"),
    ]
    proposed, declined = ledger.decisions()
    slack = [proposal_message("slack", each)["text"] for each in (proposed, declined)]
    assert "charkha proposals approve late --step late/promote/v3/4/proposed" in slack[0]
    assert "not &lt;!here&gt; today, by asha" in slack[1]
    ((began,), (over,)) = (proposal_message("alertmanager", each) for each in (proposed, declined))
    assert began["labels"] == over["labels"]
    assert began["endsAt"] > began["startsAt"]
    assert over["endsAt"] == over["startsAt"]


@pytest.mark.parametrize("answers", [[503], [500, 429]])
def test_it_is_tried_again(answers: list[int], ledger: Ledger, receiver: Receiver) -> None:
    observe(ledger, diagnosis())
    receiver.answers[:] = answers
    assert tell(ledger, receiver) == ""
    assert len(receiver.told) == 1


def test_one_that_is_away_is_told_at_the_next_look(ledger: Ledger, receiver: Receiver) -> None:
    observe(ledger, diagnosis())
    receiver.answers[:] = [503] * 3
    assert tell(ledger, receiver) == ("webhook at 127.0.0.1 answered 503; it is told of late-1 at the next look")
    assert receiver.told == []
    observe(ledger, diagnosis(NOW_US + DAY_US // 2))
    assert tell(ledger, receiver, NOW_US + DAY_US // 2) == ""
    assert [key for key, _ in receiver.told] == ["incident_open:late-1"]


@pytest.mark.parametrize("code", [302, 400, 404])
def test_what_is_refused_is_left_out_and_no_redirect_is_followed(code: int, ledger: Ledger, receiver: Receiver) -> None:
    observe(ledger, diagnosis())
    receiver.answers[:] = [code]
    assert tell(ledger, receiver) == f"webhook at 127.0.0.1 answered {code} to late-1, and is not told of it again"
    assert tell(ledger, receiver) == ""
    assert receiver.told == []


def test_nobody_there_is_named_without_the_secret(ledger: Ledger) -> None:
    observe(ledger, diagnosis())
    said = tell_webhook(ledger, "json", "http://127.0.0.1:1/secret", NOW_US)
    assert (
        said == "webhook at 127.0.0.1 could not be told: ConnectionRefusedError; it is told of late-1 at the next look"
    )


def test_a_webhook_that_is_new_is_not_told_of_long_ago(ledger: Ledger, receiver: Receiver) -> None:
    observe(ledger, diagnosis())
    assert tell(ledger, receiver, NOW_US + 2 * DAY_US) == ""
    assert receiver.told == []


def test_a_look_does_not_wait_for_a_receiver_that_hangs(ledger: Ledger, receiver: Receiver) -> None:
    observe(ledger, diagnosis())
    receiver.hold.clear()
    notifier = Notifier(ledger, {"json": receiver.url})
    began = time.perf_counter()
    notifier.tell(NOW_US)
    notifier.tell(NOW_US)
    assert not notifier.wait(0.05)
    assert time.perf_counter() - began < 2
    receiver.hold.set()
    assert notifier.wait(20)
    assert notifier.troubles == []
    assert len(receiver.told) == 1


def test_a_receiver_that_hangs_is_given_up(ledger: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.1)
    receiver.hold.clear()
    observe(ledger, diagnosis())
    assert tell(ledger, receiver).startswith("webhook at 127.0.0.1 could not be told: TimeoutError")


def test_one_that_hangs_is_waited_for_once_in_ten_minutes(
    ledger: Ledger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waited(now_us: int) -> float:
        notifier, began = Notifier(ledger, {"json": receiver.url}), time.perf_counter()
        notifier.tell(now_us)
        told = notifier.wait(1.0, for_silent=0.02)
        assert told is receiver.hold.is_set()
        return time.perf_counter() - began

    observe(ledger, diagnosis())
    receiver.hold.clear()
    silence = Silence(ledger, "json", receiver.url)
    assert waited(NOW_US) >= 1.0
    assert silence.holds(NOW_US + SILENT_US - 1)
    assert waited(NOW_US + SILENT_US - 1) < 0.5
    assert not silence.holds(NOW_US + SILENT_US)  # the second did not prolong it
    assert not Silence(ledger, "slack", receiver.url).holds(NOW_US)
    receiver.hold.set()
    assert tell(ledger, receiver, NOW_US + 1) == ""
    assert not silence.holds(NOW_US + 1)
    assert {key for key, _ in receiver.told} == {"incident_open:late-1"}


def test_one_that_cannot_be_reached_is_remembered(ledger: Ledger, receiver: Receiver) -> None:
    observe(ledger, diagnosis())
    receiver.answers[:] = [503] * 3
    tell(ledger, receiver)
    assert Silence(ledger, "json", receiver.url).holds(NOW_US)
    assert tell(ledger, receiver) == ""
    assert not Silence(ledger, "json", receiver.url).holds(NOW_US)


def test_slack_shows_text_as_it_is(ledger: Ledger) -> None:
    observe(ledger, diagnosis(kind="<!channel> & more"))
    sent = message("slack", ledger.decisions()[0])
    assert sent["text"] == ":rotating_light: *late-1* open: source: &lt;!channel&gt; &amp; more"
    assert "*to do*  Ask the owner of weather" in sent["blocks"][1]["text"]["text"]
    assert all(set(block) == {"type", "text"} for block in sent["blocks"])


def test_alertmanager_ends_the_alert_that_it_was_told_to_begin(ledger: Ledger) -> None:
    observe(ledger, diagnosis())
    observe(ledger, healthy(NOW_US + PATIENCE_US))
    (opened,), (closed,) = (message("alertmanager", each) for each in ledger.decisions())
    assert opened["labels"] == closed["labels"]
    assert opened["labels"]["alertname"] == "CharkhaIncident"
    assert opened["startsAt"] == closed["startsAt"] == "2013-09-06T18:00:00Z"
    assert BEGAN_US < NOW_US
    assert opened["endsAt"] > closed["endsAt"] == "2013-09-09T00:00:00Z"
    assert opened["annotations"]["summary"] == "late: source: null flood of weather.temp"


def test_addresses_come_from_the_settings_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARKHA_WEBHOOK_SLACK", "https://b")
    settings = {"webhook": "https://a", "webhook_slack": "https://c", "name": "shop"}
    assert webhooks_of(settings) == {"json": "https://a", "slack": "https://b"}


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/b", "a", "http://", "http://a:b", "https://[", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert not is_address(url)


def test_a_project_with_a_wrong_address_is_not_loaded_and_tells_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "charkha.toml").write_text('[project]\nname = "a"\nwebhook = "${HOOK}"\n')
    (tmp_path / "definition.py").write_text("")
    monkeypatch.setenv("HOOK", "hooks/T0/secret")
    with pytest.raises(DefinitionError, match=r"the webhook for json: expected an address such as") as refused:
        load_project(tmp_path)
    assert "secret" not in str(refused.value).replace("may be a secret", "")
