"""Requests to fuzz a server with: those that its OpenAPI document has examples of, changed by chance into bad ones.

A request is made from a seed and its number alone, so that one that found something can be sent again.
"""

import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
from attrs import evolve, frozen

ARROW = "application/vnd.apache.arrow.stream"
_TOLD_ELSEWHERE = ("/metrics", "/docs", "/openapi.json")
_VERSION = "v1"
_LONGEST_PAUSE = 0.02
_MOST_BYTES = 1 << 20

# Raw pieces of JSON, or of nothing, that stand where a value belongs.
VALUES: Sequence[bytes] = (
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0.0", b"5e-324", b"9223372036854775808", b"1.5", b"007"),
    *(b'""', b'"12"', b'"\\ud800"', b'"\\u0000"', b'"\\u202e\\u200b"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b"[]", b"{}"),
    *(b'"../../etc/passwd"', b'"http://127.0.0.1:1/x"', b'"9999-12-31T23:59:60Z"', b'"0001-01-01T00:00:00+23:59"'),
    *(b"1" * 5000, b'"' + b"x" * 5000 + b'"', b"[" * 20_000, b'{"a":' * 5000, b"[" + b"null," * 2000 + b"null]"),
)
HEADERS: Sequence[tuple[bytes, bytes]] = (
    *(
        (b"content-type", kind)
        for kind in (b"text/plain", b"application/json; charset=utf-16", b"\xff", b"", b"a/b;" * 99)
    ),
    *(
        (b"content-type", kind)
        for kind in (b"application/json", b"text/csv", ARROW.encode(), b"application/octet-stream")
    ),
    *((b"content-encoding", way) for way in (b"gzip", b"identity", b"br, gzip", b"\xfe")),
    *(
        (b"content-length", length)
        for length in (b"-1", b"1e3", b"0", b"3", b"99999999999999999999", b"\xb2", b"4294967297")
    ),
    *((b"transfer-encoding", way) for way in (b"chunked", b"gzip, chunked", b"identity", b"chunked, chunked", b"x")),
    *((b"x-request-timeout-ms", limit) for limit in (b"1", b"0", b"-1", b"nan", b"9" * 40, b"\xb2", b"1000")),
    *((b"idempotency-key", key) for key in (b"a", b"", b"\xff", b"k" * 300, b"a b", b"\t")),
    *((b"inference-header-content-length", length) for length in (b"0", b"5", b"-5", b"99999", b"x", b"\xb9")),
    *(
        (name, b"\xff\x00"[:1] * 40)
        for name in (b"authorization", b"x-api-key", b"traceparent", b"x-request-id", b"host")
    ),
    *((b"expect", way) for way in (b"100-continue", b"200-ok")),
    *((b"connection", way) for way in (b"close", b"upgrade", b"keep-alive", b"content-length")),
    *((b"upgrade", b"websocket"), (b"x-a", b"a" * 100_000), (b"x-nul", b"a\0b"), (b"x y", b"z"), (b"", b"")),
)
METHODS: Sequence[bytes] = (
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"A" * 300,
    b"get",
    b"\xff",
)
TARGETS: Sequence[bytes] = (
    *(
        b"/../../../etc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/%252e%252e/etc/passwd",
        b"//",
        b"*",
        b"",
        b"/%",
        b"/%ff",
    ),
    *(
        b"/v2/models/%00/infer",
        b"http://127.0.0.1:1/readyz",
        b"/v1/models/" + b"a" * 20_000 + b"/predict",
        b"/\xff",
        b"/#",
    ),
)
QUERIES: Sequence[bytes] = (
    b"?reasons=1",
    b"?reasons=%D9%A1",
    b"?reasons=-1",
    b"?" + b"a=1&" * 50,
    b"?reasons=1&reasons=2",
    b"?%",
)


@frozen
class Request:
    """A request before it is put on the wire."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    version: bytes = b"HTTP/1.1"
    chunked: bool = False


@frozen
class Sent:
    """What goes over one connection: bytes, and how long to wait after each of them (s). what: how it was made."""

    what: str
    parts: tuple[tuple[bytes, float], ...]


Change = Callable[[Request, random.Random], Request]


def examples_of(document: Mapping[str, Any]) -> list[Request]:
    """Return a request for each operation of a server's OpenAPI document, in each form that it takes."""
    found = [_request("GET", path) for path in _TOLD_ELSEWHERE]
    for path, operations in document["paths"].items():
        target = path.replace("{version}", _VERSION)
        if "get" in operations:
            found.append(_request("GET", target))
        if "post" in operations:
            found.extend(_posts(target, operations["post"]["requestBody"]["content"]))
    return found


def _posts(target: str, content: Mapping[str, Any]) -> Iterator[Request]:
    example = content["application/json"]["example"]
    yield _request("POST", target, "application/json", json.dumps(example).encode())
    if ARROW in content:
        yield _request("POST", target, "application/json", json.dumps({"rows": [example] * 3}).encode())
        sink = io.BytesIO()
        pl.DataFrame([example] * 3).write_ipc_stream(sink)
        yield _request("POST", target, ARROW, sink.getvalue())
    if target.endswith("/invocations"):
        (row,) = example["dataframe_records"]
        yield _request("POST", target, "text/csv", f"{','.join(row)}\n{','.join(map(str, row.values()))}\n".encode())


def _request(method: str, target: str, kind: str = "", body: bytes = b"") -> Request:
    headers = ((b"content-type", kind.encode()),) if kind else ()
    return Request(method.encode(), target.encode(), headers, body)


def sent(examples: Sequence[Request], seed: int, number: int) -> Sent:
    """Return what the number of a seed sends."""
    dice = random.Random(f"{seed}:{number}")
    names: list[str] = []
    requests = [_changed(dice.choice(examples), dice, names) for _ in range(dice.choice((1, 1, 1, 1, 2, 5)))]
    wire = b"".join(map(on_wire, requests))
    if dice.random() < 0.25:
        names.append("bytes")
        wire = changed_bytes(wire, dice)
    return Sent(" ".join(dict.fromkeys(names)) or "as it is", tuple(_delivered(wire, dice)))


def _changed(request: Request, dice: random.Random, names: list[str]) -> Request:
    for _ in range(dice.choice((0, 1, 1, 2, 3))):
        change = dice.choice(CHANGES)
        names.append(change.__name__.strip("_"))
        request = change(request, dice)
    return request


def on_wire(request: Request) -> bytes:
    """Return a request as it is sent."""
    head = b" ".join((request.method, request.target, request.version))
    length = () if request.chunked else ((b"content-length", str(len(request.body)).encode()),)
    way = ((b"transfer-encoding", b"chunked"),) if request.chunked else ()
    lines = (name + b": " + value for name, value in ((b"host", b"x"), *request.headers, *length, *way))
    return b"\r\n".join((head, *lines, b"", _chunks(request.body) if request.chunked else request.body))


def _chunks(body: bytes) -> bytes:
    size = max(1, len(body) // 7)
    parts = (body[low : low + size] for low in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def changed_bytes(data: bytes, dice: random.Random) -> bytes:
    """Return bytes with a few of them changed, cut out, doubled or put in."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        low = dice.randrange(len(changed) + 1)
        high = min(len(changed), low + dice.choice((1, 1, 2, 8, 100)))
        changed[low:high] = dice.choice(
            (b"", dice.randbytes(high - low), dice.randbytes(dice.randrange(9)), changed[low:high] * 2)
        )
    return bytes(changed)


def _delivered(wire: bytes, dice: random.Random) -> Iterator[tuple[bytes, float]]:
    """Yield the pieces in which bytes are sent: at once, cut short, or slowly."""
    if dice.random() < 0.1:
        wire = wire[: dice.randrange(len(wire) + 1)]
    pieces = dice.choice((1, 1, 1, 1, 3, 20))
    cuts = sorted(dice.randrange(len(wire) + 1) for _ in range(pieces - 1))
    for low, high in zip((0, *cuts), (*cuts, len(wire)), strict=True):
        yield wire[low:high], dice.random() * _LONGEST_PAUSE if pieces > 1 else 0.0


def _method(request: Request, dice: random.Random) -> Request:
    return evolve(request, method=dice.choice(METHODS))


def _target(request: Request, dice: random.Random) -> Request:
    if dice.random() < 0.5:
        return evolve(request, target=dice.choice(TARGETS))
    return evolve(request, target=changed_bytes(request.target, dice).replace(b"\r", b"").replace(b"\n", b""))


def _query(request: Request, dice: random.Random) -> Request:
    return evolve(request, target=request.target + dice.choice(QUERIES))


def _version(request: Request, dice: random.Random) -> Request:
    return evolve(
        request, version=dice.choice((b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"", b"HTCPCP/1.0"))
    )


def _headers(request: Request, dice: random.Random) -> Request:
    more = tuple(dice.choice(HEADERS) for _ in range(dice.choice((1, 1, 2, 3))))
    return evolve(request, headers=(*more, *request.headers) if dice.random() < 0.5 else (*request.headers, *more))


def _many_headers(request: Request, dice: random.Random) -> Request:
    return evolve(
        request, headers=request.headers + tuple((b"x-%d" % n, b"a") for n in range(dice.choice((50, 99, 5000))))
    )


def _no_headers(request: Request, dice: random.Random) -> Request:
    return evolve(request, headers=())


def _chunked(request: Request, dice: random.Random) -> Request:
    return evolve(request, chunked=True)


def _body(request: Request, dice: random.Random) -> Request:
    return evolve(request, body=changed_bytes(request.body, dice))


def _junk(request: Request, dice: random.Random) -> Request:
    size = dice.choice((0, 1, 10, 1000, 100_000))
    return evolve(
        request, body=dice.choice((dice.randbytes(size), b"[" * size, b" " * size, b"\x1f\x8b\x08" + b"\0" * size))
    )


def _large(request: Request, dice: random.Random) -> Request:
    return evolve(request, body=request.body + b" " * dice.choice((1 << 20, 5 << 20)))


def _value(request: Request, dice: random.Random) -> Request:
    """Put something else for a value, or a key, of a document."""
    marks = [place for place, byte in enumerate(request.body) if byte in b":,[{"]
    if not marks:
        return _junk(request, dice)
    low = dice.choice(marks) + 1
    high = next((place for place in range(low, len(request.body)) if request.body[place] in b",]}"), low)
    return evolve(request, body=request.body[:low] + dice.choice(VALUES) + request.body[high:])


def _twice(request: Request, dice: random.Random) -> Request:
    """Double a piece of a document: a key, a row, all of it."""
    marks = [place for place, byte in enumerate(request.body) if byte in b",[]{}"] or [0]
    low, high = sorted((dice.choice(marks), dice.choice((*marks, len(request.body)))))
    times = min(dice.choice((1, 2, 1000)), 1 + _MOST_BYTES // (high - low + 1))
    return evolve(request, body=request.body[:high] + request.body[low:high] * times + request.body[high:])


CHANGES: Sequence[Change] = (
    *(
        _value,
        _value,
        _value,
        _value,
        _twice,
        _body,
        _body,
        _junk,
        _large,
        _chunked,
        _chunked,
        _headers,
        _headers,
        _headers,
    ),
    *(_many_headers, _no_headers, _method, _target, _query, _query, _version),
)
