"""A real server in a process of its own, and clients of it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

SCRIPT = """
import sys
from pathlib import Path
from charkha.serving.server import run
from charkha.spec.project import load_project

drain, grpc_port = float(sys.argv[4]), int(sys.argv[5]) if sys.argv[5:] else None
port, workers = int(sys.argv[2]), int(sys.argv[3])
run(load_project(Path(sys.argv[1])), port=port, workers=workers, drain_seconds=drain, grpc_port=grpc_port)
"""
# Compiled modules are kept between the servers of a test run: most of a start is compiling otherwise.
CACHE = Path(tempfile.gettempdir()) / f"charkha-test-pycache-{os.getuid()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def child_environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPYCACHEPREFIX": str(CACHE), "PYTHONWARNINGS": "error"}


@frozen(eq=False)
class ServerProcess:
    """A started server. ready_line: what it printed when it was ready."""

    process: subprocess.Popen[str]
    port: int
    ready_line: str

    def client(self) -> "Client":
        return Client(self.port)

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        """Kill the server, and with it its workers, as `kill -9` does."""
        self.process.kill()
        self.process.wait(timeout=30)
        if self.process.stdout is not None:
            self.process.stdout.close()


def start_server(
    root: Path, port: int, workers: int = 1, drain_seconds: float = 0.0, grpc_port: int | None = None
) -> ServerProcess:
    """Start a server and wait until it says that it is ready."""
    options = [str(port), str(workers), str(drain_seconds), *([] if grpc_port is None else [str(grpc_port)])]
    return start([sys.executable, "-c", SCRIPT, str(root), *options], root, port)


def start_serve(root: Path, *options: str) -> ServerProcess:
    """Start `charkha serve` with options on a free port, and wait until it says that it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "charkha", "--project", str(root), "serve", "--port", str(port), *options]
    return start(command, root, port)


def start(command: list[str], root: Path, port: int) -> ServerProcess:
    """Start a server by a command and wait until it says that it is ready. Raises RuntimeError when it ends."""
    log = (root / "server.log").open("a")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=child_environment())
    log.close()
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(timeout=30)
        process.stdout.close()
        raise RuntimeError(f"the server ended: {(root / 'server.log').read_text()}")
    return ServerProcess(process, port, line)


@contextmanager
def server(root: Path, workers: int = 1, drain_seconds: float = 0.0) -> Iterator[ServerProcess]:
    """Run a server on a free port; it is killed at the end if it still runs."""
    started = start_server(root, free_port(), workers, drain_seconds)
    try:
        yield started
    finally:
        started.kill()


class Client:
    """One connection at a time, opened anew when the server closed it. Not for two threads."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def post(self, path: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        return self._call("POST", path, json.dumps(body), headers)

    def get(self, path: str) -> tuple[int, Any]:
        return self._call("GET", path, None)

    def text(self, path: str) -> str:
        self._connection.request("GET", path)
        return self._connection.getresponse().read().decode()

    def close(self) -> None:
        self._connection.close()

    def _call(self, method: str, path: str, body: str | None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        self._connection.request(method, path, body, {"content-type": "application/json", **(headers or {})})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())
