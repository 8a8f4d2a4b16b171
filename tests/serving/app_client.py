"""A client that calls an ASGI app directly: whole HTTP requests and responses, no socket."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from starlette.applications import Starlette


class AppClient:
    """Sends requests to an app, one after the other."""

    def __init__(self, app: Starlette, runner: asyncio.Runner) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://app")
        self._runner = runner

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **parts))

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **parts: Any) -> httpx.Response:
        return self.request("POST", path, **parts)


@contextmanager
def app_client(app: Starlette) -> Iterator[AppClient]:
    """Open a client of an app."""
    with asyncio.Runner() as runner:
        yield AppClient(app, runner)
