"""Another version swapped in while requests are answered, and the command that goes back."""

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from claims import Measured
from live_server import Client, Server, in_threads, serving, wait_until
from processes import Finished, charkha, run_well
from workbench import Workbench

from charkha.clock import SystemClock
from charkha.operations.deploy import promote
from charkha.spec.project import Project
from charkha.storage.home import Home

CLIENTS = 4
# Often enough to see when a version answers, seldom enough to leave the command its processor.
WATCHING_SECONDS = 0.02
SWAPS = 20
ROLLBACKS = 5
COMMAND_SECONDS = 60.0


class Asking:
    """What clients that ask again and again were told. newest: the version that answered last."""

    def __init__(self, server: Server, path: str, body: object) -> None:
        self._server, self._path, self._body = server, path, body
        self.answered = 0
        self.failures: list[str] = []
        self.newest = ""

    def watch(self, stopped: threading.Event) -> None:
        """Ask now and then."""
        self.ask(stopped, WATCHING_SECONDS)

    def ask(self, stopped: threading.Event, pause_seconds: float = 0.0) -> None:
        """Ask until told to stop; whatever is not an answer is a failure."""
        client = Client(self._server.port)
        while not stopped.wait(pause_seconds):
            try:
                status, said = client.post(self._path, self._body)
            except Exception as error:
                self.failures.append(repr(error))
                continue
            if status != 200:
                self.failures.append(f"{status}: {said}")
                continue
            self.answered += 1
            self.newest = said["predictions"][-1]["version"]
        client.close()


def swap_figures(bench: Workbench) -> Iterator[tuple[str, Measured]]:
    """Yield the requests that failed over hot swaps, and the seconds that a rollback takes."""
    project, clock = bench.at("serving"), SystemClock()
    with bench.home("serving") as home:
        bench.deploy(home, clock, versions=2)
        with serving(project, bench.folder / "serving.log") as server:
            body = {"rows": sample_requests(bench, 2)}
            asking = Asking(server, f"/v1/models/{bench.model.name}/predict", body)
            with in_threads([asking.ask] * CLIENTS):
                _swap(bench, home, asking)
            note = f"of {asking.answered + len(asking.failures):,}, {SWAPS} swaps, {CLIENTS} clients"
            first = f"; the first: {asking.failures[0]}" if asking.failures else ""
            yield "failed_requests_over_hot_swaps", Measured(len(asking.failures), note + first)
            with in_threads([asking.watch]):
                yield from _rollback_figures(bench, project, home, asking)


def sample_requests(bench: Workbench, count: int) -> list[dict[str, Any]]:
    """Return requests as clients send them."""
    return bench.history.requests.select(bench.model.request)[:count].to_dicts()


def _swap(bench: Workbench, home: Home, asking: Asking) -> None:
    """Promote one version and the other in turn, each time until it answers."""
    wait_until(lambda: asking.newest == "v1", "an answer")
    for number in range(SWAPS):
        _promote(bench, home, f"v{2 - number % 2}", asking)


def _promote(bench: Workbench, home: Home, version: str, asking: Asking) -> None:
    reason = "to see the server swap"
    promote(home, SystemClock(), bench.model.name, version, actor="benchmark", reason=reason, force=True)
    wait_until(lambda: asking.newest == version, f"{version} to answer; {asking.failures[:1]}")


def _rollback_figures(bench: Workbench, project: Project, home: Home, asking: Asking) -> Iterator[tuple[str, Measured]]:
    taken: list[tuple[Finished, float]] = []
    for _ in range(ROLLBACKS):
        if asking.newest != "v2":
            _promote(bench, home, "v2", asking)
        taken.append(_roll_back(project, bench.folder / "rollback.log", asking))
    command, served = [finished.wall_seconds for finished, _ in taken], [seconds for _, seconds in taken]
    cpu_seconds = median(finished.cpu_seconds for finished, _ in taken)
    yield "rollback_seconds", Measured(median(command), f"{_spread(command)}, {cpu_seconds:.2f} s of processor time")
    yield "rollback_seconds_until_served", Measured(median(served), f"{_spread(served)}, until the former one answers")


def _roll_back(project: Project, log: Path, asking: Asking) -> tuple[Finished, float]:
    """Return what the command took, and the seconds from its start until the former version answers."""
    served: list[float] = []
    started = time.perf_counter()

    def watch(stopped: threading.Event) -> None:
        wait_until(lambda: asking.newest == "v1", "the former version to answer")
        served.append(time.perf_counter() - started)

    command = charkha("--project", project.root, "--home", project.home, "rollback", "--reason", "to see how long")
    with in_threads([watch]):
        finished = run_well(command, log, timeout_seconds=COMMAND_SECONDS)
    return finished, served[0]


def _spread(seconds: Sequence[float]) -> str:
    return f"median of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f} s"
