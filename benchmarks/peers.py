"""Other servers of the same model, each with the set-up that serves it best, in an environment of its own.

Their code is in `serving_peers`, run by the Python of each. The floor, which is nobody's server, runs in ours. Ray
Serve is left out, as docs/dependencies.md says: it was the slowest of all, and each figure is a ratio to another.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from attrs import Factory, frozen
from load import Target
from peer_environment import environment_of, version_in
from processes import child, environment, last_words, run_well
from suite import PeerMissing

FOLDER = Path(__file__).with_name("serving_peers")
READY_SECONDS = 120.0
CHECKED = 50
TOLERANCE = 1e-6
Row = Mapping[str, Any]


@frozen
class Start:
    """Where a peer is to be started. ports: free ones, the first for its answers."""

    python: Path
    folder: Path
    ports: Sequence[int]

    def tool(self, name: str) -> str:
        """Return a command of the peer's environment."""
        return str(self.python.with_name(name))


@frozen
class Peer:
    """A server that the model is given to.

    key: of its environment. packages: of PyPI. version: Python that prints it. wire: a row as its body has it. score:
    the score in an answer. workers: how many it is best with. prepare: the command that makes what it serves, if any.
    """

    name: str
    key: str
    packages: Sequence[str]
    version: str
    path: str
    wire: Callable[[Row], Any]
    score: Callable[[Any], float]
    command: Callable[[Start], list[str]]
    workers: int = 1
    prepare: Callable[[Start], list[str]] | None = None
    variables: Mapping[str, str] = Factory(dict)


def _version_of(package: str, *imports: str) -> str:
    needed = ", ".join(("importlib.metadata", "lightgbm", "numpy", *imports))
    return f"import {needed}; print(importlib.metadata.version({package!r}))"


def _by_uvicorn(start: Start) -> list[str]:
    options = ["--host", "127.0.0.1", "--port", str(start.ports[0]), "--workers", "2", "--no-access-log"]
    return [start.tool("uvicorn"), "fastapi_server:app", *options]


def _by_bentoml(start: Start) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(start.ports[0])]
    return [start.tool("bentoml"), "serve", "bentoml_server:Scores", *where]


def _by_mlflow(start: Start) -> list[str]:
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(start.ports[0]), "--workers", "1"]
    return [start.tool("mlflow"), "models", "serve", "--model-uri", str(start.folder / "model"), *options]


def _as_v2(row: Row) -> Any:
    data = list(row.values())
    return {"inputs": [{"name": "predict", "shape": [1, len(data)], "datatype": "FP64", "data": data}]}


PEERS = (
    Peer(
        "FastAPI",
        "fastapi",
        ("fastapi", "uvicorn[standard]"),
        _version_of("fastapi", "fastapi", "uvicorn"),
        "/predict",
        dict,
        lambda answer: float(answer["score"]),
        _by_uvicorn,
        workers=2,
    ),
    Peer(
        "KServe",
        "kserve",
        ("kserve",),
        _version_of("kserve", "kserve"),
        "/v1/models/fields:predict",
        lambda row: {"instances": [row]},
        lambda answer: float(answer["predictions"][0]),
        lambda start: [str(start.python), "kserve_server.py"],
        workers=2,
    ),
    Peer(
        "MLServer",
        "mlserver",
        ("mlserver", "mlserver-lightgbm", "uvloop<0.22"),  # with later ones its workers die: no current event loop
        _version_of("mlserver", "mlserver", "mlserver_lightgbm"),
        "/v2/models/fields/infer",
        _as_v2,
        lambda answer: float(answer["outputs"][0]["data"][0]),
        lambda start: [start.tool("mlserver"), "start", str(start.folder / "model")],
        workers=0,  # the server's own process
        prepare=lambda start: [
            *(str(start.python), "mlserver_settings.py", str(start.folder / "model")),
            *map(str, start.ports[1:]),
        ],
    ),
    Peer(
        "BentoML",
        "bentoml",
        ("bentoml",),
        _version_of("bentoml", "bentoml"),
        "/predict",
        lambda row: {"rows": [row]},
        lambda answer: float(answer[0]),
        _by_bentoml,
    ),
    Peer(
        "LitServe",
        "litserve",
        ("litserve",),
        _version_of("litserve", "litserve"),
        "/predict",
        dict,
        lambda answer: float(answer["score"]),
        lambda start: [str(start.python), "litserve_server.py"],
    ),
    Peer(
        "MLflow",
        "mlflow",
        ("mlflow", "pandas", "scikit-learn"),
        _version_of("mlflow", "mlflow.lightgbm", "pandas"),
        "/invocations",
        lambda row: {"dataframe_records": [row]},
        lambda answer: float(answer["predictions"][0]),
        _by_mlflow,
        prepare=lambda start: [str(start.python), "mlflow_model.py", str(start.folder / "model")],
    ),
)


