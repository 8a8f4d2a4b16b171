"""Training in a child process with limits of its own, so that it can neither starve nor take down what serves.

The child runs `charkha.training.child`, or another module that calls `main` (see `training.child_process`), and finds
the project again by its folder: an order is plain JSON. One training of a model is at work at a time.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from attrs import evolve

from charkha.bundles.manifest import WindowLeftOut
from charkha.bundles.store import BundleStore
from charkha.clock import Clock, SimulatedClock
from charkha.engines.engine import Engine
from charkha.engines.local import LocalEngine
from charkha.spec.model import Model
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_project
from charkha.storage.ledger import LEASE, Usage
from charkha.storage.metering import Meter, OnUsage
from charkha.training.child_process import Child, Ended, leave
from charkha.training.failures import TrainingCrashed, TrainingFailed, TrainingOutOfMemory, TrainingTimedOut
from charkha.training.limits import end_with_parent, limit_this_process
from charkha.training.one_at_a_time import be_alone, end_former, lock_of
from charkha.training.pipeline import Candidate, Drill, OnStep, Order, ignore, train, undrilled
from charkha.training.tracking import MlflowTracker, NoTracker, Tracker
from charkha.training.transient import is_transient

# Makes what judges the gates of drills: of a project, a model, its home, the time (µs), and an engine.
Drilling = Callable[[Project, Model, Home, int, Engine], Drill]

KIND = "training"
# How Python, NumPy, Polars and LightGBM say that an allocation failed.
OUT_OF_MEMORY = ("MemoryError", "Unable to allocate", "memory allocation of", "bad_alloc", "Cannot allocate memory")


class ChildOrder(msgspec.Struct, frozen=True):
    """An order as it travels.

    `now_us`: by the parent's clock; `tracking`: the URI of MLflow, None for no tracker; `term`: of the parent's lead,
    None where it need not lead; `attempt`: under which the parent meters the whole of the child, as the child does its
    stages.
    """

    root: str
    home: str
    model: str
    as_of_us: int
    now_us: int
    run_key: str
    champion: str | None
    seed: int
    tracking: str | None
    left_out: tuple[WindowLeftOut, ...] = ()
    without: tuple[str, ...] = ()
    recalibrates_since_us: int | None = None
    updates: str | None = None
    term: int | None = None
    attempt: str = ""


class ChildResult(msgspec.Struct, frozen=True):
    """What became of an order: a version, or the kind and words of an error, and whether it may pass by itself."""

    version: str | None = None
    error: str = ""
    detail: str = ""
    transient: bool = False


def no_drilling(project: Project, model: Model, home: Home, now_us: int, engine: Engine) -> Drill:
    """Make what lets nobody through a gate of drills."""
    return undrilled


def untold(usage: Usage) -> None:
    """Tell nobody what was used."""


def train_in_child(
    order: Order,
    project: Project,
    clock: Clock,
    tracker: Tracker,
    *,
    on_step: OnStep = ignore,
    on_usage: OnUsage = untold,
    module: str = "charkha.training.child",
    term: int | None = None,
) -> Candidate:
    """Carry out an order in a child process within the model's budget; it ends when this process does.

    on_step: called from another thread. on_usage: told what the whole child used, however it ended; of its stages it
    tells the ledger itself. module: what the child runs. term: in which the parent leads; once another does, the child
    writes nothing. Raises TrainingFailed and its kinds (see `training.failures`).
    """
    with begin_child(
        order, project, clock, tracker, on_step=on_step, on_usage=on_usage, module=module, term=term
    ) as child:
        return candidate_of(order, project, child.wait())


def begin_child(
    order: Order,
    project: Project,
    clock: Clock,
    tracker: Tracker,
    *,
    on_step: OnStep = ignore,
    on_usage: OnUsage = untold,
    module: str = "charkha.training.child",
    term: int | None = None,
) -> Child:
    """Begin what `train_in_child` carries out, after ending what an earlier parent has left behind."""
    meter = meter_of(order.model, order.run_key, clock, on_usage)
    sent = ChildOrder(
        root=str(order.root),
        home=str(project.home),
        model=order.model.name,
        as_of_us=order.as_of_us,
        now_us=clock.now(),
        run_key=order.run_key,
        champion=order.champion,
        seed=order.seed,
        tracking=tracker.uri if isinstance(tracker, MlflowTracker) else None,
        left_out=order.left_out,
        without=order.without,
        recalibrates_since_us=order.recalibrates_since_us,
        updates=order.updates,
        term=term,
        attempt=meter.attempt,
    )
    end_former(lock_of(project.home, order.model.name, KIND))
    seconds = order.model.budget.train_minutes * 60
    return Child(module, msgspec.json.encode(sent), seconds, on_step, meter=meter)


def candidate_of(order: Order, project: Project, ended: Ended) -> Candidate:
    """Return what a child has made. Raises TrainingFailed and its kinds."""
    if ended.timed_out:
        raise TrainingTimedOut(order.run_key, order.model.budget.train_minutes)
    if ended.result is None:
        raise _crash(order, ended)
    result = msgspec.json.decode(ended.result, type=ChildResult)
    if result.version is None:
        raise _failure(order, result)
    return Candidate.of(BundleStore(project.home / "bundles").manifest(order.model.name, result.version))


def meter_of(model: Model, run_key: str, clock: Clock, on_usage: OnUsage) -> Meter:
    """Return what meters a training."""
    return Meter(kind=KIND, run=run_key, model=model.name, team=model.owner, clock=clock, on_usage=on_usage)


def _failure(order: Order, result: ChildResult) -> TrainingFailed:
    if any(sign in f"{result.error}: {result.detail}" for sign in OUT_OF_MEMORY):
        return TrainingOutOfMemory(order.run_key, order.model.budget.train_memory_gb)
    return TrainingFailed(order.run_key, result.error, result.detail, transient=result.transient)


def _crash(order: Order, ended: Ended) -> TrainingFailed:
    if ended.status == -signal.SIGXCPU:
        return TrainingTimedOut(order.run_key, order.model.budget.train_minutes)
    if any(sign in ended.last_words for sign in OUT_OF_MEMORY):
        return TrainingOutOfMemory(order.run_key, order.model.budget.train_memory_gb)
    return TrainingCrashed(order.run_key, ended.status, ended.last_words)


def main(order_file: Path, result_file: Path, drilling: Drilling = no_drilling) -> None:
    """The child: carry out the order of a file, and leave the result in another, whole or not at all."""
    end_with_parent()
    steps = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no step
    try:
        order = msgspec.json.decode(order_file.read_bytes(), type=ChildOrder)
        be_alone(lock_of(Path(order.home), order.model, KIND))
        project = load_project(Path(order.root))
        model = _model(project, order.model)
        limit_this_process(model.budget)
        result = carry_out(order, project, model, lambda step: print(step, file=steps), drilling)
    except Exception as error:
        result = ChildResult(error=type(error).__name__, detail=str(error), transient=is_transient(error))
    leave(result_file, msgspec.json.encode(result))


def carry_out(
    order: ChildOrder, project: Project, model: Model, on_step: OnStep, drilling: Drilling = no_drilling
) -> ChildResult:
    """Train as ordered, with the backends of the project opened anew and the clock of the parent."""
    home_folder = Path(order.home)
    tracker = NoTracker() if order.tracking is None else MlflowTracker(home_folder, order.tracking)
    here = Order(
        model=model,
        root=project.root,
        as_of_us=order.as_of_us,
        run_key=order.run_key,
        champion=order.champion,
        seed=order.seed,
        left_out=order.left_out,
        without=order.without,
        recalibrates_since_us=order.recalibrates_since_us,
        updates=order.updates,
    )
    with open_project(evolve(project, home=home_folder)) as opened:
        home = evolve(opened, ledger=opened.ledger.fenced(LEASE, lambda: order.term))
        clock, engine = SimulatedClock(order.now_us), LocalEngine()
        drill = drilling(project, model, home, order.now_us, engine)
        meter = meter_of(model, order.run_key, clock, lambda usage: home.ledger.record_usage([usage]))
        meter = evolve(meter, attempt=order.attempt or meter.attempt)
        candidate = train(here, home, clock, engine, tracker, on_step=on_step, drill=drill, stage=meter.stage)
    return ChildResult(version=candidate.version)


def _model(project: Project, name: str) -> Model:
    if name not in project.models:
        raise LookupError(f"expected a model of {project.root}: {', '.join(project.models)}; got {name!r}")
    return project.models[name]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
