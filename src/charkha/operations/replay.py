"""History driven through the code of production: its feed, service and operator, under a clock that is told the time.

Every event is pushed when it became known, every prediction asked for at its time, every label delivered when it was
known, and the operator looks once a day. Beside the clock one thing differs from live traffic: questions are asked one
by one, each of the state at its own time, but answered and logged together, up to 64 rows in one go. A server answers
each call by itself as yet.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
from attrs import define, evolve, field, frozen

from charkha.clock import SimulatedClock, to_iso
from charkha.features.feed import Feed
from charkha.features.file_marks import is_marks_stream
from charkha.features.materialise import plain_values
from charkha.features.rows import read_rows
from charkha.features.spine import label_spine
from charkha.operations.operator import Operator
from charkha.operations.timetable import Call, Kind, Timetable, timetable
from charkha.serving.scoring import Question
from charkha.serving.service import NoChampion, Service
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.ledger import Deployment
from charkha.training.dataset import without_truth_ahead

OnProgress = Callable[[int, int, str], None]

_TOGETHER = 64  # rows that are scored in one go


class ReplayRefused(Exception):
    """A replay that cannot begin; says why and the way out."""


class BundleNotLoaded(Exception):
    """A deployment of which not every version can be loaded: a replay without it would tell of another model.

    folder: of the model's bundles. problem: which version, and why.
    """

    def __init__(self, deployment: Deployment, folder: Path, problem: str) -> None:
        self.deployment, self.folder, self.problem = deployment, folder, problem
        model, versions = deployment.model, ", ".join(f"{each.role} {each.version}" for each in deployment.assignments)
        super().__init__(
            f"model '{model}': expected generation {deployment.generation} ({versions}) to be loaded from {folder}, "
            f"but {problem}. A replay does not go on with the fallback, or with less than what is deployed. Put right "
            f"what keeps the bundle from being loaded, and replay anew: charkha replay {model} --fresh"
        )


@frozen
class Counts:
    """How many events were pushed, predictions answered and labels delivered."""

    events: int
    predictions: int
    labels: int


@frozen(eq=False)
class Stage:
    """What a replay runs on. The operator must look at the same clock and home."""

    project: Project
    home: Home
    model: Model
    clock: SimulatedClock
    operator: Operator


def replay(stage: Stage, until_us: int, on_progress: OnProgress) -> Counts:
    """Replay history from the clock's time to `until_us` (µs) and return how much of it there was.

    on_progress: called with µs done, µs in all, and what is going on. Raises ReplayRefused, DataError, TruthKnownAhead,
    NoChampion and BundleNotLoaded.
    """
    project, home, model, from_us = stage.project, stage.home, stage.model, stage.clock.now()
    _refuse_what_cannot_be_replayed(stage, until_us)
    on_progress(0, until_us - from_us, "reading history")
    plan = _history(stage, until_us)
    on_progress(0, until_us - from_us, "building the online state")
    Feed(project.sources, project.views, home.log, home.online, stage.clock).materialise(project.root, from_us)
    on_progress(0, until_us - from_us, "training the first champion")
    decided = stage.operator.tick(model.name)
    service = Service(_all_logged(project), home, stage.clock, partition="replay")
    try:
        _follow(stage, service)
        if model.name not in service.line_ups():
            why = f"{decided[-1].reason}. " if decided else ""
            raise NoChampion(model.name, f"{why}All of it: charkha --home {home.folder} history {model.name}")
        return _drive(stage, service, plan, on_progress)
    finally:
        service.close()


def _follow(stage: Stage, service: Service) -> None:
    """Have the service take over what is deployed now, all of it. Raises BundleNotLoaded."""
    service.refresh()
    name = stage.model.name
    if problem := service.problems().get(name):
        raise BundleNotLoaded(stage.home.ledger.deployment(name), stage.home.bundles / name, problem)


def _all_logged(project: Project) -> Project:
    """Return a project that logs all features: the summary asks what another version would have made of them."""
    models = {name: evolve(model, log=evolve(model.log, features_share=1.0)) for name, model in project.models.items()}
    return evolve(project, models=models)


def _history(stage: Stage, until_us: int) -> Timetable:
    sources = {source.name: source for source in stage.model.sources}
    rows = {name: read_rows(source, stage.project.root, stage.home.log) for name, source in sources.items()}
    label = stage.model.label
    # Nobody asks for what is known: such an occasion is not learnt from either, and would flatter what is measured.
    spine = without_truth_ahead(stage.model, label_spine(label, stage.model.request, rows[label.source.name]))
    return timetable(sources, rows, spine, stage.clock.now(), until_us)


def _drive(stage: Stage, service: Service, plan: Timetable, on_progress: OnProgress) -> Counts:
    """Make every call of the timetable at its time."""
    name, clock = stage.model.name, stage.clock
    sources = stage.project.sources
    events = {source: plain_values(rows.select(list(sources[source].fields))) for source, rows in plan.events.items()}
    requests = plan.requests.select(stage.model.request)
    asking = _Asking(service)
    label_places, labels = plan.labels["_place"].to_list(), plan.labels["_label"].to_list()

    def push(call: Call) -> None:
        # The files were held to their contract when they were read.
        service.push(call.stream, events[call.stream][call.low : call.high].rows(), vetted=True)

    def ask(call: Call) -> None:
        asking.ask(name, requests[call.low : call.high])

    def tell(call: Call) -> None:
        ids = asking.ids_of(label_places[call.low : call.high])
        service.label(name, ids, labels[call.low : call.high])

    def tick(call: Call) -> None:
        on_progress(call.time_us - plan.from_us, plan.until_us - plan.from_us, f"replaying {to_iso(call.time_us)[:10]}")
        asking.settle()
        if stage.operator.tick(name):
            _follow(stage, service)
        service.vitals.refresh()

    acts: Mapping[Kind, Callable[[Call], None]] = {
        Kind.EVENTS: push,
        Kind.REQUESTS: ask,
        Kind.LABELS: tell,
        Kind.TICK: tick,
    }
    for call in plan.calls():
        clock.advance_to(call.time_us)
        acts[call.kind](call)
    asking.settle()
    return Counts(sum(map(len, events.values())), len(asking.ids), len(labels))


@define(eq=False)
class _Asking:
    """Asks each question at its time, from the state as it is then, and has many answered together, which costs less.

    ids: those of the answers so far, in the order of the requests.
    """

    service: Service
    ids: list[str] = field(factory=list)
    _waiting: list[Question] = field(factory=list)
    _rows: int = 0

    def ask(self, model: str, requests: pl.DataFrame) -> None:
        self._waiting.append(self.service.ask(model, requests))
        self._rows += requests.height
        if self._rows >= _TOGETHER:
            self.settle()

    def ids_of(self, places: Sequence[int]) -> list[str]:
        """Return the ids of requests by their place among all."""
        if places and max(places) >= len(self.ids):
            self.settle()
        return [self.ids[place] for place in places]

    def settle(self) -> None:
        """Have all that were asked answered and logged."""
        if self._waiting:
            for answers in self.service.answer(self._waiting):
                self.ids.extend(answers.ids)
        self._waiting, self._rows = [], 0


def _refuse_what_cannot_be_replayed(stage: Stage, until_us: int) -> None:
    now_us = stage.clock.now()
    if until_us <= now_us:
        raise ReplayRefused(f"expected an end after the beginning {to_iso(now_us)}, got {to_iso(until_us)}")
    keyless = [source.name for source in stage.model.sources if not source.static and not source.key]
    if keyless:
        raise ReplayRefused(f"sources {keyless}: a replay pushes their rows, which needs a row key. Declare key=[...]")
    if not all(map(is_marks_stream, stage.home.log.streams())):
        raise ReplayRefused(
            f"{stage.home.folder} holds logs already, and time does not run backwards. Begin with an empty one: --fresh"
        )
