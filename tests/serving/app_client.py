"""A client that calls a router directly: whole HTTP requests and responses, no socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
from attrs import frozen

from charkha.serving.calls import Call
from charkha.serving.router import Router
from charkha.serving.tracing import TracedRouter


@frozen(eq=False)
class StreamBody:
    """The body of a request of httpx."""

    stream: httpx.AsyncByteStream

    async def whole(self) -> bytes:
        return b"".join([part async for part in self.stream])

    async def parts(self) -> AsyncIterator[bytes]:
        async for part in self.stream:
            yield part


class AllHeaders(httpx.Headers):
    """Headers that tell each value, as those of the server do."""

    def get_all(self, key: str) -> list[str]:
        return self.get_list(key)


@frozen(eq=False)
class RouterTransport(httpx.AsyncBaseTransport):
    """Carries requests to a router."""

    router: Router | TracedRouter

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = StreamBody(cast(httpx.AsyncByteStream, request.stream))
        reply = await self.router.reply(
            Call(request.method, request.url.path, AllHeaders(request.headers), body, request.url.query.decode())
        )
        return httpx.Response(reply.status, headers=list(reply.headers), content=reply.body)


class AppClient:
    """Sends requests to a router, one after the other."""

    def __init__(self, router: Router | TracedRouter, runner: asyncio.Runner) -> None:
        self._client = httpx.AsyncClient(transport=RouterTransport(router), base_url="http://app")
        self._runner = runner

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **parts))

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **parts: Any) -> httpx.Response:
        return self.request("POST", path, **parts)

    def together(self, *bodies: dict[str, Any], path: str) -> list[httpx.Response]:
        """Post bodies at the same time."""

        async def posted() -> list[httpx.Response]:
            return await asyncio.gather(*(self._client.post(path, json=body) for body in bodies))

        return self._runner.run(posted())

    def together_with(self, calls: list[tuple[dict[str, Any], str | None]], path: str) -> list[httpx.Response]:
        """Post bodies at the same time, each with an Idempotency-Key or none."""

        async def posted() -> list[httpx.Response]:
            headers = [{} if key is None else {"idempotency-key": key} for _, key in calls]
            pairs = zip(calls, headers, strict=True)
            return await asyncio.gather(*(self._client.post(path, json=body, headers=h) for (body, _), h in pairs))

        return self._runner.run(posted())


@contextmanager
def app_client(router: Router | TracedRouter) -> Iterator[AppClient]:
    """Open a client of a router."""
    with asyncio.Runner() as runner:
        yield AppClient(router, runner)
