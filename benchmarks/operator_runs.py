"""Runs that survive: the operator killed at every point of a rollout, taken over from, and what it put into service.

`python benchmarks/operator_runs.py` runs all of it, in some ten minutes; `--quick` takes a sample of the points. The
world that the operator is killed in is that of its tests.
"""

import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from claims import Claim, Figure, Measured, at_most, below, exactly, judge
from live_server import Client, Server, serving, wait_until
from operator_points import Bench, Tell, kill_points, overtaken, whole_life
from processes import charkha, child, run, run_well
from running import Progress
from suite import Found, Step, Suite, carry_out, parser_of

from charkha.clock import SystemClock
from charkha.operations.deploy import promote, rollback
from charkha.operations.kill import kill, revive
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_project
from charkha.storage.ledger import LEASE

MODEL = "likes"
WHO, WHY = "benchmark", "to see how long"
TAKEOVERS, CHANGES = 5, 5
CONNECTIONS, WORKERS = 24, 2
COMMAND_SECONDS = 300.0

FIGURES: Sequence[Figure] = (
    exactly("points", "operator_kill_points_unlike_the_undisturbed", 0),
    exactly("life", "operator_life_killed_at_each_point_in_turn_differs", 0),
    below("takeover", "operator_takeover_seconds_after_kill", 5),
    at_most("takeover", "operator_takeover_seconds_after_stop", 15),
    exactly("overtaken", "operator_changes_made_by_an_overtaken_leader", 0),
    exactly("overtaken", "operator_overtaken_points_unlike_the_undisturbed", 0),
    below("switches", "operator_rollback_seconds_on_all_workers", 1),
    below("switches", "operator_kill_switch_seconds_on_all_workers", 1),
    exactly("switches", "operator_rollback_and_kill_forgotten_by_restarts", 0),
)


def take_over(bench: Bench) -> Found:
    """Kill, or stop, the operator that leads while another stands by, and time until that one leads."""
    project = _shop(bench)
    rounds = 2 if bench.quick else TAKEOVERS
    with open_project(project) as home:
        killed = [_taken_over(bench, project, home, signal.SIGKILL) for _ in range(rounds)]
        stopped = [_taken_over(bench, project, home, signal.SIGSTOP) for _ in range(1 if bench.quick else 2)]
        home.ledger.verify()
    yield "operator_takeover_seconds_after_kill", Measured(max(killed), _spread(killed))
    yield "operator_takeover_seconds_after_stop", Measured(max(stopped), _spread(stopped))


def _taken_over(bench: Bench, project: Project, home: Home, sign: signal.Signals) -> float:
    operate = charkha("--project", project.root, "operate", "--every", "1")
    log = bench.folder / "operators.log"
    with child(operate, log) as first:
        wait_until(lambda: _leader(home) == first.pid, "the first operator to lead", 120)
        with child(operate, log) as second:
            wait_until(lambda: f"process {first.pid} on" in log.read_text(), "the second to stand by", 120)
            first.send_signal(sign)
            began = time.perf_counter()
            wait_until(lambda: _leader(home) == second.pid, "the second operator to lead", 60)
            took = time.perf_counter() - began
            first.send_signal(signal.SIGCONT)
    log.unlink()
    return took


def _leader(home: Home) -> int | None:
    lease = home.ledger.lease(LEASE)
    return None if lease is None or not lease.until_us else lease.process.pid


