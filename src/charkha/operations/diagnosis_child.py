"""A look for incidents in a child process, whose time and memory are bounded: what serves and the operator go on.

The child is started as a training's is (see `training.child_process`), and finds the project again by its folder.
"""

import sys
from pathlib import Path

import msgspec
from attrs import evolve

from charkha.clock import Clock, SimulatedClock, to_iso
from charkha.engines.local import LocalEngine
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.diagnosis.documents import as_document, from_document
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.money import priced
from charkha.monitoring.performance import Span
from charkha.operations.case import Question, case_of
from charkha.operations.history import TooLittleHistory
from charkha.spec.model import Model
from charkha.spec.policies import Budget
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_project
from charkha.storage.metering import Meter, OnUsage
from charkha.training.child import untold
from charkha.training.child_process import Child, Ended, leave
from charkha.training.limits import end_with_parent, limit_this_process
from charkha.training.pipeline import ignore

MOST_MINUTES = 10.0
KIND = "diagnosis"


class LookFailed(Exception):
    """A look that came to no diagnosis; says why."""


class LookOrder(msgspec.Struct, frozen=True):
    """A look as it travels."""

    root: str
    home: str
    model: str
    now_us: int
    train_memory_gb: float


class Lacking(msgspec.Struct, frozen=True):
    """How much history there was, where it was too little."""

    days: int
    predictions: int
    since_us: int
    until_us: int
    choice: str = ""


class LookResult(msgspec.Struct, frozen=True):
    """What became of a look: the document of a diagnosis, too little history, or an error in words."""

    document: dict[str, object] | None = None
    lacking: Lacking | None = None
    error: str = ""


def diagnose_in_child(
    project: Project, model: Model, now_us: int, *, minutes: float = MOST_MINUTES, on_usage: OnUsage = untold
) -> Diagnosis:
    """Diagnose a model in a child process, which ends when this process does, or after so many minutes.

    Its memory is bounded by the model's budget for training. on_usage: told what the whole child used.
    Raises TooLittleHistory and LookFailed.
    """
    memory_gb = model.budget.train_memory_gb
    order = LookOrder(str(project.root), str(project.home), model.name, now_us, memory_gb)
    meter = _meter(model, now_us, SimulatedClock(now_us), on_usage)
    module, seconds = "charkha.operations.diagnosis_child", minutes * 60
    with Child(module, msgspec.json.encode(order), seconds, ignore, meter=meter) as child:
        result = _result_of(child.wait(), minutes)
    if result.lacking is not None:
        lacking = result.lacking
        healthy = Span(lacking.since_us, lacking.until_us)
        raise TooLittleHistory(model.name, lacking.days, lacking.predictions, healthy, lacking.choice)
    if result.document is None:
        raise LookFailed(f"model {model.name!r}: {result.error}")
    return from_document(result.document)


def _meter(model: Model, now_us: int, clock: Clock, on_usage: OnUsage) -> Meter:
    """Return what meters the looks of a day, which are added up."""
    run = f"{model.name}/{KIND}/{to_iso(now_us)[:10]}"
    return Meter(
        kind=KIND, run=run, model=model.name, team=model.owner, clock=clock, on_usage=on_usage, attempt="looks"
    )


def _result_of(ended: Ended, minutes: float) -> LookResult:
    if ended.timed_out:
        return LookResult(error=f"it took longer than {minutes:g} minutes and was ended")
    if ended.result is not None:
        return msgspec.json.decode(ended.result, type=LookResult)
    words = ended.last_words or "none"
    return LookResult(error=f"its process ended with status {ended.status}; its last words: {words}")


def main(order_file: Path, result_file: Path) -> None:
    """The child: look as a file says, and leave what was found in another, whole or not at all."""
    end_with_parent()
    try:
        order = msgspec.json.decode(order_file.read_bytes(), type=LookOrder)
        project = evolve(load_project(Path(order.root)), home=Path(order.home))
        limit_this_process(Budget(train_minutes=MOST_MINUTES, train_memory_gb=order.train_memory_gb))
        with open_project(project) as home:
            meter = _meter(
                project.models[order.model],
                order.now_us,
                SimulatedClock(order.now_us),
                lambda usage: home.ledger.record_usage([usage]),
            )
            with meter.stage(KIND):
                found = look_here(project, home, order.model, order.now_us)
            result = LookResult(document=as_document(found))
    except TooLittleHistory as little:
        span = little.healthy
        result = LookResult(
            lacking=Lacking(little.days, little.predictions, span.since_us, span.until_us, little.choice)
        )
    except Exception as error:
        result = LookResult(error=f"{type(error).__name__}: {error}")
    leave(result_file, msgspec.json.encode(result))


def look_here(project: Project, home: Home, model: str, now_us: int) -> Diagnosis:
    """Diagnose a model in this process. Raises what `case_of` raises, and KeyError for a model that is not there."""
    of = project.models[model]
    case = case_of(
        project, of, home, Question(now_us=now_us, profiles=True), engine=LocalEngine(1), on_step=lambda _: None
    )
    return priced(diagnose(case), case, of)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
