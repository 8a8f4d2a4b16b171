"""`kill -9` at random instants: what was acknowledged is there, nothing is there twice, and it goes on."""

import importlib
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.client import HTTPException
from itertools import pairwise, starmap
from operator import eq
from pathlib import Path
from typing import Any

import polars as pl
from attrs import define, frozen
from claims import Measured
from live_server import Client, in_threads, serving
from swaps import sample_requests
from workbench import Workbench

from charkha.bundles.store import BundleStore
from charkha.clock import SystemClock, to_datetime
from charkha.engines.local import LocalEngine
from charkha.features.feed import Feed
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plan import plan_features
from charkha.features.rows import pushed_rows, read_rows
from charkha.monitoring.collect import collect, labels_table, predictions_table
from charkha.monitoring.skew import exact_features, row_differences, tolerance
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.fields import TIME
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.training.pipeline import SEED

KILLS = 50
LONGEST_SECONDS = 0.25
SAMPLE = 500
Tell = Callable[[str], None]


@frozen
class Toll:
    """What kills cost: things acknowledged that are gone, and things that are there more than once."""

    lost: int = 0
    twice: int = 0

    def __add__(self, other: "Toll") -> "Toll":
        return Toll(self.lost + other.lost, self.twice + other.twice)


def kill_figures(bench: Workbench, tell: Tell) -> Iterator[tuple[str, Measured]]:
    """Yield what was lost or done twice by servers and operators that were killed, fifty times each."""
    load, tolls = Load(bench), [Toll()]  # after each kill, of all that was acknowledged up to then
    with bench.home("killed") as home:
        bench.deploy(home, SystemClock())
        for number in range(KILLS):
            if number % 10 == 0:
                tell(f"  kill -9 of the server, {number} of {KILLS} done")
            tolls.append(_kill_server(bench, home, load))
        yield "server_kills_survived", Measured(sum(starmap(eq, pairwise(tolls))), load.told())
        yield "features_unlike_the_log_after_kills", _state(bench, home, load)
    tell(f"  kill -9 of the operator, {KILLS} times")
    survived, note, toll = _kill_operator(bench)
    yield "operator_kills_survived", Measured(survived, note)
    total = tolls[-1] + toll
    yield "acknowledged_lost", Measured(total.lost)
    yield "applied_twice", Measured(total.twice)


@define(slots=False, eq=False)
class Load:
    """Three clients of a server, and what it acknowledged to them. Nothing is ever sent twice."""

    bench: Workbench

    def __attrs_post_init__(self) -> None:
        source, model = self.bench.model.label.source, self.bench.model.name
        self.source = source.name
        (self.key,) = source.key
        self.predicted: list[str] = []
        self.labelled: list[str] = []
        self.pushed: list[int] = []
        self._unlabelled: list[str] = []
        self._asked = sample_requests(self.bench, SAMPLE)
        self._rows = self.bench.history.events[source.name][:SAMPLE].select(list(source.fields)).to_dicts()
        self._next_key = 1_000_000_000
        self._dice = random.Random(SEED)
        self._paths = {what: f"/v1/models/{model}/{what}" for what in ("predict", "labels")}

    def told(self) -> str:
        """Return how much was acknowledged, in words."""
        predictions, events, labels = len(self.predicted), len(self.pushed), len(self.labelled)
        return f"acknowledged: {predictions:,} predictions, {events:,} events, {labels:,} labels"

    def clients(self, port: int) -> list[Callable[[threading.Event], None]]:
        """Return what each client does: its step again and again, until the server is gone."""
        steps = (self._predict, self._push, self._label)
        return [partial(_repeat, step, port) for step in steps]

    def instant(self) -> float:
        """Return after how many seconds under load the server is to be killed."""
        return self._dice.uniform(0.0, LONGEST_SECONDS)

    def _predict(self, client: Client) -> None:
        rows = self._dice.sample(self._asked, self._dice.randint(1, 3))
        answer = _acknowledged(client.post(self._paths["predict"], {"rows": rows}))
        ids = [row["id"] for row in answer["predictions"]]
        self.predicted += ids
        self._unlabelled += ids

    def _push(self, client: Client) -> None:
        keys = list(range(self._next_key, self._next_key + self._dice.randint(1, 3)))
        self._next_key = keys[-1] + 1
        rows = [_as_json({**self._dice.choice(self._rows), self.key: key}) for key in keys]
        _acknowledged(client.post(f"/v1/sources/{self.source}/events", {"rows": rows}))
        self.pushed += keys

    def _label(self, client: Client) -> None:
        if not self._unlabelled:
            time.sleep(0.002)
            return
        ids = [self._unlabelled.pop() for _ in range(min(2, len(self._unlabelled)))]
        _acknowledged(client.post(self._paths["labels"], {"rows": [{"id": each, "label": True} for each in ids]}))
        self.labelled += ids


