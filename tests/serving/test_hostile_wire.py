"""Hostile requests to a real server, on every route that takes a body, however it is framed and whenever it comes."""

import http.client
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from server_process import SCRIPT, ServerProcess, free_port, start
from serving_project import champion, deploy, write_bundle, write_project

from charkha.storage.home import open_home

HEAD_SECONDS = 3
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
TYPES = {"city": "BYTES", "km": "FP64", "stops": "INT64", "pooled": "BOOL"}
EVENT = {
    "trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
    "asked_at": "2013-04-01T09:00:00Z", "ended_at": "2013-04-01T10:00:00Z", "late": False,
}  # fmt: skip
LABEL = {"id": "013dc2cb-b400-7000-8000-000000000000", "label": True}
INPUTS = [{"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]} for name, kind in TYPES.items()]
PREDICT = "/v1/models/late_trip/predict"
INFER = "/v2/models/late_trip/infer"
# Route → a body that is taken, and in it a number.
ROUTES: dict[str, tuple[dict[str, Any], str]] = {
    PREDICT: (ROW, "2"),
    "/v1/models/late_trip/labels": (LABEL, "true"),
    "/v1/sources/trips/events": (EVENT, "4.0"),
    "/v1/models/late_trip/invocations": ({"dataframe_records": [ROW]}, "2"),
    INFER: ({"inputs": INPUTS}, "[2]"),
    "/v2/models/late_trip/versions/v1/infer": ({"inputs": INPUTS}, "[2]"),
}
JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def running(root: Path) -> Iterator[ServerProcess]:
    project = write_project(root)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        deploy(home, champion("v1"))
    port = free_port()
    script = f"import charkha.serving.server as s\ns.HEAD_SECONDS = {HEAD_SECONDS}\n{SCRIPT}"
    started = start([sys.executable, "-c", script, str(project.root), str(port), "2", "0"], project.root, port)
    try:
        yield started
    finally:
        started.kill()


def post(running: ServerProcess, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, body, {"content-type": JSON, **named})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def said(running: ServerProcess, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send bytes and return what comes until the server is silent for a moment, or ends the connection."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:
                break
            time.sleep(pause)
        found = b""
        try:
            while part := connection.recv(1 << 16):
                found += part
                connection.settimeout(0.2)
        except OSError:
            if not found and connection.gettimeout() == 20:
                raise
        return found


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
    return int(found[1]) if found else 0


def good(path: str) -> bytes:
    return json.dumps(ROUTES[path][0]).encode()


def test_the_bodies_are_good_otherwise(running: ServerProcess) -> None:
    assert {path: post(running, path, good(path))[0] for path in ROUTES} == dict.fromkeys(ROUTES, 200)


# What it is → what is sent in place of a good body. {} is the body, with a piece for its number.
BODIES: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "string": b'"x"',
    "deep": b"[" * 100_000,
    "deep, closed": b"[" * 100_000 + b"]" * 100_000,
    "2M elements": b"[" + b"1," * 1_000_000 + b"1]",
    "200k keys": b"{" + b",".join(b'"k%d":1' % number for number in range(200_000)) + b"}",
    "UTF-16": json.dumps(ROW).encode("utf-16"),
    "BOM": b"\xef\xbb\xbf" + json.dumps(ROW).encode(),
    "pickle": b"\x80\x04\x95\x06\x00\x00\x00\x00\x00\x00\x00\x8c\x02id\x94.",
    "gzip": b"\x1f\x8b\x08\x00" + b"\x00" * 20,
    "20 MB": b'{"city": "' + b"x" * 20_000_000 + b'"}',
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_is_none_is_refused_at_once(running: ServerProcess, path: str, what: str) -> None:
    started = time.monotonic()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: {len(BODIES[what])}\r\n\r\n"
    answer = said(running, head.encode(), BODIES[what])
    assert 400 <= status(answer) < 500
    assert b"expected" in answer
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "value", ["1e999", "Infinity", "9" * 5000, "{}", '"2"', '"\\ud800"', '"\\u0000"', "x", "[" * 9000]
)
def test_a_value_that_is_none_is_refused(running: ServerProcess, path: str, value: str) -> None:
    body, number = ROUTES[path]
    piece = f"[{value}]" if number == "[2]" else value
    text = json.dumps(body)
    place = text.rindex(number)
    code, answer = post(running, path, (text[:place] + piece + text[place + len(number) :]).encode())
    assert 400 <= code < 500
    assert "expected" in json.dumps(answer)


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_is_more_or_less_than_one_is_refused(running: ServerProcess, path: str) -> None:
    body = good(path)
    assert 400 <= post(running, path, body[:-3])[0] < 500
    assert 400 <= post(running, path, body + b" x")[0] < 500
    assert 400 <= post(running, path, body[:-1] + b"," + body[1:])[0] < 500  # every key twice


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "application/vnd.bento+pickle"},
        {"content_type": "multipart/form-data; boundary=" + "a" * 7000},
        {"content_encoding": "gzip"},
        {"content_encoding": "zstdx"},
        {"content_encoding": "\xff"},
    ],
)
def test_another_type_is_refused(running: ServerProcess, path: str, headers: dict[str, str]) -> None:
    assert post(running, path, good(path), **headers)[0] == 415


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x_request_timeout_ms", "\xb2"),
        ("x_request_timeout_ms", "9" * 40),
        ("idempotency_key", "\xff"),
        ("inference_header_content_length", "\xb2"),
        ("inference_header_content_length", "-1"),
    ],
)
def test_a_header_that_cannot_be_read_is_not_passed_over(running: ServerProcess, name: str, value: str) -> None:
    path = INFER if name.startswith("inference") else PREDICT
    code, answer = post(running, path, good(path), **{name: value})
    assert (code, "expected" in json.dumps(answer)) == (400, True)


