"""What the steps of the serving benchmark share: projects, made once; servers of them; loads, measured in rounds."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec
from attrs import define, field, frozen
from features_child import in_child
from live_server import Client, Server, serving
from load import Answers, Target, closed_loop
from peers import TOLERANCE, NotRight
from process_tree import cpu_seconds
from serving_work import Sizes

from charkha.bundles.store import BundleStore
from charkha.serving.prediction_log import PredictionBatch, prediction_stream
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_project

CONNECTIONS = 64
# How many workers a server may be best with: one for each core, or fewer beside what makes the load.
WORKERS = (1, 2)
CHECKED = 100
WARM_SECONDS = 2.0


@frozen
class Lengths:
    """How long and how often. seconds: of one load. rounds: of which the middle counts. swaps, kills: how many."""

    seconds: float = 10.0
    rounds: int = 3
    swaps: int = 1000
    kills: int = 200
    starts: int = 5
    memory_minutes: float = 3.0


QUICK = Lengths(seconds=2.0, rounds=1, swaps=10, kills=5, starts=1, memory_minutes=0.25)


@frozen(eq=False)
class Served:
    """A server of a copy of a project, which is gone with it."""

    project: Project
    server: Server
    target: Target

    def cpu_seconds(self) -> float:
        """Return the processor time of the server and its workers."""
        return cpu_seconds(self.server.process.pid)


@frozen
class Loaded:
    """The middle of some rounds, by how many were answered a second.

    workers: the server had. cores: it was busy on. logged: rows in its log beyond the answers; below 0: lost.
    """

    answers: Answers
    workers: int
    cores: float
    logged: int

    def __str__(self) -> str:
        return f"{self.answers}; {self.workers} workers on {self.cores:.2f} cores"


@define(slots=False, eq=False)
class Bench:
    """A temporary folder to work in. cache: where the peers' environments are kept. tell: says what goes on."""

    folder: Path
    cache: Path
    sizes: Sizes
    lengths: Lengths = Lengths()
    tell: Callable[[str], None] = print
    workers: Sequence[int] = WORKERS
    _rooms: int = field(default=0, init=False)

    @property
    def log(self) -> Path:
        """What the processes of this run say."""
        return self.folder / "log"

    @cached_property
    def fields(self) -> Path:
        """The project of raw fields."""
        return self._made("fields", rows=self.sizes.rows)

    @cached_property
    def fraud(self) -> Path:
        """The project of the fraud path."""
        return self._made("fraud", rows=self.sizes.rows, cards=self.sizes.cards)

    @cached_property
    def fields_loaded(self) -> Loaded:
        """Raw fields at 64 connections."""
        return self.best(self.fields)

    @cached_property
    def fraud_loaded(self) -> Loaded:
        """The fraud path at 64 connections."""
        return self.best(self.fraud)

    @contextmanager
    def room(self) -> Iterator[Path]:
        """A folder that is gone at the end."""
        self._rooms += 1
        folder = self.folder / f"room-{self._rooms}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def copied(self, made: Path) -> Iterator[Project]:
        """A copy of a project, with a log of its own, in a room."""
        with self.room() as room:
            shutil.copytree(made, room / "project")
            yield load_project(room / "project")

    @contextmanager
    def served(self, made: Path, workers: int, change: Callable[[Home], None] | None = None) -> Iterator[Served]:
        """A server of a copy of a project, which answers rightly. change: of its deployment, before."""
        with self.copied(made) as project:
            if change is not None:
                with open_project(project) as home:
                    change(home)
            with serving(project, self.log, workers) as server:
                served = Served(project, server, target_of(project, server.port))
                check(served.target, made)
                yield served

    def loaded(self, served: Served, connections: int = CONNECTIONS, seconds: float | None = None) -> Answers:
        """Load a server for as long as loads last here."""
        with self.room() as room:
            return closed_loop(served.target, connections, seconds or self.lengths.seconds, room)

    def rounds(self, load: Callable[[], Answers]) -> Answers:
        """Return the middle of some rounds."""
        found = sorted((load() for _ in range(self.lengths.rounds)), key=lambda each: each.qps)
        return found[len(found) // 2]

    def best(self, made: Path, change: Callable[[Home], None] | None = None) -> Loaded:
        """Return what a project reaches at 64 connections, with as many workers as it is best with."""
        return max((self._with(made, workers, change) for workers in self.workers), key=lambda each: each.answers.qps)

    def _with(self, made: Path, workers: int, change: Callable[[Home], None] | None) -> Loaded:
        with self.served(made, workers, change) as served:
            all_answers = [self.loaded(served, seconds=WARM_SECONDS)]
            cpu = served.cpu_seconds()

            def load() -> Answers:
                all_answers.append(self.loaded(served))
                return all_answers[-1]

            middle = self.rounds(load)
            cores = (served.cpu_seconds() - cpu) / sum(each.seconds for each in all_answers[1:])
            answered = min(CHECKED, len(served.target.bodies.read_text().splitlines()))
            answered += sum(each.answers - each.refused for each in all_answers)
            loaded = Loaded(middle, workers, cores, logged_rows(served.project) - answered)
        self.tell(f"    {made.name}: {loaded}")
        return loaded

    def _made(self, name: str, **sizes: int) -> Path:
        self.tell(f"    making the project {name} …")
        in_child(f"serving_work:make_{name}", self.log, folder=str(self.folder / name), **sizes)
        return self.folder / name


def target_of(project: Project, port: int) -> Target:
    """Return what is asked of a server of a project."""
    (model,) = project.models
    return Target(port, f"/v1/models/{model}/predict", project.root / "bodies.jsonl")


def check(target: Target, made: Path) -> None:
    """Ask some rows one by one: all are answered by the champion, with the trainer's own scores where those are there.

    Raises NotRight.
    """
    wanted = made / "expected.json"
    bodies = target.bodies.read_text().splitlines()[:CHECKED]
    expected = json.loads(wanted.read_text()) if wanted.exists() else [None] * len(bodies)
    client = Client(target.port)
    try:
        for body, score in zip(bodies, expected, strict=False):
            status, answer = client.post(target.path, json.loads(body))
            right = status == 200 and answer["role"] == "champion"
            if not right or (score is not None and abs(answer["score"] - score) > TOLERANCE):
                raise NotRight(f"charkha: expected the score {score}, got status {status}: {answer}")
    finally:
        client.close()


def logged_rows(project: Project) -> int:
    """Return how many rows the log of a project's model says were answered."""
    (model,), decoder = project.models, msgspec.msgpack.Decoder(PredictionBatch)
    with open_project(project) as home:
        calls = (decoder.decode(record.payload) for record in home.log.read(prediction_stream(model)))
        return sum(len(call.requests) for call in calls if any(part.role != "shadow" for part in call.answers))


def runtime_of(made: Path) -> str:
    """Return by which runtime the first version of a project's model is served."""
    project = load_project(made)
    (model,) = project.models
    choice = BundleStore(project.home / "bundles").manifest(model, "v1").runtime
    return choice.name if choice else "unknown"
