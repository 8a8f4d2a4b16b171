"""A real `charkha serve` on a free port of this machine, and clients of it."""

import http.client
import json
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen
from processes import charkha, child

from charkha.spec.project import Project

READY_SECONDS = 120.0
ANSWER_SECONDS = 60.0


class NotReady(Exception):
    """A server that did not say in time that it answers."""

    def __init__(self, log: Path) -> None:
        super().__init__(f"expected a server to be ready within {READY_SECONDS:g} s: {log.read_text()[-1000:]}")


@frozen(eq=False)
class Server:
    """A server that answers."""

    process: "subprocess.Popen[str]"
    port: int

    def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(project: Project, log: Path, workers: int = 1, *more: str) -> Iterator[Server]:
    """Serve a project's home until the block is left. more: options of `charkha serve`."""
    options = ["--port", "0", "--workers", str(workers), *more]
    command = charkha("--project", project.root, "--home", project.home, "serve", *options)
    with child(command, log, stdout=subprocess.PIPE) as process:
        yield Server(process, _port(process, log))


def _port(process: "subprocess.Popen[str]", log: Path) -> int:
    """Return the port from the line that a server prints when it is ready."""
    if process.stdout is None:
        raise NotReady(log)
    with selectors.DefaultSelector() as selector:  # not `select`, which knows no file above the 1,024th
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(READY_SECONDS)
    found = re.search(r"http://127\.0\.0\.1:(\d+) ", process.stdout.readline() if ready else "")
    if found is None:
        raise NotReady(log)
    return int(found[1])


class Client:
    """One connection, opened anew when the server closed it. Not for two threads."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Return the status and the decoded answer."""
        self._connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def get(self, path: str) -> Any:
        """Return the decoded answer."""
        self._connection.request("GET", path)
        return json.loads(self._connection.getresponse().read())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def in_threads(works: Sequence[Callable[[threading.Event], None]]) -> Iterator[threading.Event]:
    """Run works in threads of their own; the event, which is yielded too, tells them that the block is left.

    Raises what a work raised.
    """
    stopped = threading.Event()
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work, stopped) for work in works]
        try:
            yield stopped
        finally:
            stopped.set()
        for future in futures:
            future.result()


def wait_until(true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until something is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected within {seconds:g} s: {what}")
        time.sleep(0.002)
