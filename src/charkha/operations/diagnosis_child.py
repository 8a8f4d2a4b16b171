"""A look for incidents in a child process, whose time and memory are bounded: what serves and the operator go on.

The parent starts `python -m charkha.operations.diagnosis_child ORDER RESULT`, as a training's parent does, and reads
what was found. The child finds the project again by its folder.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from attrs import evolve

from charkha.clock import Clock, SimulatedClock, to_iso
from charkha.engines.local import LocalEngine
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.diagnosis.documents import as_document, from_document
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.money import priced
from charkha.monitoring.performance import Span
from charkha.operations.case import Question, TooLittleHistory, case_of
from charkha.spec.model import Model
from charkha.spec.policies import Budget
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_project
from charkha.storage.metering import Meter, OnUsage, metered_child
from charkha.training.child import LAST_WORDS, ended_in_any_case, untold
from charkha.training.limits import end_with_parent, limit_this_process

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
    with TemporaryDirectory(prefix="charkha-look-") as folder:
        meter = _meter(model, now_us, SimulatedClock(now_us), on_usage)
        result = _run_child(order, Path(folder), minutes, meter)
    if result.lacking is not None:
        lacking = result.lacking
        healthy = Span(lacking.since_us, lacking.until_us)
        raise TooLittleHistory(model.name, lacking.days, lacking.predictions, healthy)
    if result.document is None:
        raise LookFailed(f"model {model.name!r}: {result.error}")
    return from_document(result.document)


def _meter(model: Model, now_us: int, clock: Clock, on_usage: OnUsage) -> Meter:
    """Return what meters the looks of a day, which are added up."""
    run = f"{model.name}/{KIND}/{to_iso(now_us)[:10]}"
    return Meter(
        kind=KIND, run=run, model=model.name, team=model.owner, clock=clock, on_usage=on_usage, attempt="looks"
    )


def _run_child(order: LookOrder, folder: Path, minutes: float, meter: Meter) -> LookResult:
    order_file, result_file, words_file = folder / "order.json", folder / "result.json", folder / "stderr"
    order_file.write_bytes(msgspec.json.encode(order))
    # -P: a file of the project's that is called like a module must not take its place.
    command = [sys.executable, "-P", "-m", "charkha.operations.diagnosis_child", str(order_file), str(result_file)]
    with (
        words_file.open("wb") as words,
        ended_in_any_case(command, words) as child,
        metered_child(meter, child) as wait,
    ):
        try:
            status = wait(minutes * 60)
        except subprocess.TimeoutExpired:
            return LookResult(error=f"it took longer than {minutes:g} minutes and was ended")
    if result_file.exists():
        return msgspec.json.decode(result_file.read_bytes(), type=LookResult)
    last_words = words_file.read_text(errors="replace")[-LAST_WORDS:].strip()
    return LookResult(error=f"its process ended with status {status}; its last words: {last_words or 'none'}")


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
        result = LookResult(lacking=Lacking(little.days, little.predictions, span.since_us, span.until_us))
    except Exception as error:
        result = LookResult(error=f"{type(error).__name__}: {error}")
    partial = result_file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(result))
    partial.rename(result_file)


def look_here(project: Project, home: Home, model: str, now_us: int) -> Diagnosis:
    """Diagnose a model in this process. Raises what `case_of` raises, and KeyError for a model that is not there."""
    of = project.models[model]
    case = case_of(project, of, home, Question(now_us=now_us), engine=LocalEngine(1), on_step=lambda _: None)
    return priced(diagnose(case), case, of)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
