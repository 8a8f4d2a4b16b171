"""Bodies that are under way are bounded in sum, whether they say how large they are or not."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from attrs import frozen

from charkha.serving.body import Limits, read_body
from charkha.serving.calls import Call
from charkha.serving.patience import Patience
from charkha.serving.refusals import Refused
from charkha.serving.under_way import UnderWay

MIB = 1 << 20


@frozen(eq=False)
class SlowBody:
    """A body whose end comes when it may."""

    size: int
    end: asyncio.Event

    async def whole(self) -> bytes:
        return b"".join([part async for part in self.parts()])

    async def parts(self) -> AsyncIterator[bytes]:
        yield bytes(self.size // 2)
        await self.end.wait()
        yield bytes(self.size - self.size // 2)


def call(size: int, end: asyncio.Event, *, declared: bool) -> Call:
    length = {"content-length": str(size)} if declared else {}
    headers = {"content-type": "application/json", **length}
    return Call("POST", "/", headers, SlowBody(size, end))


class Silent(SlowBody):
    """A body of which nothing comes."""

    async def parts(self) -> AsyncIterator[bytes]:
        await self.end.wait()
        yield b""


def silent_call(size: int, end: asyncio.Event) -> Call:
    headers = {"content-type": "application/json", "content-length": str(size)}
    return Call("POST", "/", headers, Silent(size, end))


@pytest.mark.parametrize("declared", [True, False])
def test_large_bodies_are_bounded_in_sum_and_small_ones_are_let_in(declared: bool) -> None:
    async def read() -> None:
        end, patience, limits = asyncio.Event(), Patience(10, UnderWay(2 * MIB)), Limits()
        size = 2 * MIB  # of which half has come
        reading = [asyncio.create_task(read_body(call(size, end, declared=declared), limits, patience)) for _ in "ab"]
        await asyncio.sleep(0.01)
        with pytest.raises(Refused, match="expected fewer large bodies at a time: 2 MiB are under way") as refused:
            await asyncio.wait_for(read_body(call(size, end, declared=declared), limits, patience), 5)
        assert (refused.value.status, refused.value.headers["retry-after"]) == (429, "1")
        small = asyncio.create_task(read_body(call(60_000, end, declared=declared), limits, patience))
        await asyncio.sleep(0.01)
        assert not small.done()
        for each in reading:
            each.cancel()
        end.set()
        assert len(await small) == 60_000
        await asyncio.gather(*reading, return_exceptions=True)
        assert len(await read_body(call(2 * MIB, end, declared=declared), limits, patience)) == 2 * MIB

    asyncio.run(read())


def test_who_announces_a_large_body_and_sends_nothing_keeps_nobody_out() -> None:
    async def read() -> None:
        end, patience, limits = asyncio.Event(), Patience(10, UnderWay(2 * MIB)), Limits()
        silent = [asyncio.create_task(read_body(silent_call(4 * MIB, end), limits, patience)) for _ in range(50)]
        await asyncio.sleep(0.01)
        came = asyncio.Event()
        came.set()
        assert len(await read_body(call(2 * MIB, came, declared=True), limits, patience)) == 2 * MIB
        for each in silent:
            each.cancel()
        await asyncio.gather(*silent, return_exceptions=True)

    asyncio.run(read())
