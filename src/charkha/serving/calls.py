"""An HTTP call and what is replied to it, as the routes see them, whichever server carries them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
from attrs import frozen

Headers = Sequence[tuple[str, str]]

JSON: Headers = (("content-type", "application/json"),)
_json = msgspec.json.Encoder()


class RequestHeaders(Protocol):
    """The headers of a request; names in lower case."""

    def __contains__(self, key: str) -> bool:
        """Say whether a header was sent."""
        ...

    def get(self, key: str, default: Any = None) -> Any:
        """Return a header's value, or the default: also where it was sent, and is not ASCII."""
        ...


class Disconnected(Exception):
    """The client went away before all of its body had come."""


class Body(Protocol):
    """The body of a request, as it comes."""

    async def whole(self) -> bytes:
        """Return all of it. Raises Disconnected."""
        ...

    def parts(self) -> AsyncIterator[bytes]:
        """Yield it as it comes. Raises Disconnected."""
        ...


@frozen(eq=False)
class Call:
    """A request whose body is not read yet."""

    method: str
    path: str
    headers: RequestHeaders
    body: Body
    query: str = ""


class Reply(msgspec.Struct, frozen=True, eq=False):
    """What is answered. headers: without content-length."""

    status: int
    body: bytes
    headers: Headers = JSON


Endpoint = Callable[[Call], Awaitable[Reply]]


def json_reply(answer: Any, status: int = 200) -> Reply:
    """Return an answer as JSON."""
    return Reply(status, _json.encode(answer))
