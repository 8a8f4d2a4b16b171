"""A time limit on all that one call reads and writes: httpx limits each read, and an answer may come byte by byte.

The limit is that of the thread, since a client that waits does all of a call in the thread that makes it.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

_PIECE_BYTES = 64 << 10


class Limit:
    """By when the call of this thread must end."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit what the block does."""
        self._of_thread.ends = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._of_thread.ends

    def left(self, kind: type[Exception]) -> float | None:
        """Return how many seconds are left; None without a limit. Raises the given kind where there are none."""
        ends = getattr(self._of_thread, "ends", None)
        if ends is None:
            return None
        left = float(ends - time.monotonic())
        if left <= 0:
            raise kind("the time for the whole call is over")
        return left


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, limit: Limit) -> None:
        self._stream, self._limit = stream, limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _shorter(timeout, self._limit.left(httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for low in range(0, len(buffer), _PIECE_BYTES):
            piece = buffer[low : low + _PIECE_BYTES]
            self._stream.write(piece, _shorter(timeout, self._limit.left(httpcore.WriteTimeout)))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        shorter = _shorter(timeout, self._limit.left(httpcore.ConnectTimeout))
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, shorter), self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend, limit: Limit) -> None:
        self._backend, self._limit = backend, limit

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        shorter = _shorter(timeout, self._limit.left(httpcore.ConnectTimeout))
        return _Stream(self._backend.connect_tcp(host, port, shorter, local_address, socket_options), self._limit)

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


def limited(client: httpx.Client) -> Limit:
    """Have a client keep a limit on all its connections, those through proxies too; return it."""
    limit = Limit()
    for transport in (client._transport, *client._mounts.values()):
        # httpx hands no backend on, and httpcore takes one for just this.
        if isinstance(transport, httpx.HTTPTransport):
            pool: Any = transport._pool
            pool._network_backend = _Backend(pool._network_backend, limit)
    return limit


def _shorter(given: float | None, left: float | None) -> float | None:
    if given is None or left is None:
        return left if given is None else given
    return min(given, left)
