"""An HTTP call and what is replied to it, as the routes see them, whichever server carries them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
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


class Metadata(dict[str, Any]):
    """The metadata of a call of gRPC as headers; of names that came twice it has the last value."""

    def __init__(self, pairs: Iterable[tuple[str, Any]]) -> None:
        self._pairs = tuple(pairs)
        super().__init__(self._pairs)

    def get_all(self, key: str) -> list[Any]:
        """Return all values of a name."""
        return [value for name, value in self._pairs if name == key]


def count_of(headers: RequestHeaders, key: str) -> int:
    """Return how often a header was sent, where its server tells; else whether it was."""
    get_all = getattr(headers, "get_all", None)
    return int(key in headers) if get_all is None else max(int(key in headers), len(get_all(key)))


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
