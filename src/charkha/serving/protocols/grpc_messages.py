"""The messages of calls over gRPC while they are on their way: bounded in time, and in sum.

How large a message is, its library tells only with the whole of it, and lets it come from when it is waited for: so
each that is waited for counts as the largest that is taken. Most have come with the head of their call, and take no
time; one that takes long makes room where others want to be read.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from charkha.serving.body import Limits
from charkha.serving.patience import Patience, SlowBody
from charkha.serving.refusals import Malformed, Refused
from charkha.serving.under_way import MOST_BYTES, UnderWay

# How long a message may take while others wait for its room, and how long those wait.
CROWDED_SECONDS = 1.0
_LOOK_SECONDS = 0.1


class Messages:
    """Receives the messages of calls on one event loop. limits: of each. most_bytes: of all that are on their way."""

    def __init__(self, limits: Limits, most_bytes: int = MOST_BYTES) -> None:
        self._size, self._seconds = limits.body_bytes, limits.body_seconds
        self._under_way, self._patience = UnderWay(most_bytes), Patience(limits.body_seconds)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._looking: asyncio.TimerHandle | None = None

    async def receive(self, read: Callable[[], Awaitable[object]]) -> bytes:
        """Return the message of a call. read: waits for it, and returns something else than bytes where none comes.

        Raises Malformed where there is none, and Refused (408 when it does not come in time, 429 without room for it).
        """
        await self._enter()
        try:
            with self._patience.for_body():
                message = await read()
        except SlowBody:
            said = f"expected the whole message within {self._seconds:g} s, {CROWDED_SECONDS:g} s where others wait"
            raise Refused(408, "too_slow", f"{said}, got only a part of it") from None
        finally:
            self._leave()
        if not isinstance(message, bytes):
            raise Malformed(f"expected a message of at most {self._size} bytes, got none")
        return message

    async def _enter(self) -> None:
        if not self._waiting and self._under_way.has_room(self._size):
            self._under_way.take(self._size)
            return
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if self._looking is None:
            self._look(loop)
        try:
            async with asyncio.timeout(CROWDED_SECONDS):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if not turn.cancelled():  # its turn came in this very moment
                self._leave()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                said = "expected fewer messages at a time that come slowly: there was no room for this one"
                headers = {"retry-after": "1"}
                raise Refused(429, "overloaded", f"{said}. Come again later", headers=headers) from None
            raise

    def _leave(self) -> None:
        self._under_way.give_back(self._size)
        while self._waiting and self._under_way.has_room(self._size):
            turn = self._waiting.popleft()
            if not turn.cancelled():
                self._under_way.take(self._size)
                turn.set_result(None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the slowest make room for those that wait."""
        self._patience.give_up(CROWDED_SECONDS, len(self._waiting))
        self._looking = loop.call_later(_LOOK_SECONDS, self._look, loop) if self._waiting else None
