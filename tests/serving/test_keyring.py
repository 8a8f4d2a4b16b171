"""Who may call what: every route, every way to show a key, and what is said to those who may not."""

import json
import logging
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import get_args

import pytest
from app_client import AppClient, app_client
from hypothesis import given
from hypothesis import strategies as st
from serving_project import HOUR_US, NOW_US, Stage

from charkha.serving.http import build_router
from charkha.serving.keyring import ANY_KEY, OPEN, Keyring
from charkha.serving.keys import ImpossibleKey, MadeKey, create_key, digest_of, parts_of, revoke_key
from charkha.serving.metrics import ServingMetrics
from charkha.serving.router import Route, Router
from charkha.storage.ledger import KeyRole
from charkha.storage.names import BadName

ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
PREDICT = "/v1/models/late_trip/predict"
# Routes whose paths are known only when they come.
FOUND = {
    "/v2/models/late_trip": ANY_KEY,
    "/v2/models/late_trip/ready": ANY_KEY,
    "/v2/models/late_trip/infer": "predict",
    "/v2/models/late_trip/versions/v1": ANY_KEY,
    "/v2/models/late_trip/versions/v1/ready": ANY_KEY,
    "/v2/models/late_trip/versions/v1/infer": "predict",
    "/v2/models/none": ANY_KEY,
    "/v2/nothing": ANY_KEY,
}
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}


@pytest.fixture
def keyring(stage: Stage, metrics: ServingMetrics) -> Keyring:
    return Keyring(stage.home.ledger, stage.clock, metrics, workers=2)


@pytest.fixture
def router(stage: Stage, metrics: ServingMetrics, keyring: Keyring) -> Router:
    return build_router(stage.service, metrics, stage.clock, keyring=keyring)


@pytest.fixture
def client(router: Router) -> Iterator[AppClient]:
    with app_client(router) as opened:
        yield opened


def make(
    stage: Stage, keyring: Keyring, *roles: KeyRole, lasts_us: int | None = None, rate: float | None = None
) -> MadeKey:
    made = create_key(stage.home.ledger, stage.clock, "shop", roles, actor="test", lasts_us=lasts_us, rate=rate)
    keyring.refresh()
    return made


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def status(client: AppClient, path: str, route: Route, text: str | None) -> int:
    headers = {"content-type": "application/json", **({} if text is None else bearer(text))}
    return client.request(route.method, path, headers=headers, content="{}").status_code


def test_every_route_is_closed_without_the_right_key(
    client: AppClient, router: Router, stage: Stage, keyring: Keyring
) -> None:
    keys = {role: make(stage, keyring, role).text for role in ROLES}
    wrong = keys["admin"][:-1] + ("0" if keys["admin"][-1] != "0" else "1")
    found = {path: route for path in FOUND if (route := router.route(path))}
    assert len(found) == len(FOUND)
    for path, route in {**router.routes, **found}.items():
        if route.need == OPEN:
            continue
        assert status(client, path, route, None) == 401, path
        assert status(client, path, route, wrong) == 401, path
        weak = [role for role in ROLES if role not in (route.need, "admin")]
        allowed = [route.need, "admin"]
        if route.need == ANY_KEY:
            weak, allowed = [], list(ROLES)
        assert [status(client, path, route, keys[role]) for role in weak] == [403] * len(weak), path
        assert {status(client, path, route, keys[role]) for role in allowed}.isdisjoint({401, 403}), path  # type: ignore[index]


def test_the_routes_that_are_open_are_those_of_the_documentation(router: Router) -> None:
    needs = {route.pattern: route.need for route in router.routes.values()}
    assert needs == {
        "/healthz": OPEN,
        "/readyz": OPEN,
        "/v1/models": ANY_KEY,
        "/openapi.json": ANY_KEY,
        "/docs": ANY_KEY,
        "/metrics": "operate",
        "/v1/models/{model}/predict": "predict",
        "/v1/models/{model}/labels": "label",
        "/v1/sources/{source}/events": "ingest",
        "/v1/models/{model}/invocations": "predict",
        "/ping": OPEN,
        "/health": OPEN,
        "/version": ANY_KEY,
        "/v2": ANY_KEY,
        "/v2/health/live": OPEN,
        "/v2/health/ready": OPEN,
    }
    assert {path: router.need(path) for path in FOUND} == FOUND


