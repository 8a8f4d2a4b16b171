"""The server as users run it: processes, signals, ports; a deployment that changes under load; what it imports."""

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from server_process import SCRIPT, Client, ServerProcess, child_environment, free_port, server, start, start_server
from serving_project import champion, deploy, write_bundle, write_project

from charkha.bundles.store import BundleStore
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.server import NoSuchAddress, PortTaken, run
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import EJECT, Assignment, Draft

MODEL = "late_trip"
PREDICT = f"/v1/models/{MODEL}/predict"
LABELS = f"/v1/models/{MODEL}/labels"
EVENTS = "/v1/sources/trips/events"
IDLE = 1500
OVERLOADED = 429
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}


def event(number: int) -> dict[str, Any]:
    times = {"asked_at": "2013-04-01T09:00:00Z", "ended_at": "2013-04-01T10:00:00Z"}
    return {
        "trip": number,
        "city": "Pune",
        "driver": "ann",
        "km": 4.0,
        "stops": 2,
        "pooled": False,
        "late": None,
        **times,
    }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = write_project(tmp_path)
    with open_home(made.home) as home:
        write_bundle(made, home, "v1")
        write_bundle(made, home, "v2", intercept=3.0)
        deploy(home, champion("v1"))
    return made


@pytest.fixture
def running(project: Project) -> Iterator[ServerProcess]:
    with server(project.root) as started:
        yield started


def test_a_server_answers_from_end_to_end(running: ServerProcess, home: Home) -> None:
    url = f"http://127.0.0.1:{running.port}"
    assert running.ready_line == f"charkha serves late_trip, how_far at {url} with 1 worker; docs at {url}/docs\n"
    client = running.client()
    assert client.get("/readyz")[0] == 200
    (worker,) = serving_workers(running)
    assert not re.search("sklearn|pandas|matplotlib", Path(f"/proc/{worker}/maps").read_text())
    _, before = client.post(PREDICT, ROW)
    status, told = client.post(EVENTS, {"rows": [event(1), event(2), event(1)]})
    assert (status, told["accepted"], told["duplicates"]) == (200, 2, 1)
    _, after = client.post(PREDICT, ROW)
    assert after["score"] > before["score"]
    assert client.post(LABELS, {"id": after["id"], "label": True}) == (200, {"accepted": 1})
    status, refused = client.post(PREDICT, {**ROW, "km": "far"})
    assert (status, refused["error"]["field"]) == (422, "km")
    assert 'charkha_prediction_rows_sum{model="late_trip"} 2.0' in client.text("/metrics")
    client.close()
    assert running.terminate() == 0
    assert running.process.stdout is not None
    assert running.process.stdout.read() == ""
    frame = decode_predictions(home.log.read(prediction_stream(MODEL)), BundleStore(home.bundles))
    assert frame["id"].to_list() == [before["id"], after["id"]]
    assert decode_labels(home.log.read(label_stream(MODEL)))["id"].to_list() == [after["id"]]


def test_a_deployment_changes_under_load_without_a_failed_request(
    running: ServerProcess, project: Project, home: Home
) -> None:
    stopped = threading.Event()
    answers: list[tuple[int, Any]] = []
    shed: list[tuple[int, Any]] = []
    failures: list[Exception] = []

    def ask() -> None:
        client = running.client()
        try:
            while not stopped.is_set():
                status, answer = client.post(PREDICT, {"rows": [ROW, ROW]})
                (shed if status == OVERLOADED else answers).append((status, answer))
        except Exception as error:
            failures.append(error)
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        swap(project, home, number)
        time.sleep(0.15)
    wait_until_served(running, "v119")
    stopped.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {status for status, _ in answers} == {200}
    assert len(shed) < 0.02 * len(answers)  # a machine that does other things as well may be overloaded for a moment
    assert len(answers) > 200
    rows = [row for _, answer in answers for row in answer["predictions"]]
    assert len({row["version"] for row in rows}) > 5
    frame = decode_predictions(home.log.read(prediction_stream(MODEL)), BundleStore(home.bundles))
    served = {row["id"]: (row["version"], row["score"]) for row in rows}
    logged = {
        i: (v, s) for i, v, s, role in frame.select("id", "version", "score", "role").rows() if role == "champion"
    }
    assert served.items() <= logged.items()


def swap(project: Project, home: Home, number: int) -> None:
    """Deploy a version of its own, with a shadow every other time."""
    version = f"v{100 + number}"
    write_bundle(project, home, version, intercept=number / 10)
    shadow = [Assignment("v2", "shadow", 1.0)] if number % 2 else []
    deploy(home, champion(version), *shadow)


def wait_until_served(running: ServerProcess, version: str) -> None:
    client = running.client()
    deadline = time.monotonic() + 20
    while client.post(PREDICT, ROW)[1]["version"] != version:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    client.close()


