"""Why a request was refused, as the client reads it.

    Refused                  status, code, message, field
    ├── Malformed            400  not JSON, or JSON that says two things
    ├── Invalid              422  JSON of the wrong shape: names the field
    ├── TooLarge             413  more bytes or rows than are taken at once
    ├── Unauthenticated      401  no API key, or one that opens nothing
    ├── Forbidden            403  an API key whose roles are others
    ├── RateLimited          429  more calls than the API key allows
    ├── Overloaded           429  more calls than can be answered soon
    ├── DeadlinePassed       504  a call that waited longer than its client does
    └── …                    whatever else the routes refuse, with its own status and code

Every refusal becomes `{"error": {"code", "message", "field"}}`; `field` is a path such as `rows[2].distance`, null
where no field is to blame.
"""

import math
from collections.abc import Sequence

import msgspec

SHOWN = 200


class Refusal(msgspec.Struct, frozen=True):
    """What the client is told."""

    code: str
    message: str
    field: str | None = None


class Refused(Exception):
    """A request that is not answered as asked. `headers` go with the response."""

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.status = status
        self.refusal = Refusal(code, message, field)
        self.headers = headers or {}
        super().__init__(message)


class Malformed(Refused):
    """A body that is not one JSON document in UTF-8, or one that says two things."""

    def __init__(self, message: str, field: str | None = None, code: str = "malformed_json") -> None:
        super().__init__(400, code, message, field)


class Invalid(Refused):
    """A body of the wrong shape."""

    def __init__(self, message: str, field: str | None) -> None:
        super().__init__(422, "invalid", message, field)


class TooLarge(Refused):
    """More than is taken at once."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(413, code, message, field)


class Unauthenticated(Refused):
    """A call without an API key, or with one that opens nothing. wrong: there was one."""

    def __init__(self, message: str, *, wrong: bool = False) -> None:
        error = ', error="invalid_token"' if wrong else ""
        # The second is for browsers, which ask for a password when they read it.
        challenge = f'Bearer realm="charkha"{error}, Basic realm="charkha"'
        said = f"{message}. Keys are made by: charkha keys create"
        super().__init__(401, "unauthenticated", said, headers={"www-authenticate": challenge})


class Forbidden(Refused):
    """A call whose API key has other roles than its route needs."""

    def __init__(self, need: str, roles: Sequence[str]) -> None:
        challenge = f'Bearer realm="charkha", error="insufficient_scope", scope="{need}"'
        said = f"expected an API key with the role {need}, got one with {', '.join(roles)}"
        super().__init__(403, "forbidden", said, headers={"www-authenticate": challenge})


class RateLimited(Refused):
    """More calls than an API key allows. rate: of all workers. wait: until this worker allows one again (s)."""

    def __init__(self, name: str, rate: float, wait: float) -> None:
        said = f"expected at most {rate:g} calls a second with the API key {name!r}, got more. Come again later"
        super().__init__(429, "rate_limited", said, headers={"retry-after": str(max(1, math.ceil(wait)))})


class Overloaded(Refused):
    """More calls than can be answered soon. wait: how long this one would have waited (s)."""

    def __init__(self, wait: float, what: str) -> None:
        said = f"expected fewer {what} at a time: this one would have waited {wait * 1000:.0f} ms. Come again later"
        super().__init__(429, "overloaded", said, headers={"retry-after": str(max(1, math.ceil(wait)))})


class DeadlinePassed(Refused):
    """A call whose answer would have come after its client had given it up. waited: how long it had waited (s)."""

    def __init__(self, waited: float) -> None:
        said = f"expected an answer within X-Request-Timeout-Ms, but the call had waited {waited * 1000:.0f} ms by then"
        super().__init__(504, "deadline_passed", said)


def body_of(refusal: Refusal) -> bytes:
    """Return the JSON body of an error response, cut to what is worth showing: hostile names can be very long."""
    field = None if refusal.field is None else shortened(refusal.field)
    return msgspec.json.encode({"error": Refusal(refusal.code, shortened(refusal.message), field)})


def shortened(text: str) -> str:
    """Return text cut to what is worth showing."""
    return text if len(text) <= SHOWN * 2 else f"{text[:SHOWN]}…{text[-SHOWN:]}"