def switches(bench: Bench) -> Found:
    """Roll back, and kill, a model that several workers answer for; then restart everything and ask again."""
    project, log = _shop(bench), bench.folder / "serve.log"
    rolled: list[float] = []
    killed: list[float] = []
    with open_project(project) as home:
        clock = SystemClock()
        with serving(project, log, WORKERS) as server:
            asking = Asking(server)
            for _ in range(2 if bench.quick else CHANGES):
                promote(home, clock, MODEL, "v2", actor=WHO, reason=WHY, force=True)
                asking.until(lambda said: _version(said) == "v2")
                rollback(home, clock, MODEL, actor=WHO, reason=WHY)
                rolled.append(asking.until(lambda said: _version(said) == "v1"))
                kill(home, clock, MODEL, actor=WHO, reason=WHY)
                killed.append(asking.until(_is_killed))
                revive(home, clock, MODEL, actor=WHO, reason=WHY)
                asking.until(lambda said: not _is_killed(said))
            workers = len(home.log.end(prediction_stream(MODEL)))
            kill(home, clock, MODEL, actor=WHO, reason=WHY)
            asking.close()
            server.kill()
        run(charkha("--project", project.root, "operate", "--once"), log, timeout_seconds=COMMAND_SECONDS)
        with serving(project, log, WORKERS) as server:
            asking = Asking(server)
            forgotten = sum(not _is_killed(said) for said in asking.all())
            revive(home, clock, MODEL, actor=WHO, reason=WHY)
            asking.until(lambda said: not _is_killed(said))
            forgotten += sum(_version(said) != "v1" for said in asking.all())
            asking.close()
    note = f"{CONNECTIONS} connections to {workers} workers, from the decision on"
    yield "operator_rollback_seconds_on_all_workers", Measured(max(rolled), f"{_spread(rolled)}; {note}")
    yield "operator_kill_switch_seconds_on_all_workers", Measured(max(killed), f"{_spread(killed)}; {note}")
    said = f"of {2 * CONNECTIONS} answers after kill -9 of the server and its start, with the operator's in between"
    yield "operator_rollback_and_kill_forgotten_by_restarts", Measured(forgotten, said)


class Asking:
    """Connections that stay, so that each is to one worker."""

    def __init__(self, server: Server) -> None:
        self._clients = [Client(server.port) for _ in range(CONNECTIONS)]

    def all(self) -> list[dict[str, Any]]:
        """Ask over each connection, and return what was answered."""
        body = {"rows": [{"user_id": 1, "movie_id": 1}]}
        return [client.post(f"/v1/models/{MODEL}/predict", body)[1] for client in self._clients]

    def until(self, true: Callable[[dict[str, Any]], bool]) -> float:
        """Return the seconds from now until each worker answers as it should."""
        began = time.perf_counter()
        wait_until(lambda: all(map(true, self.all())), "all workers to follow")
        return time.perf_counter() - began

    def close(self) -> None:
        """Close all."""
        for client in self._clients:
            client.close()


def _is_killed(said: dict[str, Any]) -> bool:
    return "killed" in str(said)


def _version(said: dict[str, Any]) -> str | None:
    return said["predictions"][-1]["version"] if "predictions" in said else None


def _shop(bench: Bench) -> Project:
    """Return the project of `charkha init` with two versions, the first of which serves; made once."""
    folder = bench.folder / "shop"
    if not folder.exists():
        log = bench.folder / "shop.log"
        run_well(charkha("init", "shop"), log, timeout_seconds=COMMAND_SECONDS, cwd=bench.folder)
        for day in ("2013-08-25", "2013-08-26"):
            train = charkha("--project", folder, "train", "--as-of", day)
            run_well(train, log, timeout_seconds=COMMAND_SECONDS)
    return load_project(folder)


def _spread(seconds: Sequence[float]) -> str:
    return f"of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f} s, median {statistics.median(seconds):.2f}"


STEPS = (
    Step("points", "kill -9 of the operator at every point of three rollouts", kill_points),
    Step("life", "whole rollouts, killed at each point in turn", whole_life),
    Step("overtaken", "a leader that hangs at each point, and goes on when another leads", overtaken),
    Step("takeover", "another operator takes over", take_over),
    Step("switches", "rollback and kill switch on all workers", switches),
)
SUITE = Suite("Runs that survive.", STEPS, FIGURES, "a sample of the points, and fewer rounds")


def claims_of(folder: Path, tell: Tell, *, quick: bool = False) -> list[Claim]:
    """Measure everything and return the claims."""
    bench = Bench(folder, quick, tell)
    found: Iterator[Any] = (each for step in STEPS for each in step.run(bench))
    return judge(dict(found), {}, FIGURES)


def main() -> int:
    """Run the benchmark and return its exit status."""
    options = parser_of(SUITE, __doc__).parse_args()

    def bench(folder: Path, progress: Progress) -> Bench:
        return Bench(folder, options.quick, progress.tell)

    return carry_out(SUITE, options, "a sample" if options.quick else "all points", bench)


if __name__ == "__main__":
    sys.exit(main())
