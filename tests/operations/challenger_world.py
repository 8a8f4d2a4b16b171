"""The project of `challengers` at work: a real server, real calls, labels in the evening, and the operator's looks."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from attrs import evolve, frozen
from challengers import FORMER, LASTS, PER_DAY, START_US, TRAINED, visits, write_files, write_receipts
from told_clock import ToldClock

from charkha.bundles.store import ESTIMATOR, BundleStore
from charkha.engines.local import LocalEngine
from charkha.features.plan import plan_features
from charkha.operations.deploy import promote
from charkha.operations.operator import Operator
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.durations import DAY_US, HOUR_US, MICROS
from charkha.spec.model import Model
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Decision
from charkha.training.pipeline import Candidate, Order, train
from charkha.training.tracking import NoTracker

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from server_process import Client, free_port, start

HERE = Path(__file__).parent
# When the server is started and the first look is made: the diary that ended with the history is out of its windows.
BEGINS = TRAINED + 4
PER_CALL, ONE_BY_ONE, LABELS_PER_CALL = 40, 4, 500

DEFINITION = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from challengers import changed_models
sys.path.pop(0)
models = changed_models()
"""
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from told_clock import ToldClock
from charkha.serving.server import run
from charkha.spec.project import load_project

run(load_project(Path(sys.argv[1])), port=int(sys.argv[2]), clock=ToldClock(Path(sys.argv[4])))
"""


def midnight(day: int) -> int:
    """Return when a day begins, which is when the operator looks (µs)."""
    return START_US + day * DAY_US


@frozen(eq=False)
class World:
    """A project whose models have a champion each and a challenger each, that waits for the operator.

    answered: model → the versions that users have heard.
    """

    project: Project
    home: Home
    clock: ToldClock
    visits: pl.DataFrame
    answered: dict[str, set[str]]

    def of_day(self, day: int) -> pl.DataFrame:
        """Return the visits of a day."""
        return self.visits[(day - BEGINS) * PER_DAY : (day + 1 - BEGINS) * PER_DAY]

    def decisions(self, model: str) -> list[Decision]:
        """Return what the operator decided of a model, but for how a test goes on and what was overtaken."""
        decisions = [each for each in self.home.ledger.decisions(model) if each.actor == "operator"]
        return [each for each in decisions if each.action != "continue" and not each.evidence.get("newer")]

    def versions(self, model: str) -> list[str]:
        """Return who serves a model or shadows it now, the champion first."""
        return [each.version for each in self.home.ledger.deployment(model).assignments]


@contextmanager
def open_world(root: Path) -> Iterator[World]:
    """Write the project, train both versions of every model, and put the champions into service."""
    (root / "charkha.toml").write_text('[project]\nname = "shop"\n')
    (root / "definition.py").write_text(DEFINITION)
    write_files(root)
    clock = ToldClock(root / "clock")
    clock.advance_to(midnight(TRAINED))
    project = load_project(root)
    with open_home(project.home) as home:
        for name, model in project.models.items():
            trained(evolve(model, features=FORMER), project, home, clock, None)
            promote(home, clock, name, "v1", actor="test", reason="the first")
            trained(model, project, home, clock, "v1")
        cross_wires(home, project.models["swapped"])
        clock.advance_to(midnight(BEGINS))
        yield World(project, home, clock, visits(BEGINS, LASTS, PER_DAY), {name: set() for name in project.models})


def trained(model: Model, project: Project, home: Home, clock: ToldClock, champion: str | None) -> None:
    """Train a version as `charkha train` does."""
    run_key = f"{model.name}/train/{champion or 'first'}"
    train(
        Order(model, project.root, midnight(TRAINED), run_key, champion=champion),
        home,
        clock,
        LocalEngine(1),
        NoTracker(),
    )


def cross_wires(home: Home, model: Model) -> None:
    """Write a version that learnt the same as the challenger, and that is given w for x and x for w."""
    store, name = BundleStore(home.bundles), model.name
    learnt, row = store.manifest(name, "v2"), home.ledger.version(name, "v2")
    plan = plan_features(model)
    crossed = {"asked.x": plan.expressions["asked.w"], "asked.w": plan.expressions["asked.x"]}
    plan = evolve(plan, expressions={**plan.expressions, **crossed})
    manifest = msgspec.structs.replace(learnt, version="v3", plan_json=plan.to_json())
    state = (store.path(name, "v2") / ESTIMATOR).read_bytes()
    digest = store.write(manifest, state, "# The wires of x and w are crossed")
    home.ledger.record_version(evolve(row, version="v3", digest=digest, run_key=f"{name}/by-hand/v3"))


class Shop:
    """A world with its server, whose days go by."""

    def __init__(self, world: World, client: Client) -> None:
        self.world, self._client = world, client
        project, home = world.project, world.home
        self._operator = Operator(project, home, world.clock, refuse, NoTracker())
        self._at_work = list(world.project.models)

    def live(self, days: int) -> None:
        """Let days go by. Models are asked for a day more when their rollout has ended, and then no longer."""
        for day in range(BEGINS, BEGINS + days):
            self.look()
            self._day(day)
            write_receipts(self.world.project.root, self.world.of_day(day), f"day-{day}")
            self.world.clock.advance_to(midnight(day + 1))
        self.look()

    def look(self) -> None:
        """Let the operator look at all models, and the server follow."""
        for name in self._at_work:
            self._operator.tick(name)
        self._followed()
        beside = {name: self.world.home.ledger.deployment(name).assignments[1:] for name in self._at_work}
        self._at_work = [name for name in self._at_work if beside[name]]

    def _shadows_are_done(self, name: str, since: Mapping[str, int], calls: int) -> None:
        """Wait for a model's shadow, for time goes by faster here than it can score. calls: of the day."""
        home, stream = self.world.home, prediction_stream(name)
        wanted = 2 * calls if home.ledger.deployment(name).shadows else calls
        wait_until(lambda: sum(1 for _ in home.log.read(stream, since)) == wanted)

    def _followed(self) -> None:
        wanted = self.world.home.ledger.generations()
        wait_until(lambda: self._generations() == wanted)

    def _generations(self) -> dict[str, int]:
        return {each["model"]: each["generation"] for each in self._get("/v1/models")["models"]}

    def _day(self, day: int) -> None:
        """Ask for a day's predictions, some visits a call, and tell in the evening what became of them."""
        rows, told = self.world.of_day(day), {name: list[dict[str, object]]() for name in self._at_work}
        ends = {name: self.world.home.log.end(prediction_stream(name)) for name in told}
        asked, calls = rows.select("visit", "user", "x", "w", "kind").rows(named=True), Counter[str]()
        for first in range(0, len(asked), PER_CALL):
            self.world.clock.advance_to(midnight(day) + 8 * HOUR_US + first * MICROS["s"])
            for name in told:
                for part in parts_of(name, first):
                    told[name] += self._ask(name, asked[part], rows["buys"][part])
                    calls[name] += 1
        for name, since in ends.items():
            self._shadows_are_done(name, since, calls[name])
        self.world.clock.advance_to(midnight(day) + 20 * HOUR_US)
        for name, known in told.items():
            for first in range(0, len(known), LABELS_PER_CALL):
                self._post(f"/v1/models/{name}/labels", known[first : first + LABELS_PER_CALL])

    def _ask(self, name: str, rows: Sequence[object], truths: pl.Series) -> list[dict[str, object]]:
        """Ask for predictions; return their labels, to be told when they are known."""
        answers = self._post(f"/v1/models/{name}/predict", rows)["predictions"]
        self.world.answered[name] |= {each["version"] for each in answers}
        return [{"id": each["id"], "label": truth} for each, truth in zip(answers, truths, strict=True)]

    def _post(self, path: str, rows: Sequence[object]) -> Any:
        status, reply = self._client.post(path, {"rows": rows})
        assert status == 200, reply
        return reply

    def _get(self, path: str) -> Any:
        status, reply = self._client.get(path)
        assert status == 200, reply
        return reply


def parts_of(name: str, first: int) -> list[slice]:
    """Return which visits of the next PER_CALL a model is asked of, a call each; of one model some, one by one."""
    if name == "unseen_slow":
        return [slice(number, number + 1) for number in range(first, first + ONE_BY_ONE)]
    return [slice(first, first + PER_CALL)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def refuse(order: Order) -> Candidate:
    raise AssertionError(f"nothing is to be trained, but {order.run_key} is")


@contextmanager
def serving(root: Path) -> Iterator[Client]:
    """Run a server that is told the time, and yield a client of it."""
    port = free_port()
    started = start([sys.executable, "-c", SCRIPT, str(root), str(port), str(HERE), str(root / "clock")], root, port)
    client = started.client()
    try:
        yield client
    finally:
        client.close()
        started.kill()