def _repeat(step: Callable[[Client], None], port: int, gone: threading.Event) -> None:
    client = Client(port)
    try:
        while not gone.is_set():
            step(client)
    except (OSError, HTTPException):
        pass  # the server is gone
    finally:
        client.close()


def _acknowledged(answer: tuple[int, Any]) -> Any:
    status, said = answer
    if status != 200:
        raise RuntimeError(f"expected the server to take what it is sent, got {status}: {said}")
    return said


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}


def _kill_server(bench: Workbench, home: Home, load: Load) -> Toll:
    """Start a server, load it, kill it, and look what it left in the log."""
    with serving(bench.at("killed"), bench.folder / "killed.log") as server, in_threads(load.clients(server.port)):
        time.sleep(load.instant())
        server.kill()
    name, log = bench.model.name, home.log
    predictions = decode_predictions(log.read(prediction_stream(name)), BundleStore(home.bundles))["id"]
    labels = decode_labels(log.read(label_stream(name)))["id"]
    pushed = pushed_rows(bench.model.label.source, log)[load.key]
    pairs = ((predictions, load.predicted), (labels, load.labelled), (pushed, load.pushed))
    return sum((_toll(found.to_list(), acknowledged) for found, acknowledged in pairs), Toll())


def _toll(found: Sequence[object], acknowledged: Sequence[object]) -> Toll:
    return Toll(len(set(acknowledged) - set(found)), len(found) - len(set(found)))


def _state(bench: Workbench, home: Home, load: Load) -> Measured:
    """Count the features that the state, brought up to the log's end, gives otherwise than the log itself."""
    project, plan, now_us = bench.project, plan_features(bench.model), SystemClock().now()
    Feed(project.sources, project.views, home.log, home.online, SystemClock()).catch_up()
    asked = bench.history.events[load.source][:SAMPLE].select(bench.model.request)
    with home.online.read() as reader:
        online = online_features(plan, reader, asked, now_us)
    now = pl.lit(to_datetime(now_us), dtype=TIME).alias(plan.at)
    spine = asked.with_columns(now, pl.lit(now_us, pl.Int64).alias("_at_us"))
    rows = {source.name: read_rows(source, project.root, home.log) for source in bench.model.sources}
    offline, exact = offline_features(plan, spine, rows, LocalEngine()), exact_features(plan)
    differ = [
        name
        for name in plan.names
        if row_differences(online[name], offline[name], exact=name in exact).max() > tolerance(exact=name in exact)
    ]
    note = f"of {len(plan.names)}, for {SAMPLE} requests after {len(load.pushed):,} events"
    return Measured(len(differ), "; ".join([note, *differ]))


def _kill_operator(bench: Workbench) -> tuple[int, str, Toll]:
    """Live the tests' small world twice, once with an operator that is killed, and compare all that the ledger says.

    Its clock is told the time, as only a test's can be; but its operator is a process that trains, promotes and
    rejects, and dies of SIGKILL at any instant of that.
    """
    world, killing = _of_the_tests("operator_world"), _of_the_tests("test_operator_killed")
    undisturbed, seconds, _ = killing.live(bench.folder / "undisturbed")
    disturbed, _, met = killing.live(bench.folder / "disturbed", seconds)
    same = disturbed == undisturbed
    actions = Counter(decision.action for decision in disturbed["decisions"])
    decided = ", ".join(f"{count} {action}" for action, count in sorted(actions.items()))
    note = f"{met} met it at work; it decided {decided}, {'as' if same else 'UNLIKE'} one that was never killed"
    return (killing.KILLS if same else 0), note, _collected(world.project_in(bench.folder / "disturbed"))


def _of_the_tests(module: str) -> Any:
    """Return a module of the operator's tests; on the path too, for the processes that it starts."""
    folder = str(Path(__file__).resolve().parents[1] / "tests" / "operations")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(module)


def _collected(project: Project) -> Toll:
    """Compare the tables with the logs they were collected from, after one more collection."""
    (model,), toll = project.models.values(), Toll()
    with open_home(project.home) as home:
        bundles = BundleStore(home.bundles)
        collect(home, model, bundles)
        predictions = decode_predictions(home.log.read(prediction_stream(model.name)), bundles)
        labels = decode_labels(home.log.read(label_stream(model.name)))
        for table, logged in ((predictions_table, predictions), (labels_table, labels)):
            key = [name for name in ("id", "version", "role") if name in logged.columns]
            found = home.tables.scan(table(model.name)).collect().select(key).rows()
            toll += _toll(found, logged.select(key).rows())
    return toll
