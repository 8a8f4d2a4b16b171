"""Why a call was not answered, as types that a caller can tell apart.

CallFailed
├── WrongCall             what was passed makes no call; nothing was sent. `field` says where
├── Unreachable           no connection, or no answer: nobody knows what became of the call
└── Refused               the server said no; nothing of the call was taken
    ├── InvalidRequest    400, 409, 413, 415, 422: the request itself; `field` says where
    │   ├── Quarantined   pushed rows that break their source's contract; `quarantine` is where they are kept
    │   └── KeyReused     an idempotency key that came with other rows before
    ├── NotAuthorised     401, 403: no API key, or not one for this
    ├── NotFound          404, 405
    │   ├── UnknownModel
    │   └── UnknownSource
    ├── Overloaded        429: more than can be answered soon, or more than the key allows
    ├── Unavailable       503, and 502 of something in between: not now
    ├── DeadlinePassed    504, 408: too late
    └── ServerFailed      the server's own fault
"""

import re
from typing import Any

import msgspec

UNKNOWN = "unknown"  # the kind of what something in between said
_ROW = re.compile(r"rows\[(\d+)\]")


class CallFailed(Exception):
    """A call that was not answered. request_id: by which the server's log knows it."""

    def __init__(self, message: str, request_id: str) -> None:
        self.message, self.request_id = message, request_id
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message} (request {self.request_id})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process with all facts."""
        return _restored, (type(self), self.__dict__)


def _restored(kind: type[CallFailed], facts: dict[str, Any]) -> CallFailed:
    error = kind.__new__(kind, facts["message"])
    error.__dict__.update(facts)
    return error


class WrongCall(CallFailed):
    """What was passed makes no call: nothing was sent. field: a path such as "rows[2].km", or None. No request_id."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message if field is None else f"`{field}`: {message}", "")
        self.field = field

    def __str__(self) -> str:
        return self.message


class Unreachable(CallFailed):
    """No connection, or no answer in time."""


class Refused(CallFailed):
    """What the server said. kind: its code, such as "invalid". field: a path such as "rows[2].km", or None.

    retry_after: in how many seconds to come again, where it says so.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        field: str | None,
        request_id: str,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, request_id)
        self.status, self.kind, self.field, self.retry_after = status, kind, field, retry_after

    def __str__(self) -> str:
        return f"{self.status} {self.kind}: {self.message} (request {self.request_id})"

    def count_rows_from(self, first: int) -> None:
        """Name the row as the caller counts it: of a call that carries his rows from the given one on."""
        if first and self.field is not None and (found := _ROW.match(self.field)):
            row = f"rows[{first + int(found[1])}]"
            self.message = self.message.replace(found[0], row, 1)
            self.field = row + self.field[found.end() :]


class InvalidRequest(Refused):
    """The request itself; it would be refused again."""


class Quarantined(InvalidRequest):
    """Rows that break the contract of their source. quarantine: under which id they are kept; None if they are not."""

    quarantine: str | None = None


class KeyReused(InvalidRequest):
    """An idempotency key that came with other rows before."""


class NotAuthorised(Refused):
    """No API key, or one that may not do this."""


class NotFound(Refused):
    """No such route."""


class UnknownModel(NotFound):
    """The project has no such model."""


class UnknownSource(NotFound):
    """The project has no such source."""


class Overloaded(Refused):
    """More calls than can be answered soon."""


class Unavailable(Refused):
    """The server cannot answer now: no version serves, or the model was killed."""


class DeadlinePassed(Refused):
    """The call came too late, or waited too long."""


class ServerFailed(Refused):
    """The server's own fault; its log has the trace under the request id."""


_OF_KIND: dict[str, type[Refused]] = {
    "quarantined": Quarantined,
    "key_reused": KeyReused,
    "unknown_model": UnknownModel,
    "unknown_source": UnknownSource,
}
_OF_STATUS: dict[int, type[Refused]] = {
    401: NotAuthorised,
    403: NotAuthorised,
    404: NotFound,
    405: NotFound,
    408: DeadlinePassed,
    429: Overloaded,
    502: Unavailable,
    503: Unavailable,
    504: DeadlinePassed,
}


class _Told(msgspec.Struct, frozen=True):
    code: str
    message: str
    field: str | None = None
    quarantine: str | None = None


class _Body(msgspec.Struct, frozen=True):
    error: _Told


def refusal(status: int, body: bytes, request_id: str, retry_after: float | None) -> Refused:
    """Return what a response of status 300 or more says, whoever wrote it: perhaps something in between."""
    try:
        told = msgspec.json.decode(body, type=_Body).error
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = _Told(UNKNOWN, f"expected an answer of a Charkha server, got {body[:200].decode(errors='replace')!r}")
    wrong = InvalidRequest if 400 <= status < 500 else ServerFailed
    kind = _OF_KIND.get(told.code) or _OF_STATUS.get(status, wrong)
    error = kind(status, told.code, told.message, told.field, request_id, retry_after=retry_after)
    if isinstance(error, Quarantined):
        error.quarantine = told.quarantine
    return error
