"""Very many single calls of one client at the same time: answered in seconds, or given up in time."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from attrs import Factory, define

import charkha as ck
from charkha.client.errors import Unreachable

ANSWER = json.dumps({
    "id": "013dc2cb-b400-7000-8000-000000000000", "score": 0.5, "decision": True, "rules": [], "model": "m",
    "version": "v1", "role": "champion", "fallback": None, "time": "2013-04-01T12:00:00Z",
}).encode()  # fmt: skip
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)


@define
class Small:
    """A server of one answer. connections: how many came."""

    url: str
    delay_seconds: float
    connections: int = 0
    tasks: list["asyncio.Task[None]"] = Factory(list)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                await asyncio.sleep(self.delay_seconds)
                writer.write(HEAD + ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def small(delay_seconds: float = 0.0) -> AsyncIterator[Small]:
    told = Small("", delay_seconds)
    server = await asyncio.start_server(told.connected, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield told
    finally:
        server.close()
        for task in told.tasks:
            task.cancel()
        await asyncio.gather(*told.tasks, return_exceptions=True)


def test_two_thousand_cold_calls_are_answered_by_few_connections() -> None:
    async def ask() -> tuple[int, int, float]:
        async with small() as server, ck.AsyncClient(server.url, timeout=60) as client:
            began = time.process_time()
            found = await asyncio.gather(*(client.predict("m", {"a": 1}) for _ in range(2000)))
            return len(found), server.connections, time.process_time() - began

    answered, connections, cpu_seconds = asyncio.run(ask())
    assert answered == 2000
    assert connections <= 24  # eight, and those opened anew where a busy machine let one go
    assert cpu_seconds < 15  # some 2; it was minutes, with all of them unreachable


def test_calls_that_find_no_place_are_given_up_in_time_and_were_never_sent() -> None:
    async def ask() -> tuple[list[object], int, float]:
        async with small(delay_seconds=5) as server, ck.AsyncClient(server.url, timeout=0.5, in_flight=3) as client:
            began = time.monotonic()
            calls = (client.predict("m", {"a": 1}) for _ in range(1000))
            found: list[object] = [*await asyncio.gather(*calls, return_exceptions=True)]
            return found, server.connections, time.monotonic() - began

    found, connections, seconds = asyncio.run(ask())
    assert {type(each) for each in found} == {Unreachable}
    waited = sum("no place among the 3 calls" in str(each) for each in found)
    assert waited > 900  # later calls end later, and so a few get the places of those that gave up
    assert 3 <= connections <= 1000 - waited
    assert seconds < 4


def test_parts_of_one_predict_wait_their_turn_outside_the_time_of_a_call() -> None:
    most, together = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal most, together
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.1)
        together -= 1
        return httpx.Response(200, content=b'{"predictions":[' + ANSWER + b"]}")

    async def ask() -> int:
        transport = httpx.MockTransport(answer)
        async with ck.AsyncClient("http://app", rows_per_call=1, timeout=0.5, transport=transport) as client:
            return len(await client.predict("m", [{"a": 1}] * 40))

    assert asyncio.run(ask()) == 40  # ten times 0.1 s
    assert most == 4


def test_threads_that_share_a_client_share_its_places() -> None:
    most, together, lock = 0, 0, threading.Lock()

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal most, together
        with lock:
            together += 1
            most = max(most, together)
        time.sleep(0.3)
        with lock:
            together -= 1
        return httpx.Response(200, content=ANSWER)

    client = ck.Client("http://app", in_flight=2, timeout=0.5, transport=httpx.MockTransport(answer))
    with client, ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(client.predict, "m", {"a": 1}) for _ in range(6)]
        errors = [each.exception() for each in asked]
    assert most == 2
    assert sum(error is None for error in errors) >= 2
    assert any("no place among the 2 calls" in str(error) for error in errors)


def test_there_is_a_place() -> None:
    with pytest.raises(ValueError, match="in_flight: expected 1 or more"):
        ck.Client("http://app", in_flight=0)
    with pytest.raises(ValueError, match="parts_in_flight: expected 1 or more"):
        ck.AsyncClient("http://app", parts_in_flight=0)
