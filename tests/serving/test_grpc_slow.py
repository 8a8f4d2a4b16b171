"""Streams over gRPC that are held open, and send no message or only a part of it: others are answered all the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from serving_project import Stage

from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.keyring import Keyring
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols import grpc_calls
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_messages import Messages
from charkha.serving.protocols.grpc_server import options_of
from charkha.serving.protocols.grpc_service import SERVICE, InferenceService
from charkha.serving.protocols.inference_messages import ModelMetadataRequest
from charkha.serving.refusals import Malformed, Refused

Code = grpc.StatusCode
LIMITS = Limits(body_seconds=0.4)
METADATA = ModelMetadataRequest(name="late_trip").SerializeToString()
MIB = 1 << 20


def served(
    stage: Stage, metrics: ServingMetrics, use: Callable[[Any], Awaitable[None]], keyring: Keyring | None = None
) -> None:
    """Serve with the options of the server while a channel is used."""

    async def run() -> None:
        server = grpc.aio.server(options=options_of(LIMITS.body_bytes))
        desk = Desk(stage.service)
        service = InferenceService(desk, Described(desk.service, lambda: False), LIMITS, metrics, keyring)
        server.add_generic_rpc_handlers((service.handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await asyncio.wait_for(use(channel), 30)
        finally:
            await server.stop(None)

    asyncio.run(run())


def held(channel: Any) -> Any:
    """Return a call that sends its head, and never a message."""

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    return channel.stream_unary(f"/{SERVICE}/ModelInfer")(never(), timeout=20)


async def code_of(channel: Any, method: str, message: bytes = b"") -> grpc.StatusCode:
    code: grpc.StatusCode = await channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=10).code()
    return code


def test_a_stream_without_a_key_ends_before_its_message(stage: Stage, metrics: ServingMetrics) -> None:
    async def use(channel: Any) -> None:
        assert await held(channel).code() == Code.UNAUTHENTICATED

    served(stage, metrics, use, Keyring(stage.home.ledger, stage.clock, metrics))


def test_a_message_that_does_not_come_ends_its_call(stage: Stage, metrics: ServingMetrics) -> None:
    async def use(channel: Any) -> None:
        call = held(channel)
        assert (await call.code(), "the whole message within 0.4 s" in await call.details()) == (
            Code.DEADLINE_EXCEEDED,
            True,
        )
        assert await code_of(channel, "ModelMetadata", METADATA) == Code.OK

    served(stage, metrics, use)


def test_health_is_told_when_no_slot_is_free(
    stage: Stage, metrics: ServingMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_calls, "MOST_CALLS", 20)

    async def use(channel: Any) -> None:
        calls = [held(channel) for _ in range(20)]
        await asyncio.sleep(0.2)
        refused = held(channel)
        assert await refused.code() == Code.RESOURCE_EXHAUSTED
        assert int(dict(await refused.trailing_metadata())["retry-after"]) >= 1
        assert [await code_of(channel, name) for name in ("ServerLive", "ServerReady")] == [Code.OK] * 2
        assert {await call.code() for call in calls} == {Code.DEADLINE_EXCEEDED}
        assert await code_of(channel, "ModelMetadata", METADATA) == Code.OK

    served(stage, metrics, use)


def test_a_message_that_is_too_large_or_missing_is_refused(stage: Stage, metrics: ServingMetrics) -> None:
    async def use(channel: Any) -> None:
        assert await code_of(channel, "ModelInfer", bytes(LIMITS.body_bytes + 1)) == Code.RESOURCE_EXHAUSTED

        async def none() -> AsyncIterator[bytes]:
            nothing: tuple[bytes, ...] = ()
            for message in nothing:
                yield message

        assert await channel.stream_unary(f"/{SERVICE}/ModelInfer")(none()).code() == Code.INVALID_ARGUMENT

    served(stage, metrics, use)


def test_messages_under_way_are_bounded_in_sum() -> None:
    """Four have room. Others wait for it, and the slowest of the four make room for them or they are refused."""

    async def run() -> None:
        messages, end = Messages(Limits(body_bytes=MIB), 4 * MIB), asyncio.Event()
        most = now = 0

        async def slow() -> bytes:
            nonlocal most, now
            now += 1
            most = max(most, now)
            try:
                await end.wait()
                return b"slow"
            finally:
                now -= 1

        async def fast() -> bytes:
            return b"fast"

        ended = [asyncio.create_task(messages.receive(slow)) for _ in range(40)]
        found = await asyncio.gather(*ended[4:], return_exceptions=True)
        refused = [error for error in found if isinstance(error, Refused) and error.status == 429]
        assert {error.headers["retry-after"] for error in refused} == {"1"}
        assert (most, len(refused) >= 28) == (4, True)
        assert await asyncio.wait_for(messages.receive(fast), 5) == b"fast"
        end.set()
        await asyncio.gather(*ended, return_exceptions=True)
        assert [await messages.receive(fast) for _ in range(10)] == [b"fast"] * 10

    asyncio.run(run())


def test_who_goes_while_waiting_leaves_its_room_to_others() -> None:
    async def run() -> None:
        messages, end = Messages(Limits(body_bytes=MIB), MIB), asyncio.Event()

        async def slow() -> bytes:
            await end.wait()
            return b"slow"

        async def nothing() -> object:
            return None

        first, second, third = [asyncio.create_task(messages.receive(slow)) for _ in range(3)]
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.sleep(0)
        second.cancel()
        end.set()
        assert await asyncio.wait_for(third, 5) == b"slow"
        with pytest.raises(Malformed, match="got none"):
            await messages.receive(nothing)
        assert await asyncio.wait_for(messages.receive(slow), 5) == b"slow"

    asyncio.run(run())
