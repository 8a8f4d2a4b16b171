"""Calls that say two things, or something that is not heard, are refused in words instead of half understood."""

import http.client
import json
from collections.abc import Iterator

import pytest
from app_client import AppClient, app_client
from server_process import server
from serving_project import MODEL, Stage
from test_every_protocol import ARROW, INVOCATIONS, PREDICT, ROW, V2
from test_once_everywhere import infer, invoke

from charkha.serving.calls import Metadata, count_of
from charkha.serving.desk import Desk
from charkha.serving.http import build_router
from charkha.serving.keyring import Keyring
from charkha.serving.keys import create_key
from charkha.serving.metrics import ServingMetrics
from charkha.serving.once import Once
from charkha.spec.project import Project


@pytest.fixture
def client(stage: Stage) -> Iterator[AppClient]:
    once = Once(stage.service, stage.clock, stage.project.home / "serving" / "answered")
    with app_client(
        build_router(stage.service, ServingMetrics(), stage.clock, desk=Desk(stage.service, once=once))
    ) as opened:
        yield opened
    once.close()


@pytest.mark.parametrize("path", [PREDICT, V2, INVOCATIONS])
@pytest.mark.parametrize("query", ["reason=3", "details=true&reasons=2", "x"])
def test_what_is_not_heard_behind_a_path_is_named(client: AppClient, path: str, query: str) -> None:
    reply = client.post(f"{path}?{query}", json=ROW)
    assert reply.status_code == 400
    assert "behind the `?`, got" in reply.text
    assert query.partition("=")[0] in reply.text


def test_arrow_takes_no_reasons(client: AppClient) -> None:
    reply = client.post(f"{PREDICT}?reasons=2", content=b"", headers=ARROW)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_query")


def test_a_key_used_on_another_route_says_so(client: AppClient) -> None:
    key = {"idempotency-key": "order"}
    assert client.post(PREDICT, json=ROW, headers=key).status_code == 200
    for path, body, headers in (infer(1.5), invoke(1.5)):
        refused = client.post(path, content=body, headers={**headers, **key})
        assert (refused.status_code, "expected the route and kind of body that this" in refused.text) == (400, True)
    other = client.post(PREDICT, json={**ROW, "km": 9.0}, headers=key)
    assert (other.status_code, "expected the body that this" in other.text) == (422, True)


def test_two_keys_of_one_call_are_refused(stage: Stage) -> None:
    metrics = ServingMetrics()
    keyring = Keyring(stage.home.ledger, stage.clock, metrics)
    one, two = (create_key(stage.home.ledger, stage.clock, name, ["predict"], actor="test").text for name in "ab")
    keyring.refresh()
    with app_client(build_router(stage.service, metrics, stage.clock, keyring=keyring)) as client:
        both = {"authorization": f"Bearer {one}", "x-api-key": two}
        refused = client.post(PREDICT, json=ROW, headers=both)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_header")
        assert "Send one of the two headers" in refused.text
        assert one not in refused.text
        assert two not in refused.text
        assert client.post(PREDICT, json=ROW, headers={**both, "x-api-key": one}).status_code == 200
        assert "champions" not in client.request("GET", "/readyz", headers=both).json()


def test_metadata_tells_each_value() -> None:
    given = Metadata([("idempotency-key", "a"), ("other", "c"), ("idempotency-key", "b")])
    assert (count_of(given, "idempotency-key"), count_of(given, "other"), count_of(given, "none")) == (2, 1, 0)


def test_a_server_tells_two_keys_and_one_that_is_not_ascii(project: Project) -> None:
    def refused(port: int, *keys: bytes) -> tuple[int, str]:
        connection, body = http.client.HTTPConnection("127.0.0.1", port, timeout=20), json.dumps(ROW).encode()
        connection.putrequest("POST", f"/v1/models/{MODEL}/predict")
        for name, value in (("content-type", "application/json"), ("content-length", str(len(body)))):
            connection.putheader(name, value)
        for key in keys:
            connection.putheader("Idempotency-Key", key)
        connection.endheaders(body)
        response = connection.getresponse()
        told = response.read().decode()
        connection.close()
        return response.status, told

    with server(project.root) as running:
        assert refused(running.port, b"a")[0] == 200
        for keys, says in (
            ((b"a", b"a"), "expected one Idempotency-Key, got 2"),
            ((b"a", b"b"), "expected one Idempotency-Key, got 2"),
            (("é".encode(),), "printable ASCII characters, got one with others"),
        ):
            status, told = refused(running.port, *keys)
            assert (status, says in told) == (400, True), told
