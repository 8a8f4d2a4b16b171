"""gRPC asks for the keys that HTTP asks for, by the same ring, and answers with its own codes."""

import asyncio
from collections.abc import Sequence
from typing import Any, get_args

import grpc
import pytest
from serving_project import Stage

from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.keyring import ANY_KEY, OPEN, Keyring, Need
from charkha.serving.keys import create_key
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_service import SERVICE, InferenceService
from charkha.storage.ledger import KeyRole

ROLES: tuple[KeyRole, ...] = get_args(KeyRole)
NEEDS: dict[str, Need] = {
    "ServerLive": OPEN,
    "ServerReady": OPEN,
    "ModelReady": ANY_KEY,
    "ServerMetadata": ANY_KEY,
    "ModelMetadata": ANY_KEY,
    "ModelInfer": "predict",
}
Code = grpc.StatusCode
Metadata = tuple[tuple[str, str], ...]
Answered = tuple[grpc.StatusCode, str, dict[str, Any]]


@pytest.fixture
def keyring(stage: Stage, metrics: ServingMetrics) -> Keyring:
    return Keyring(stage.home.ledger, stage.clock, metrics)


@pytest.fixture
def service(stage: Stage, metrics: ServingMetrics, keyring: Keyring) -> InferenceService:
    desk = Desk(stage.service)
    return InferenceService(desk, Described(desk.service, lambda: False), Limits(), metrics, keyring)


def answers(service: InferenceService, calls: Sequence[tuple[str, Metadata]]) -> list[Answered]:
    """Return code, details and trailing metadata of calls with empty messages, one after the other."""

    async def served() -> list[Answered]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((service.handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return [await answered(channel, method, shown) for method, shown in calls]
        finally:
            await server.stop(None)

    return asyncio.run(served())


async def answered(channel: Any, method: str, shown: Metadata) -> Answered:
    call = channel.unary_unary(f"/{SERVICE}/{method}")(b"", metadata=shown, timeout=10)
    return await call.code(), await call.details() or "", dict(await call.trailing_metadata())


def bearer(text: str) -> Metadata:
    return (("authorization", f"Bearer {text}"),)


def make(stage: Stage, keyring: Keyring, role: KeyRole, rate: float | None = None) -> str:
    made = create_key(stage.home.ledger, stage.clock, "shop", (role,), actor="test", rate=rate)
    keyring.refresh()
    return made.text


def test_every_method_is_here(service: InferenceService) -> None:
    handlers: Any = service.handlers()
    assert {name.rsplit("/", 1)[1] for name in handlers._method_handlers} == set(NEEDS)


@pytest.mark.parametrize(("method", "need"), NEEDS.items())
def test_a_method_is_closed_without_the_right_key(
    service: InferenceService, stage: Stage, keyring: Keyring, method: str, need: Need
) -> None:
    keys = {role: make(stage, keyring, role) for role in ROLES}
    wrong = keys["admin"][:-1] + ("0" if keys["admin"][-1] != "0" else "1")
    for shown in ((), bearer(wrong), (("x-api-key", ""),)):
        code = answers(service, [(method, shown)])[0][0]
        assert (code == Code.UNAUTHENTICATED) == (need != OPEN), shown
    allowed = {need, "admin"} if need in ROLES else set(ROLES)
    found = answers(service, [(method, bearer(key)) for key in keys.values()])
    codes = dict(zip(keys, (code for code, _, _ in found), strict=True))
    assert {role for role, code in codes.items() if code != Code.PERMISSION_DENIED} == allowed
    assert Code.UNAUTHENTICATED not in codes.values()


def test_a_refusal_says_what_is_needed_never_the_key_and_is_counted(
    service: InferenceService, stage: Stage, keyring: Keyring, metrics: ServingMetrics
) -> None:
    text = make(stage, keyring, "label")
    shown = (("x-api-key", text), ("x-request-id", "order-1"))
    ((code, said, trailing),) = answers(service, [("ModelInfer", shown)])
    assert (code, said) == (Code.PERMISSION_DENIED, "expected an API key with the role predict, got one with label")
    assert trailing["x-request-id"] == "order-1"
    assert text not in said + str(trailing)
    assert f'route="/{SERVICE}/ModelInfer",status="403"}} 1.0' in metrics.exposition().decode()


def test_a_key_has_one_rate_over_http_and_grpc(service: InferenceService, stage: Stage, keyring: Keyring) -> None:
    text = make(stage, keyring, "predict", rate=2)
    keyring.admit(dict(bearer(text)), "predict")
    found = answers(service, [("ServerMetadata", bearer(text))] * 2)
    assert [code for code, _, _ in found] == [Code.OK, Code.RESOURCE_EXHAUSTED]
    assert found[1][2]["retry-after"] == "1"
    assert answers(service, [("ServerLive", ())])[0][0] == Code.OK