def floor(workers: int) -> Peer:
    """Return the bare stack, with so many workers."""
    options = ["--interface", "rsgi", "--host", "127.0.0.1", "--loop", "uvloop", "--no-access-log"]
    return Peer(
        "bare stack",
        "floor",
        (),
        "",
        "/predict",
        dict,
        lambda answer: float(answer["score"]),
        lambda start: [
            *(start.tool("granian"), *options, "--log-level", "warning", "--workers", str(workers)),
            *("--port", str(start.ports[0]), "floor_server:app"),
        ],
        workers=workers,
    )


class NotRight(Exception):
    """A server whose scores are not the model's, or that never answered."""


@frozen(eq=False)
class Running:
    """A peer that answers, and rightly. named: it and its version."""

    named: str
    pid: int
    target: Target


def python_of(peer: Peer, cache: Path, log: Path) -> Path:
    """Return the Python of a peer's environment. Raises PeerMissing."""
    if not peer.packages:
        return Path(sys.executable)
    return environment_of(peer.name, cache / peer.key, ("lightgbm", "numpy", *peer.packages), peer.version, log)


@contextmanager
def running(peer: Peer, python: Path, project: Path, folder: Path) -> Iterator[Running]:
    """Start a peer on free ports of this machine, check its scores, and end it with all its processes.

    project: the folder of `serving_work.make_fields`. folder: made, for what the peer makes. Raises PeerMissing where
    it does not start, and NotRight.
    """
    folder.mkdir(parents=True)
    log, start = folder / "log", Start(python, folder, _free_ports(3))
    rows = [json.loads(line) for line in (project / "coded.jsonl").read_text().splitlines()]
    bodies = folder / "bodies.jsonl"
    bodies.write_text("".join(json.dumps(peer.wire(row), separators=(",", ":")) + "\n" for row in rows))
    env = _environment(peer, start, project / "model.txt")
    if peer.prepare is not None:
        run_well(peer.prepare(start), log, timeout_seconds=READY_SECONDS, cwd=FOLDER, env=env)
    with child(peer.command(start), log, cwd=FOLDER, env=env) as process:
        try:
            target = Target(start.ports[0], peer.path, bodies)
            _await_answers(process, target, peer, log)
            _check(target, peer, json.loads((project / "expected.json").read_text()))
            version = version_in(python, peer.version) if peer.version else None
            yield Running(f"{peer.name} {version or ''}".strip(), process.pid, target)
        finally:
            _end(process)


def _environment(peer: Peer, start: Start, model: Path) -> dict[str, str]:
    tools = f"{start.python.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ours = {
        "BENCHMARK_MODEL": str(model),
        "BENCHMARK_PORT": str(start.ports[0]),
        "BENCHMARK_WORKERS": str(peer.workers),
        "BENTOML_HOME": str(start.folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
        "PATH": tools,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": str(FOLDER),
    }
    return environment(**ours, **peer.variables)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _await_answers(process: "subprocess.Popen[str]", target: Target, peer: Peer, log: Path) -> None:
    deadline, body = time.monotonic() + READY_SECONDS, target.bodies.read_text().splitlines()[0]
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError, HTTPException, ValueError):
            if _post(target, [body])[0][0] == 200:
                return
        time.sleep(0.2)
    ended = "did not answer" if process.poll() is None else f"ended with status {process.poll()}"
    raise PeerMissing(f"not measured: {peer.name} {ended}. It said: {last_words(log)}")


def _check(target: Target, peer: Peer, expected: Sequence[float]) -> None:
    bodies = target.bodies.read_text().splitlines()[:CHECKED]
    for (status, answer), score in zip(_post(target, bodies), expected, strict=False):
        if status != 200 or abs(peer.score(answer) - score) > TOLERANCE:
            raise NotRight(f"{peer.name}: expected the score {score}, got status {status}: {answer}")


def _post(target: Target, bodies: Sequence[str]) -> list[tuple[int, Any]]:
    connection, answers = HTTPConnection("127.0.0.1", target.port, timeout=30), []
    try:
        for body in bodies:
            connection.request("POST", target.path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answers.append((response.status, json.loads(response.read())))
        return answers
    finally:
        connection.close()


def _end(process: "subprocess.Popen[str]") -> None:
    """End a peer, and then whatever it left of its group: some die before their workers do."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
