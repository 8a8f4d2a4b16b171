"""By what a call is found again in logs and traces: its request id, and the trace of its caller.

`X-Request-Id` is the client's, where it is printable ASCII of at most 128 characters, else one of our own; every answer
carries it. `traceparent` is read by the rules of W3C Trace Context (level 2), and left alone where it breaks them.

>>> trace_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").trace_id
'4bf92f3577b34da6a3ce929d0e0e4736'
"""

import os
import re
from itertools import count

from attrs import frozen

from charkha.serving.calls import RequestHeaders

REQUEST_ID = "x-request-id"
TRACE_PARENT = "traceparent"
LONGEST_ID = 128

# One draw of randomness for a process, and a number for each of its calls: unique, and cheaper than a UUID.
_PROCESS = os.urandom(8).hex()
_numbers = count()
_PARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.DOTALL,
)


@frozen
class TraceParent:
    """Where a call comes from: lower-case hex, of 32 and 16 digits. sampled: whether its caller records the trace."""

    trace_id: str
    span_id: str
    sampled: bool


def request_id_of(headers: RequestHeaders) -> str:
    """Return the id that a client gave its call, or a new one."""
    given = headers.get(REQUEST_ID)
    if given is not None and 0 < len(given) <= LONGEST_ID and given.isascii() and given.isprintable():
        return str(given)
    return f"{_PROCESS}-{next(_numbers):x}"


def trace_of(given: str | None) -> TraceParent | None:
    """Return what a `traceparent` says; None where there is none, or it is not as the W3C has it."""
    found = None if given is None else _PARENT.fullmatch(given)
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"] is not None):
        return None
    if not found["trace"].strip("0") or not found["span"].strip("0"):
        return None
    return TraceParent(found["trace"], found["span"], bool(int(found["flags"], 16) & 1))


def marks(headers: RequestHeaders, request_id: str) -> dict[str, str]:
    """Return what a line of the log says of a call: `request_id`, and `trace_id` where there is a trace."""
    trace = trace_of(headers.get(TRACE_PARENT))
    return {"request_id": request_id} | ({} if trace is None else {"trace_id": trace.trace_id})
