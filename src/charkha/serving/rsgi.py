"""The app as Granian's own interface (RSGI) wants it: a path to its endpoint, and nothing between the two."""

import asyncio
from collections.abc import AsyncIterator, Callable

from attrs import define
from granian.rsgi import (  # type: ignore[attr-defined]  # they are there, and not said to be exported
    HTTPProtocol,
    ProtocolClosed,
    ProtocolError,
    Scope,
)

from charkha.serving.calls import Call, Disconnected
from charkha.serving.router import ENDING, Router
from charkha.serving.tracing import TracedRouter


@define(eq=False)
class _ProtocolBody:
    proto: HTTPProtocol
    is_read: bool = False

    async def whole(self) -> bytes:
        self.is_read = True
        try:
            return await self.proto()
        except (ProtocolClosed, ProtocolError) as error:
            raise Disconnected from error

    async def parts(self) -> AsyncIterator[bytes]:
        broken, self.is_read = False, True
        try:
            async for part in self.proto:
                if broken:
                    raise Disconnected
                # Granian has an empty part for the end, and one more before it for what could not be read: the rest of
                # a body that was cut off, a chunk that is none, and trailers.
                broken = not part
                yield part
        except (ProtocolClosed, ProtocolError) as error:
            raise Disconnected from error


class RsgiApp:
    """A router as an RSGI app. begin, end: called once in a worker, before its first and after its last call, with its
    loop, which does not run then.
    """

    def __init__(
        self,
        router: Router | TracedRouter,
        begin: Callable[[asyncio.AbstractEventLoop], None],
        end: Callable[[asyncio.AbstractEventLoop], None],
    ) -> None:
        self._router, self._begin, self._end = router, begin, end

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begin(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._end(loop)

    async def __rsgi__(self, scope: Scope, proto: HTTPProtocol) -> None:
        asked = _ProtocolBody(proto)
        reply = await self._router.reply(Call(scope.method, scope.path, scope.headers, asked, scope.query_string))
        body, headers = b"" if scope.method == "HEAD" else reply.body, list(reply.headers)
        if not asked.is_read and _is_large(scope):  # the server does not wait for what is still on its way
            headers = [header for header in headers if header not in ENDING] + list(ENDING)
        proto.response_bytes(reply.status, headers, body)


def _is_large(scope: Scope) -> bool:
    """Say whether a body may not have come together with its head."""
    return len(scope.headers.get("content-length", "")) > 4 or "transfer-encoding" in scope.headers
