"""Runs that survive: the operator killed at every point of a rollout, taken over from, and what it put into service.

`python benchmarks/operator_runs.py` runs all of it, in some ten minutes; `--quick` takes a sample of the points. The
world that the operator is killed in is that of its tests.
"""

import importlib
import shutil
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from claims import Claim, Figure, Measured, at_most, below, exactly, judge
from live_server import Client, Server, serving, wait_until
from processes import charkha, child, run, run_well
from running import REPOSITORY, Progress
from suite import Found, Step, Suite, carry_out, parser_of

from charkha.clock import SystemClock
from charkha.operations.deploy import promote, rollback
from charkha.operations.kill import kill, revive
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home, open_project
from charkha.storage.ledger import LEASE

Tell = Callable[[str], None]
MODEL = "likes"
WHO, WHY = "benchmark", "to see how long"
QUICK_POINTS = 12
TAKEOVERS, CHANGES = 5, 5
CONNECTIONS, WORKERS = 24, 2
COMMAND_SECONDS = 300.0

FIGURES: Sequence[Figure] = (
    exactly("points", "operator_kill_points_unlike_the_undisturbed", 0),
    exactly("life", "operator_life_killed_at_each_point_in_turn_differs", 0),
    below("takeover", "operator_takeover_seconds_after_kill", 5),
    at_most("takeover", "operator_takeover_seconds_after_stop", 15),
    exactly("takeover", "operator_decisions_written_by_two_leaders", 0),
    below("switches", "operator_rollback_seconds_on_all_workers", 1),
    below("switches", "operator_kill_switch_seconds_on_all_workers", 1),
    exactly("switches", "operator_rollback_and_kill_forgotten_by_restarts", 0),
)


@frozen(eq=False)
class Bench:
    """Where the benchmark works, and how much of it is done."""

    folder: Path
    quick: bool
    tell: Tell


def kill_points(bench: Bench) -> Found:
    """Kill the operator before and after each change of each tick that does something, and let another one go on."""
    points = _of_the_tests("kill_points")
    lived = _of_the_tests("test_operator").Lived(bench.folder / "lived")
    midnight = _of_the_tests("operator_world").midnight
    unlike: list[str] = []
    kinds: Counter[str] = Counter()
    for day, before in lived.before.items():
        dry = shutil.copytree(before, bench.folder / f"dry-{day}")
        found = points.points_of(lived.project, dry, midnight(day))
        expected = points.resumed(lived.project, dry, midnight(day))
        chosen = found[:: max(1, len(found) * len(lived.before) // QUICK_POINTS)] if bench.quick else found
        bench.tell(f"    day {day}: {len(chosen)} of {len(found)} points")
        for point in chosen:
            kinds[point.kind] += 1
            copy = bench.folder / f"killed-{day}"
            if points.kill_and_resume(lived.project, before, copy, midnight(day), point) != expected:
                unlike.append(f"day {day} {point.name}")
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    note = f"of {kinds.total()} points in {len(lived.before)} ticks: {said}{'; unlike: ' if unlike else ''}"
    yield "operator_kill_points_unlike_the_undisturbed", Measured(len(unlike), note + ", ".join(unlike[:5]))


def whole_life(bench: Bench) -> Found:
    """Live through the weeks of a rollout; each operator is killed at a point, the next one at the point behind it."""
    points, world = _of_the_tests("kill_points"), _of_the_tests("operator_world")
    last = world.FIRST_DAY + 12 if bench.quick else world.DAYS
    ends: list[dict[str, object]] = []
    kills = 0
    for name in ("undisturbed", "disturbed"):
        project: Project = world.make_project(bench.folder / name)
        clock = world.SimulatedClock(world.midnight(world.FIRST_DAY))
        with open_home(project.home) as home:
            traffic = world.Traffic(project, home, clock)
            for day in range(world.FIRST_DAY, last):
                clock.advance_to(world.midnight(day))
                if name == "disturbed":
                    number = 0
                    # What was done is not done again, so the points behind come nearer; those before are met again.
                    while points.killed_at(project.root, project.home, clock.now(), number):
                        kills, number = kills + 1, number + 1
                else:
                    world.make_operator(project, home, clock).tick(world.NAME)
                traffic.day(day)
            made = points.world_of(home)
            # The ids of predictions are drawn by lot, so of the tables only the numbers are alike.
            ends.append(made | {"tables": {table: counted[:2] for table, counted in made["tables"].items()}})
    actions = Counter(each.action for each in ends[0]["decisions"])  # type: ignore[attr-defined]
    note = f"{kills} kills; {', '.join(f'{count} {action}' for action, count in sorted(actions.items()))}"
    yield "operator_life_killed_at_each_point_in_turn_differs", Measured(int(ends[0] != ends[1]), note)


def take_over(bench: Bench) -> Found:
    """Kill, or stop, the operator that leads while another stands by, and time until that one leads."""
    project = _shop(bench)
    rounds = 2 if bench.quick else TAKEOVERS
    with open_project(project) as home:
        killed = [_taken_over(bench, project, home, signal.SIGKILL) for _ in range(rounds)]
        stopped = [_taken_over(bench, project, home, signal.SIGSTOP) for _ in range(1 if bench.quick else 2)]
        home.ledger.verify()
        keys = [each.key for each in home.ledger.decisions()]
    yield "operator_takeover_seconds_after_kill", Measured(max(killed), _spread(killed))
    yield "operator_takeover_seconds_after_stop", Measured(max(stopped), _spread(stopped))
    yield "operator_decisions_written_by_two_leaders", Measured(len(keys) - len(set(keys)), f"of {len(keys)}")


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


def _of_the_tests(module: str) -> Any:
    """Return a module of the operator's tests; on the path too, for the processes that it starts."""
    folder = str(REPOSITORY / "tests" / "operations")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(module)


def _spread(seconds: Sequence[float]) -> str:
    return f"of {len(seconds)}, {min(seconds):.2f} to {max(seconds):.2f} s, median {statistics.median(seconds):.2f}"


STEPS = (
    Step("points", "kill -9 of the operator at every point of a rollout", kill_points),
    Step("life", "a whole rollout, killed at each point in turn", whole_life),
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