HEAD = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
GARBAGE = {
    "traversal": b"GET /v1/models/../../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
    "encoded traversal": b"GET /docs/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "no HTTP": b"hello\r\n\r\n",
    "unknown version": b"GET /healthz HTTP/9.9\r\n\r\n",
    "NUL in a header": b"GET /nothing HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
    "negative length": f"{HEAD}content-length: -5\r\n\r\n".encode(),
    "two lengths": f"{HEAD}content-length: 2\r\ncontent-length: 5\r\n\r\n{{}}   ".encode(),
    "huge length": f"{HEAD}content-length: 99999999999\r\n\r\n{{".encode(),
    "bad chunk": f"{HEAD}transfer-encoding: chunked\r\n\r\nZZ\r\n{{}}\r\n0\r\n\r\n".encode(),
    "huge header": b"GET /nothing HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 2_000_000 + b"\r\n\r\n",
    "half a body, then the end": f"{HEAD}content-length: 50\r\n\r\n{{".encode(),
}


def test_garbage_on_the_wire_is_refused_and_the_server_goes_on(running: ServerProcess) -> None:
    for what, sent in GARBAGE.items():
        assert re.match(rb"HTTP/1\.[01] 4\d\d|$", said_to(running.port, sent)), what
    ask_on_new_connections(running, 1)


def said_to(port: int, sent: bytes) -> bytes:
    """Send bytes and no more; return the beginning of the answer, empty when the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(100)
        except TimeoutError:
            raise  # a server that hangs, unlike one that closes the connection
        except OSError:
            return b""


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_lets_a_request_in_progress_end(running: ServerProcess, told: signal.Signals) -> None:
    body = json.dumps(ROW).encode()
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall(head.encode() + body[:5])
        time.sleep(0.3)
        running.process.send_signal(told)
        time.sleep(0.5)
        connection.sendall(body[5:])
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
    assert running.process.wait(timeout=20) == 0


def test_readiness_ends_before_serving_does(project: Project, home: Home) -> None:
    with server(project.root, drain_seconds=2.0) as running:
        client = running.client()
        assert client.get("/readyz")[0] == 200
        running.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 1.5
        while client.get("/readyz")[0] == 200:
            assert time.monotonic() < deadline
        assert client.get("/readyz")[1]["ending"]
        assert client.post(PREDICT, ROW)[0] == 200
        ask_on_new_connections(running, 1)
        client.close()
        assert running.process.wait(timeout=20) == 0


def test_connections_in_use_are_ended_by_their_answers_not_cut(project: Project) -> None:
    with server(project.root, drain_seconds=1.0) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
        told = [ended_by_answer(connection) for _ in range(3)]
        assert told == [False] * 3
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert ended_by_answer(connection)
        assert ended_by_answer(connection)  # on a new one
        assert running.process.wait(timeout=20) == 0


def ended_by_answer(connection: http.client.HTTPConnection) -> bool:
    connection.request("POST", PREDICT, json.dumps(ROW), {"content-type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200
    response.read()
    return response.getheader("connection") == "close"


def test_workers_that_die_again_and_again_are_replaced(project: Project, home: Home) -> None:
    with server(project.root, workers=2) as running:
        for _ in range(3):
            killed = serving_workers(running)[0]
            os.kill(killed, signal.SIGKILL)
            wait_until(partial(are_two_others, running, killed))
        assert running.process.poll() is None
        wait_until(lambda: answers(running))
        ask_on_new_connections(running, 5)


def test_a_worker_that_is_ejected_is_replaced_and_no_call_fails(project: Project, home: Home) -> None:
    with server(project.root, workers=2) as running:
        before = {*serving_workers(running)}
        evidence = {"replica": f"{socket.gethostname()}/w0"}
        home.ledger.decide(Draft("e1", 1, MODEL, "operator", EJECT, "its scores are wrong", evidence))
        wait_until(partial(is_one_other, running, before))
        now = {*serving_workers(running)}
        wait_until(lambda: answers(running))
        ask_on_new_connections(running, 10)
        # Its successor has its name, and is not meant.
        assert ({*serving_workers(running)} == now, len(now & before)) == (True, 1)
        assert running.process.poll() is None


def is_one_other(running: ServerProcess, before: set[int]) -> bool:
    ask_on_new_connections(running, 1)
    now = {*serving_workers(running)}
    return len(now) == 2 and len(now & before) == 1


def are_two_others(running: ServerProcess, killed: int) -> bool:
    return len({*serving_workers(running)} - {killed}) == 2


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def answers(running: ServerProcess) -> bool:
    try:
        ask_on_new_connections(running, 1)
    except OSError:
        return False
    return True


def test_a_server_that_is_killed_leaves_no_worker_behind(running: ServerProcess) -> None:
    workers = children(running.process.pid)
    assert workers
    running.kill()
    deadline = time.monotonic() + 5
    while any(is_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its server"
        time.sleep(0.02)


def test_workers_share_the_port_and_each_has_its_partition(project: Project, home: Home) -> None:
    with server(project.root, workers=2) as running:
        assert "with 2 workers" in running.ready_line
        deadline = time.monotonic() + 20
        while written_partitions(home) != ["w0", "w1"]:
            assert time.monotonic() < deadline
            ask_on_new_connections(running, 10)
        asked = sum(1 for _ in home.log.read(prediction_stream(MODEL)))
        client = running.client()
        counted = re.search(r'charkha_prediction_rows_sum\{model="late_trip"\} ([\d.]+)', client.text("/metrics"))
        client.close()
        assert counted is not None
        assert float(counted[1]) == asked


def written_partitions(home: Home) -> list[str]:
    return [name for name, end in home.log.end(prediction_stream(MODEL)).items() if end > 0]


def test_a_worker_that_holds_too_much_memory_is_replaced(project: Project, home: Home) -> None:
    quickly = "from charkha.serving import server\nserver.MEMORY_SECONDS = 1\nrun = server.run"
    bounded = SCRIPT.replace("drain_seconds=drain", "worker_memory_mb=1")
    bounded = bounded.replace("from charkha.serving.server import run", quickly)
    port = free_port()
    running = start([sys.executable, "-c", bounded, str(project.root), str(port), "1", "0"], project.root, port)
    try:
        first = serving_workers(running)
        wait_until(lambda: not {*serving_workers(running)} & {*first} and answers(running))
        assert running.process.poll() is None
    finally:
        running.kill()


def test_a_worker_that_dies_is_replaced(running: ServerProcess) -> None:
    (worker,) = serving_workers(running)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: answers(running))
    assert serving_workers(running) != [worker]


def ask_on_new_connections(running: ServerProcess, count: int) -> None:
    for _ in range(count):
        client = running.client()
        assert client.post(PREDICT, ROW)[0] == 200
        client.close()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def serving_workers(running: ServerProcess) -> list[int]:
    """Return the workers among the children; the other one keeps watch over shared resources."""
    found = children(running.process.pid)
    return [pid for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_taken_port_is_said_before_anything_starts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charkha.serving.server.PORT_SECONDS", 0.1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port}"):
            run(project, port=port)


def test_port_0_is_any_free_port(project: Project) -> None:
    running = start_server(project.root, 0)
    port = re.search(r"http://127\.0\.0\.1:(\d+) ", running.ready_line)
    assert port is not None
    client = Client(int(port[1]))
    assert client.get("/healthz")[0] == 200
    client.close()
    running.kill()


def test_a_host_that_is_not_this_machines_is_said_to_be_so(project: Project) -> None:
    with pytest.raises(NoSuchAddress, match="expected an address of this machine to listen at"):
        run(project, host="nowhere.invalid", port=free_port())


def test_a_definition_that_breaks_in_the_worker_ends_the_server(project: Project) -> None:
    """The parent has loaded it already; in the worker it fails: the server gives up and says why."""
    guard = "import multiprocessing\nif multiprocessing.parent_process():\n    raise ImportError('no luck')\n"
    definition = project.root / "definition.py"
    definition.write_text(guard + definition.read_text())
    with pytest.raises(RuntimeError, match="no luck"):
        start_server(project.root, free_port())


HEAVY = ("sklearn", "mlflow", "pandas", "matplotlib", "scipy", "lightgbm", "charkha.training", "charkha.operations")
LEAN = f"""
import asyncio, json, sys
from pathlib import Path
from types import SimpleNamespace
import charkha.serving.server
from charkha.clock import SystemClock
from charkha.serving.worker import open_app
from charkha.spec.project import load_project