def chunked(path: str, chunks: bytes, kind: str = JSON) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    return head.encode() + chunks


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_in_chunks_is_whole_or_refused(running: ServerProcess, path: str) -> None:
    body = good(path)
    assert status(said(running, chunked(path, chunk(body[:9]) + chunk(body[9:]) + b"0\r\n\r\n"))) == 200
    assert status(said(running, chunked(path, chunk(body) + b"ZZ\r\n{}\r\n0\r\n\r\n"))) == 400
    assert status(said(running, chunked(path, chunk(body) + b"0\r\nx-a: b\r\n\r\n"))) == 400  # trailers
    assert status(said(running, chunked(path, b"1\r\n[\r\n" * 20_000 + b"0\r\n\r\n"))) == 400


def test_a_table_in_chunks_is_not_taken_for_whole_when_it_is_cut_off(running: ServerProcess) -> None:
    """Of CSV every beginning is CSV, and so it is nearly with a stream of Arrow."""
    rows = b"city,km,stops,pooled\nPune,1.5,2,true\n"
    csv = chunked("/v1/models/late_trip/invocations", chunk(rows) + b"ZZ\r\n", "text/csv")
    assert status(said(running, csv)) == 400
    stream = pl.DataFrame([ROW]).write_ipc_stream(None).getvalue()
    assert status(said(running, chunked(PREDICT, chunk(stream) + b"0\r\n\r\n", ARROW))) == 200
    assert status(said(running, chunked(PREDICT, chunk(stream) + b"ZZ\r\n", ARROW))) == 400
    assert status(said(running, chunked(PREDICT, chunk(stream[:-30]) + b"0\r\n\r\n", ARROW))) == 400


GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
LENGTH = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON}\r\ncontent-length: ".encode()
# What it is → (bytes, statuses that say so)
WIRE: dict[str, tuple[bytes, set[int]]] = {
    "length of no number": (LENGTH + b"1e3\r\n\r\n{}", {400}),
    "negative length": (LENGTH + b"-5\r\n\r\n{}", {400}),
    "two lengths": (LENGTH + b"2\r\ncontent-length: 3\r\n\r\n{}", {400}),
    "length of 5,000 digits": (LENGTH + b"0" * 5000 + b"2\r\n\r\n{}", {400, 422}),
    "length of 2**64": (LENGTH + b"18446744073709551616\r\n\r\n{}", {400, 413}),
    "200 KB of a header": (GET + b"x-a: " + b"a" * 200_000 + b"\r\n\r\n", {431}),
    "5,000 headers": (GET + b"x-a: a\r\n" * 5000 + b"\r\n", {431}),
    "100 KB of a path": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", {414}),
    "NUL in a header": (GET + b"x-a: a\0b\r\n\r\n", {400}),
    "folded header": (GET + b"x-a: a\r\n b\r\n\r\n", {400}),
    "space before a colon": (GET + b"x-a : b\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\1" * 64 + b"\r\n\r\n", {400}),
    "junk": (bytes(range(128, 256)) + b"\r\n\r\n", {400}),
    "traversal": (b"GET /v2/models/../../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n", {404}),
    "traversal, encoded": (b"GET /v2/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd HTTP/1.1\r\nhost: x\r\n\r\n", {404}),
    "traversal, twice encoded": (b"GET /v2/models/%252e%252e%252fetc HTTP/1.1\r\nhost: x\r\n\r\n", {404}),
    "a URL for a model": (b"GET /v2/models/http:%2F%2F127.0.0.1/ready HTTP/1.1\r\nhost: x\r\n\r\n", {404}),
    "wrong method": (f"DELETE {INFER} HTTP/1.1\r\nhost: x\r\n\r\n".encode(), {405}),
}


@pytest.mark.parametrize("what", WIRE)
def test_bad_bytes_are_refused(running: ServerProcess, what: str) -> None:
    sent, statuses = WIRE[what]
    assert status(said(running, sent)) in statuses


def test_a_length_beside_chunks_does_not_lift_their_bound(running: ServerProcess) -> None:
    sent = LENGTH + b"2\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b" " * (5 << 20) + good(PREDICT)) + b"0\r\n\r\n"
    assert status(said(running, sent)) in {400, 413}


def test_requests_that_come_together_are_answered_in_their_order(running: ServerProcess) -> None:
    body = good(PREDICT)
    one = LENGTH + b"%d\r\n\r\n" % len(body) + body
    bad = LENGTH + b"2\r\n\r\n{}"
    answers = said(running, one + bad + GET + b"\r\n" + one)
    assert re.findall(rb"HTTP/1\.1 (\d{3})", answers) == [b"200", b"422", b"200", b"200"]


def test_who_is_slow_or_idle_makes_room(running: ServerProcess) -> None:
    idle = [socket.create_connection(("127.0.0.1", running.port), timeout=10) for _ in range(300)]
    slow = socket.create_connection(("127.0.0.1", running.port), timeout=HEAD_SECONDS * 3)
    started = time.monotonic()
    try:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nx-")
        assert post(running, PREDICT, good(PREDICT))[0] == 200
        gone = socket.create_connection(("127.0.0.1", running.port))
        gone.sendall(LENGTH + b"500\r\n\r\n{")
        gone.close()
        assert slow.recv(100) == b""  # ended by the server
        assert HEAD_SECONDS * 0.9 < time.monotonic() - started < HEAD_SECONDS * 2
        assert [each.recv(1) for each in idle] == [b""] * 300
    finally:
        for each in (*idle, slow):
            each.close()


def test_after_all_that_both_workers_are_those_of_the_beginning(running: ServerProcess, root: Path) -> None:
    log = (root / "server.log").read_text()
    assert '"level":"error"' not in log
    assert log.count("generation 1 serves") == 2
    assert post(running, PREDICT, good(PREDICT))[0] == 200
