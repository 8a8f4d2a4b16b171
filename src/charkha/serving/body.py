"""The body of a request, bounded in size and time."""

import re
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qs

from attrs import frozen

from charkha.serving.calls import Call, Disconnected
from charkha.serving.patience import Patience, SlowBody
from charkha.serving.reasons import MOST_REASONS
from charkha.serving.refusals import Malformed, Refused, TooLarge
from charkha.serving.under_way import SMALL_BYTES

REASONS = "reasons"
_WHOLE = re.compile("[0-9]{1,9}")


@frozen(kw_only=True)
class Limits:
    """What one request may ask for.

    rows: more per request amortise its cost, but hold up the requests behind it.
    body_bytes: of one body; well above what `rows` rows need.
    body_seconds: until a body must have come; a slow client then makes room.
    """

    rows: int = 1000
    body_bytes: int = 4 << 20
    body_seconds: float = 10.0


JSON_ONLY = frozenset({"application/json"})


async def read_body(call: Call, limits: Limits, patience: Patience, kinds: frozenset[str] = JSON_ONLY) -> bytes:
    """Return the body of a request. patience: of `limits.body_seconds`. kinds: the content types that are taken, with
    "" for none. Raises Refused (400, 408, 413, 415, 429).
    """
    _refuse_other_types(call, kinds)
    declared = call.headers.get("content-length", "")
    length = int(declared.lstrip("0")[:20] or "0") if declared.isdecimal() else None  # however many digits were sent
    if length is not None and length > limits.body_bytes:
        raise _too_large(limits)
    # A length beside chunks says nothing of them.
    is_small = length is not None and length <= SMALL_BYTES and "transfer-encoding" not in call.headers
    try:
        with patience.for_body():
            return await (call.body.whole() if is_small else _collected(call, limits, patience))
    except SlowBody:
        said = f"expected the whole body within {limits.body_seconds:g} s, got only a part of it"
        raise Refused(408, "too_slow", said, headers={"connection": "close"}) from None
    except Disconnected:
        raise Malformed("expected the whole body, without trailers, got one that was cut off") from None


def reasons_asked(call: Call) -> int:
    """Return how many reasons the query of a call's URL asks for; 0 where it does not. Raises Refused (400)."""
    given = _asked(call, (REASONS,)).get(REASONS)
    if given is None:
        return 0
    if "idempotency-key" in call.headers:
        raise Refused(400, "invalid_header", "expected no Idempotency-Key beside reasons, got both", "idempotency-key")
    if len(given) > 1 or not _WHOLE.fullmatch(given[0]) or not 1 <= int(given[0]) <= MOST_REASONS:
        said = f"expected a whole number of reasons from 1 to {MOST_REASONS}, got {', '.join(given)[:80]!r}"
        raise Refused(400, "invalid_query", said, REASONS)
    return int(given[0])


def refuse_reasons(parameters: Container[str]) -> None:
    """Refuse parameters of a protocol that ask for reasons, which only one route gives. Raises Refused (400)."""
    if REASONS in parameters:
        said = (
            "expected no reasons to be asked for over this protocol: POST /v1/models/MODEL/predict?reasons=N has them"
        )
        raise Refused(400, "invalid_parameter", said, f"parameters.{REASONS}")


def refuse_query(call: Call) -> None:
    """Refuse whatever stands behind the `?` of a call that takes nothing there. Raises Refused (400)."""
    if call.query:
        _asked(call, ())


def _asked(call: Call, known: Sequence[str]) -> Mapping[str, list[str]]:
    """Return what stands behind the `?`. known: the names that may. Raises Refused (400)."""
    try:
        asked = parse_qs(call.query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Refused(400, "invalid_query", "expected no more than 20 parts behind the `?`, got more") from None
    unknown = [name for name in asked if name not in known]
    if unknown:
        expected = f"only {', '.join(known)}" if known else "nothing"
        said = f"expected {expected} behind the `?`, got {', '.join(unknown)[:80]!r}"
        raise Refused(400, "invalid_query", said, unknown[0][:80])
    return asked


async def _collected(call: Call, limits: Limits, patience: Patience) -> bytes:
    """Return a body that may be large. Each byte counts from when it has come: who sends nothing takes no room.

    Who finds no room is refused, and has those make some that have taken long.
    """
    under_way = patience.under_way
    parts: list[bytes] = []
    # Each costs the loop as much as many bytes do.
    size, counted, most = 0, 0, 1000 + limits.body_bytes // 1024
    try:
        async for part in call.body.parts():
            size += len(part)
            if size > limits.body_bytes:
                raise _too_large(limits)
            if len(parts) > most:
                raise Malformed(f"expected a body in no more than {most} chunks, got more. Send larger ones")
            if size > SMALL_BYTES:
                if not under_way.has_room(size - counted):
                    patience.crowded()
                under_way.take(size - counted)
                counted = size
            parts.append(part)
    finally:
        under_way.give_back(counted)
    return b"".join(parts)


def _refuse_other_types(call: Call, kinds: frozenset[str]) -> None:
    if (
        "content-encoding" in call.headers
        and (said := call.headers.get("content-encoding") or "").lower() != "identity"
    ):
        raise _unsupported(f"expected a body that is not compressed, got content-encoding {said!r}")
    given = call.headers.get("content-type", "")
    if not _is_one_of(given, kinds):
        raise _unsupported(f"expected content-type {' or '.join(sorted(kinds - {''}))} in UTF-8, got {given!r}")


@lru_cache(maxsize=64)  # what clients say is nearly always the same
def _is_one_of(content_type: str, kinds: frozenset[str]) -> bool:
    return kind_of(content_type) in kinds and charset_of(content_type) in ("", "utf-8", "utf8")


def kind_of(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def charset_of(content_type: str) -> str:
    """Return what stands after the content type: its charset, where that is all there is."""
    return content_type.partition(";")[2].strip().lower().removeprefix("charset=").strip('"')


def _too_large(limits: Limits) -> TooLarge:
    return TooLarge(
        "body_too_large", f"expected a body of at most {limits.body_bytes} bytes, got more. Send fewer rows"
    )


def _unsupported(message: str) -> Refused:
    return Refused(415, "unsupported_type", message)