def test_without_a_key_nobody_learns_what_paths_there_are(client: AppClient, stage: Stage, keyring: Keyring) -> None:
    paths = (PREDICT, "/v1/models/none/predict", "/nothing", "/docs/../etc")
    answers = [client.request(method, path) for path in paths for method in ("GET", "POST", "OPTIONS")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    alike = [("/v2/models/late_trip", "/v2/models/none"), ("/v2/health/live/x", "/v2/x")]
    alike += [("/v1/models/late_trip/invocations", "/v1/models/none/invocations"), ("/invocations", "/version")]
    for pair in alike:
        known, none = (client.request("POST", path) for path in pair)
        assert (known.status_code, known.content) == (none.status_code, none.content) == (401, none.content), pair
    key = make(stage, keyring, "label").text
    assert client.request("GET", "/nothing", headers=bearer(key)).status_code == 404
    assert client.request("GET", "/healthz").status_code == 200


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "basic"])
def test_a_key_may_be_shown_in_three_ways(client: AppClient, stage: Stage, keyring: Keyring, name: str) -> None:
    text = make(stage, keyring, "predict").text
    shown = {
        "authorization": {"authorization": f"bEARER  {text} "},
        "x-api-key": {"x-api-key": text, "authorization": "Digest x"},
        "basic": {"authorization": f"Basic {b64encode(f'me:{text}'.encode()).decode()}"},
    }
    assert client.request("POST", PREDICT, json=ROW, headers=shown[name]).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic /w=="},
        {"authorization": "Bearer ck_"},
        {"authorization": "Bearer " + "x" * 100_000},
        {"authorization": "Bearer ck_" + "é" * 12 + "_" + "é" * 64},
        {"x-api-key": ""},
        {"x-api-key": "ck_000000000000_" + "0" * 64},
    ],
)
def test_what_is_no_key_opens_nothing(
    client: AppClient, stage: Stage, keyring: Keyring, headers: dict[str, str]
) -> None:
    make(stage, keyring, "admin")
    encoded = {name: text.encode() for name, text in headers.items()}
    answer = client.request("POST", PREDICT, json=ROW, headers=encoded)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