heavy = {HEAVY!r}
found = lambda: [name for name in heavy if name in sys.modules]
print(json.dumps(found()))

class Proto:  # a call as the server hands it over
    async def __call__(self):
        return json.dumps({ROW!r}).encode()

    def response_bytes(self, status, headers, body):
        self.status = status

async def ask(app):
    app.__rsgi_init__(asyncio.get_running_loop())
    proto, headers = Proto(), {{"content-type": "application/json", "content-length": "9"}}
    await app.__rsgi__(SimpleNamespace(method="POST", path={PREDICT!r}, headers=headers, query_string=""), proto)
    app.__rsgi_del__(asyncio.get_running_loop())
    return proto.status

print(asyncio.run(ask(open_app(load_project(Path(sys.argv[1])), SystemClock()))))
print(json.dumps(found()))
"""


def test_serving_imports_nothing_of_training(project: Project) -> None:
    command = [sys.executable, "-c", LEAN, str(project.root)]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    assert done.stdout.split() == ["[]", "200", "[]"], done.stderr


def test_many_connections_that_are_kept_alive_keep_nobody_out(running: ServerProcess) -> None:
    with many_files(), ExitStack() as held:
        idle = [
            held.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=30)) for _ in range(IDLE)
        ]
        for each in idle:
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
        assert all(b" 200 " in each.recv(1024) for each in idle)
        client = running.client()
        assert client.get("/healthz")[0] == 200
        client.close()


@contextmanager
def many_files() -> Iterator[None]:
    """Have this process open more files than most systems let it at first."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2 * IDLE:
        pytest.skip(f"expected a system that lets a process open {2 * IDLE} files, got {most}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
