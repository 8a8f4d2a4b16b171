"""The fuzzer, for a few seconds, against a real server: no status of its own fault, no hang, no worker that dies."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess, free_port, start_server
from serving_project import champion, deploy, write_bundle, write_project

from charkha.storage.home import open_home

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SEED = 20261127
SECONDS = 4.0


@pytest.fixture(scope="module")
def fuzzers() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def grpc_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, grpc_port: int) -> Iterator[ServerProcess]:
    project = write_project(tmp_path_factory.mktemp("project"))
    with open_home(project.home) as home:
        for model in project.models:
            write_bundle(project, home, "v1", name=model)
            deploy(home, champion("v1"), model=model)
    started = start_server(project.root, free_port(), workers=2, grpc_port=grpc_port)
    try:
        yield started
    finally:
        started.kill()


@pytest.fixture(scope="module")
def document(running: ServerProcess) -> Any:
    client = running.client()
    try:
        return client.get("/openapi.json")[1]
    finally:
        client.close()


def test_bad_requests_on_the_wire_are_no_fault_of_the_servers(
    running: ServerProcess, document: Any, fuzzers: Any
) -> None:
    workers = fuzzers("serving_kills").workers(running.process.pid)
    fuzz = fuzzers("fuzz_wire").Fuzz(running.port, fuzzers("fuzz_requests").examples_of(document), SEED, patient=False)
    tally = fuzz.run(SECONDS)
    assert [str(finding) for finding in tally.findings] == []
    assert tally.sent > 100
    assert {200, 400, 404, 415, 422} <= set(tally.statuses)
    assert fuzzers("serving_kills").workers(running.process.pid) == workers


def test_bad_messages_over_grpc_are_no_fault_of_the_servers(
    grpc_port: int, running: ServerProcess, document: Any, fuzzers: Any
) -> None:
    tally = fuzzers("fuzz_grpc").fuzz_grpc(f"127.0.0.1:{grpc_port}", document, SEED, SECONDS / 2)
    assert tally.findings == []
    assert {"OK", "INVALID_ARGUMENT", "UNIMPLEMENTED"} <= set(tally.codes)


def test_a_request_is_made_again_by_its_seed_and_number(document: Any, fuzzers: Any) -> None:
    requests = fuzzers("fuzz_requests")
    examples = requests.examples_of(json.loads(json.dumps(document)))
    made = [requests.sent(examples, SEED, number) for number in range(200)]
    assert made == [requests.sent(examples, SEED, number) for number in range(200)]
    assert made != [requests.sent(examples, SEED + 1, number) for number in range(200)]
    assert {"POST /v1/models/late_trip/predict", "GET /metrics", "POST /v2/models/late_trip/infer"} <= {
        f"{example.method.decode()} {example.target.decode()}" for example in examples
    }


def test_what_a_server_truly_cannot_is_told_from_its_faults(fuzzers: Any) -> None:
    tally = fuzzers("fuzz_wire").Tally()
    tally.judge(0, b"", b"HTTP/1.1 504 Gateway Timeout\r\n\r\nexpected an answer within X-Request-Timeout-Ms")
    tally.judge(1, b"", b"HTTP/1.1 200 OK\r\n\r\n")
    assert (tally.findings, tally.excused.total()) == ([], 1)
    tally.judge(2, b"sent", b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 Internal Server Error\r\n\r\n")
    tally.judge(3, b"sent", b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert [finding.what for finding in tally.findings] == ["status 500", "status 503"]
    assert tally.count("status") == 2