def test_an_unknown_id_and_a_wrong_secret_are_answered_alike(client: AppClient, stage: Stage, keyring: Keyring) -> None:
    text = make(stage, keyring, "admin").text
    other = "f" if text[3] != "f" else "0"
    unknown, wrong = f"ck_{other}{text[4:]}", f"{text[:-1]}{'f' if text[-1] != 'f' else '0'}"
    answers = [client.request("GET", "/v1/models", headers=bearer(each)) for each in (unknown, wrong, "hello")]
    for answer in answers:
        del answer.headers["x-request-id"]
    assert len({(answer.status_code, answer.content, str(answer.headers)) for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"].startswith('Bearer realm="charkha", error="invalid_token"')


def test_a_refusal_says_what_is_needed_and_never_the_key(
    client: AppClient, stage: Stage, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    text = make(stage, keyring, "label", "ingest").text
    with caplog.at_level(logging.DEBUG):
        missing = client.request("POST", PREDICT, json=ROW)
        weak = client.request("POST", PREDICT, json=ROW, headers=bearer(text))
    assert "Authorization: Bearer KEY" in missing.json()["error"]["message"]
    assert weak.json()["error"] == {
        "code": "forbidden",
        "message": "expected an API key with the role predict, got one with label, ingest",
        "field": None,
    }
    assert 'scope="predict"' in weak.headers["www-authenticate"]
    for part in (text, text[16:], text[3:15]):
        assert part not in weak.text + str(weak.headers) + caplog.text


def test_a_key_expires_to_the_microsecond(client: AppClient, stage: Stage, keyring: Keyring) -> None:
    text = make(stage, keyring, "predict", lasts_us=HOUR_US).text
    stage.clock.advance_to(NOW_US + HOUR_US - 1)
    assert client.request("GET", "/v1/models", headers=bearer(text)).status_code == 200
    stage.clock.advance_to(NOW_US + HOUR_US)
    expired = client.request("GET", "/v1/models", headers=bearer(text))
    assert expired.status_code == 401
    assert "expired at 2013-04-01T13:00:00Z" in expired.json()["error"]["message"]


def test_a_revoked_key_opens_nothing_and_others_stay(client: AppClient, stage: Stage, keyring: Keyring) -> None:
    first, second = make(stage, keyring, "predict"), make(stage, keyring, "predict")
    revoke_key(stage.home.ledger, stage.clock, first.key.id, actor="test", reason="lost")
    assert keyring.refresh()
    assert not keyring.refresh()
    revoked = client.request("GET", "/v1/models", headers=bearer(first.text))
    assert revoked.status_code == 401
    assert "was revoked at 2013-04-01T12:00:00Z" in revoked.json()["error"]["message"]
    assert client.request("GET", "/v1/models", headers=bearer(second.text)).status_code == 200


def test_a_key_has_its_part_of_its_rate_here_and_is_told_when_to_come_again(
    client: AppClient, stage: Stage, keyring: Keyring, metrics: ServingMetrics
) -> None:
    text = make(stage, keyring, "predict", rate=0.5).text
    other = make(stage, keyring, "predict").text  # another key comes: what was used stays used
    answers = [client.request("POST", PREDICT, json=ROW, headers=bearer(text)) for _ in range(2)]
    make(stage, keyring, "label")
    answers.append(client.request("POST", PREDICT, json=ROW, headers=bearer(text)))
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    assert answers[-1].json()["error"]["code"] == "rate_limited"
    assert 3 <= int(answers[-1].headers["retry-after"]) <= 4  # two workers: one call in four seconds each
    assert client.request("POST", PREDICT, json=ROW, headers=bearer(other)).status_code == 200
    assert b'charkha_rate_limited_total{key="shop"} 2.0' in metrics.exposition()


def test_what_is_kept_of_a_key_does_not_give_it_away(stage: Stage, keyring: Keyring) -> None:
    made = make(stage, keyring, "predict")
    secret = made.text[16:]
    kept = b"".join(file.read_bytes() for file in stage.home.folder.glob("ledger.db*"))
    assert secret.encode() not in kept
    assert digest_of(secret).hex().encode() in kept
    assert secret not in repr(made)
    decisions = [decision for decision in stage.home.ledger.decisions() if decision.model == "key shop"]
    assert [(each.action, each.actor, each.reason) for each in decisions] == [("create", "test", "may predict")]


def test_keys_differ_and_come_apart_again() -> None:
    text = "ck_5f0c3a91d2e4_" + "ab" * 32
    assert parts_of(text) == ("5f0c3a91d2e4", "ab" * 32)


@given(st.text(max_size=100))
def test_any_text_is_a_key_or_none(text: str) -> None:
    parts = parts_of(text)
    assert parts is None or f"ck_{parts[0]}_{parts[1]}" == text
    assert len(digest_of(text)) == 32


@pytest.mark.parametrize(
    ("roles", "lasts_us", "rate", "message"),
    [
        ([], None, None, "at least one role"),
        (["predict"], 2**60, None, "at most 36500d"),
        (["predict"], 0, None, "at most 36500d"),
        (["predict"], None, 0.0, "a finite number of calls"),
        (["predict"], None, float("nan"), "a finite number of calls"),
        (["predict"], None, float("inf"), "a finite number of calls"),
    ],
)
def test_keys_that_cannot_be_are_refused(
    stage: Stage, roles: Sequence[KeyRole], lasts_us: int | None, rate: float | None, message: str
) -> None:
    with pytest.raises(ImpossibleKey, match=message):
        create_key(stage.home.ledger, stage.clock, "shop", roles, actor="t", lasts_us=lasts_us, rate=rate)
    with pytest.raises(BadName):
        create_key(stage.home.ledger, stage.clock, "a\nb", ["predict"], actor="t")
    assert stage.home.ledger.api_keys() == []


def test_the_document_and_the_page_say_how_keys_are_shown(client: AppClient, stage: Stage, keyring: Keyring) -> None:
    headers = bearer(make(stage, keyring, "operate").text)
    document = json.loads(client.request("GET", "/openapi.json", headers=headers).content)
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header", "basic"}
    predict = document["paths"][PREDICT]["post"]
    assert {"bearer": ["predict"]} in predict["security"]
    assert {"401", "403", "429"} <= set(predict["responses"])
    assert document["paths"]["/healthz"]["get"]["security"] == []
    assert "403" not in document["paths"]["/v1/models"]["get"]["responses"]
    errors = {
        path: document["paths"][path][method]["responses"]["401"]["content"]["application/json"]["schema"]["$ref"]
        for path, method in ((PREDICT, "post"), ("/v2", "get"), ("/v1/models/late_trip/invocations", "post"))
    }
    assert [name.rsplit("/", 1)[1] for name in errors.values()] == ["Error", "InferenceError", "InvocationError"]
    versioned = document["paths"]["/v2/models/late_trip/versions/{version}/infer"]
    assert {"bearer": ["predict"]} in versioned["post"]["security"]
    assert versioned["parameters"][0]["name"] == "version"
    page = client.request("GET", "/docs", headers=headers).text
    assert "Authorization: Bearer KEY" in page
    assert "Needs an API key with the role ingest." in page


def test_a_server_that_asks_for_no_keys_speaks_of_none(stage: Stage, metrics: ServingMetrics) -> None:
    with app_client(build_router(stage.service, metrics, stage.clock)) as client:
        document = client.get("/openapi.json").json()
        assert "securitySchemes" not in document["components"]
        assert client.post(PREDICT, json=ROW, headers=bearer("anything")).status_code == 200


def test_without_a_key_readiness_says_no_more_than_that(client: AppClient, stage: Stage, keyring: Keyring) -> None:
    for headers in ({}, {"x-api-key": "ck_wrong"}):
        found = client.request("GET", "/readyz", headers=headers)
        assert (found.status_code, found.json()) == (200, {"ready": True, "ending": False})
    made = make(stage, keyring, "label", rate=0.001)
    for _ in range(3):  # a probe with a key uses none of its rate
        told = client.request("GET", "/readyz", headers={"x-api-key": made.text}).json()
        assert told["champions"] == {"late_trip": "v1", "how_far": None}
        assert told["problems"] == {}
