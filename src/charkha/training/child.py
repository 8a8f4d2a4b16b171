"""Training in a child process with limits of its own, so that it can neither starve nor take down what serves.

The parent writes an order, starts `python -m charkha.training.child ORDER RESULT`, or another module that calls `main`,
is told of each step on the child's standard output, and reads the result. The child finds the project again by its
folder: an order is plain JSON.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import msgspec
from attrs import evolve

from charkha.bundles.store import BundleStore
from charkha.clock import Clock, SimulatedClock
from charkha.engines.engine import Engine
from charkha.engines.local import LocalEngine
from charkha.spec.model import Model
from charkha.spec.policies import Budget
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_project
from charkha.storage.ledger import Usage
from charkha.storage.metering import Meter, OnUsage, metered_child
from charkha.training.failures import TrainingCrashed, TrainingFailed, TrainingOutOfMemory, TrainingTimedOut
from charkha.training.limits import end_with_parent, limit_this_process
from charkha.training.pipeline import Candidate, Drill, OnStep, Order, ignore, train, undrilled
from charkha.training.tracking import MlflowTracker, NoTracker, Tracker

# Makes what judges the gates of drills: of a project, a model, its home, the time (µs), and an engine.
Drilling = Callable[[Project, Model, Home, int, Engine], Drill]

KIND = "training"
GRACE_SECONDS = 5
LAST_WORDS = 2000
# How Python, NumPy, Polars and LightGBM say that an allocation failed.
OUT_OF_MEMORY = ("MemoryError", "Unable to allocate", "memory allocation of", "bad_alloc", "Cannot allocate memory")


class ChildOrder(msgspec.Struct, frozen=True):
    """An order as it travels. `now_us`: by the parent's clock; `tracking`: the URI of MLflow, None for no tracker.

    attempt: under which the parent meters the whole of the child, as the child does its stages.
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
    attempt: str = ""


class ChildResult(msgspec.Struct, frozen=True):
    """What became of an order: a version, or the kind and words of an error."""

    version: str | None = None
    error: str = ""
    detail: str = ""


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
) -> Candidate:
    """Carry out an order in a child process within the model's budget; it ends when this process does.

    on_step: called from another thread. on_usage: told what the whole child used, however it ended; of its stages it
    tells the ledger itself. module: what the child runs. Raises TrainingFailed and its kinds (see
    `training.failures`).
    """
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
        attempt=meter.attempt,
    )
    with TemporaryDirectory(prefix="charkha-training-") as folder:
        result = _run_child(sent, Path(folder), meter, order.model.budget, on_step=on_step, module=module)
    if result.version is None:
        raise _failure(order, result.error, result.detail)
    return Candidate.of(BundleStore(project.home / "bundles").manifest(order.model.name, result.version))


def meter_of(model: Model, run_key: str, clock: Clock, on_usage: OnUsage) -> Meter:
    """Return what meters a training."""
    return Meter(kind=KIND, run=run_key, model=model.name, team=model.owner, clock=clock, on_usage=on_usage)


def _failure(order: Order, kind: str, detail: str) -> TrainingFailed:
    if any(sign in f"{kind}: {detail}" for sign in OUT_OF_MEMORY):
        return TrainingOutOfMemory(order.run_key, order.model.budget.train_memory_gb)
    return TrainingFailed(order.run_key, kind, detail)


def _run_child(
    order: ChildOrder, folder: Path, meter: Meter, budget: Budget, *, on_step: OnStep, module: str
) -> ChildResult:
    """Run the child to its end, or end it, and return its result."""
    order_file, result_file, words_file = folder / "order.json", folder / "result.json", folder / "stderr"
    order_file.write_bytes(msgspec.json.encode(order))
    # -P: a file of the project's that is called like a module must not take its place.
    command = [sys.executable, "-P", "-m", module, str(order_file), str(result_file)]
    with (
        words_file.open("wb") as words,
        ended_in_any_case(command, words) as child,
        metered_child(meter, child) as wait,
    ):
        steps = threading.Thread(target=_tell_steps, args=(child, on_step), daemon=True)
        steps.start()
        try:
            status = wait(budget.train_minutes * 60)
        except subprocess.TimeoutExpired:
            raise TrainingTimedOut(order.run_key, budget.train_minutes) from None
        steps.join(GRACE_SECONDS)
    if result_file.exists():
        return msgspec.json.decode(result_file.read_bytes(), type=ChildResult)
    raise _crash(order, budget, status, words_file.read_text(errors="replace")[-LAST_WORDS:].strip())


def _crash(order: ChildOrder, budget: Budget, status: int, last_words: str) -> TrainingFailed:
    if status == -signal.SIGXCPU:
        return TrainingTimedOut(order.run_key, budget.train_minutes)
    if any(sign in last_words for sign in OUT_OF_MEMORY):
        return TrainingOutOfMemory(order.run_key, budget.train_memory_gb)
    return TrainingCrashed(order.run_key, status, last_words)


@contextmanager
def ended_in_any_case(command: list[str], words: IO[bytes]) -> "Iterator[subprocess.Popen[str]]":
    """Yield a child in a process group of its own, and end the group when the block is left: also by Ctrl-C."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=words, text=True, start_new_session=True) as child:
        try:
            yield child
        finally:
            _end_group(child)


def _end_group(child: "subprocess.Popen[str]") -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is not None:
            return
        os.killpg(child.pid, sign)
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _tell_steps(child: "subprocess.Popen[str]", on_step: OnStep) -> None:
    for line in child.stdout or ():
        on_step(line.rstrip("\n"))


def main(order_file: Path, result_file: Path, drilling: Drilling = no_drilling) -> None:
    """The child: carry out the order of a file, and leave the result in another, whole or not at all."""
    end_with_parent()
    steps = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no step
    try:
        order = msgspec.json.decode(order_file.read_bytes(), type=ChildOrder)
        project = load_project(Path(order.root))
        model = _model(project, order.model)
        limit_this_process(model.budget)
        result = carry_out(order, project, model, lambda step: print(step, file=steps), drilling)
    except Exception as error:
        result = ChildResult(error=type(error).__name__, detail=str(error))
    partial = result_file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(result))
    partial.rename(result_file)


def carry_out(
    order: ChildOrder, project: Project, model: Model, on_step: OnStep, drilling: Drilling = no_drilling
) -> ChildResult:
    """Train as ordered, with the backends of the project opened anew and the clock of the parent."""
    home_folder = Path(order.home)
    tracker = NoTracker() if order.tracking is None else MlflowTracker(home_folder, order.tracking)
    here = Order(model, project.root, order.as_of_us, order.run_key, order.champion, order.seed)
    with open_project(evolve(project, home=home_folder)) as home:
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
