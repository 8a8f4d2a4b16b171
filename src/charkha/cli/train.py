"""`charkha train`: one version, now, by hand."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.options import AsJson, ModelName
from charkha.cli.progress import steps, stoppable
from charkha.cli.session import Session, choose_model, opened, person, session_of

if TYPE_CHECKING:
    from charkha.bundles.manifest import WindowLeftOut
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.training.pipeline import Candidate

EXAMPLES = {
    "train": (
        "charkha train",
        "charkha train likes --as-of 2013-08-22",
        "charkha train likes --update",
        "charkha train likes --json | jq .metrics.test",
    )
}


def train(
    context: typer.Context,
    *,
    model: ModelName = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Learn from what was known then, such as 2013-08-22. Else from all, until the newest known label.",
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Let the champion go on learning from the rows that have matured since its newest one, and train "
            "nothing anew. Of an estimator that can, such as ck.OnlineLinear.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Train a version of a model, and test it against its gates.

    The rows are split by time: the oldest to learn from, newer ones to calibrate and choose the threshold, the newest
    to test on. What was not known yet at a prediction's time is in none of its features.

    The first version that passes becomes the champion. A later one waits for the operator, who puts it in shadow, or
    for charkha promote.

    Exits with 1 when a gate failed.
    """
    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        candidate = carry_out(session, project, chosen, home, as_of, update=update)
        champion = crown_if_first(home, chosen.name, candidate)
    if json:
        session.print_json(as_plain(candidate, champion=champion))
    else:
        show(session, candidate, champion=champion)
    raise typer.Exit(0 if candidate.passed else 1)


def carry_out(
    session: Session, project: "Project", model: "Model", home: "Home", as_of: str | None, *, update: bool = False
) -> "Candidate":
    """Train in this process, with the run written into the ledger from its beginning to its end."""
    from charkha.cli.status import end_of_served
    from charkha.clock import SystemClock, to_iso
    from charkha.engines.local import LocalEngine
    from charkha.operations.act import TRAINING
    from charkha.operations.drills.gate import drilling
    from charkha.operations.retraining.keys import by_hand_key
    from charkha.storage.processes import Process
    from charkha.training.child import meter_of
    from charkha.training.pipeline import Order
    from charkha.training.pipeline import train as train_version
    from charkha.training.tracking import MlflowTracker

    clock = SystemClock()
    now_us = clock.now()
    key = by_hand_key(model.name, to_iso(now_us), updates=update)
    serving = home.ledger.deployment(model.name).champion
    as_of_us, champion = moment(project, model, home, as_of), serving.version if serving else None
    learns = going_on(model, home, champion, as_of_us) if update else model
    left_out = left_out_of(session, learns, home, as_of_us)
    goes_on = champion if update else None
    order = Order(model, project.root, as_of_us, key, champion, left_out=left_out, updates=goes_on)
    home.ledger.begin_run(key, TRAINING, model.name, now_us)
    home.ledger.note_run(key, {"process": str(Process.this())})
    meter = meter_of(model, key, clock, lambda usage: home.ledger.record_usage([usage]))
    try:
        remains = "the version that was being made is not there; what serves is as it was. Train again when you like"
        with stoppable(session.err, remains), meter.whole(), steps(session.err) as on_step:
            tracker, engine = MlflowTracker(home.folder), LocalEngine()
            drill = drilling(project, model, home, end_of_served(home), engine)
            candidate = train_version(
                order, home, clock, engine, tracker, on_step=on_step, drill=drill, stage=meter.stage
            )
    except BaseException as error:
        home.ledger.finish_run(key, clock.now(), "failed", {"error": str(error) or repr(error)})
        raise
    home.ledger.finish_run(key, clock.now(), "done", _result(candidate))
    return candidate


def going_on(model: "Model", home: "Home", champion: str | None, as_of_us: int) -> "Model":
    """Return the definition that an update of the champion is made by. Raises CannotUpdate."""
    from charkha.bundles.store import BundleStore
    from charkha.training.update import CannotUpdate, learnt_until_us, updating, why_not

    if champion is None:
        raise CannotUpdate(model.name, "nothing", "there is no champion yet")
    manifest = BundleStore(home.bundles).manifest(model.name, champion)
    if (problem := why_not(model, manifest)) is not None:
        raise CannotUpdate(model.name, champion, problem)
    return updating(model, learnt_until_us(manifest), as_of_us)


def _result(candidate: "Candidate") -> dict[str, object]:
    """Return what the ledger keeps of the run: whose version it is, too, for two persons may have to agree on it."""
    return {"version": candidate.version, "passed": candidate.passed, "by": person()}


def left_out_of(session: Session, model: "Model", home: "Home", as_of_us: int) -> "tuple[WindowLeftOut, ...]":
    """Return the times of incidents of which nothing is learnt, open ones and those that are over, and say which."""
    from charkha.operations.retraining.exclusions import in_words, windows_of
    from charkha.operations.veto import in_the_way, over, waits_in_words

    incidents = home.ledger.incidents(model.name)
    if waiting := in_the_way(incidents, model, as_of_us):
        words = f"{waits_in_words(waiting)}; by hand it goes on, without the rows of its time"
        session.err.print(f"[yellow]warning[/]: {escape(words.removeprefix('training waits: '))}", highlight=False)
    windows = windows_of([*waiting, *over(incidents, model, as_of_us)], model, as_of_us)
    if windows:
        session.err.print(f"[yellow]note[/]: left out: {escape(in_words(windows))}", highlight=False)
    return windows


def moment(project: "Project", model: "Model", home: "Home", as_of: str | None) -> int:
    """Return the time in µs as of which to learn: as given, or when the newest label was known.

    So history that ended years ago can be learnt from as it is: the split counts back from this time.
    """
    from charkha.clock import SystemClock, parse_time
    from charkha.features.reading import opened_readings
    from charkha.features.spine import label_spine
    from charkha.training.dataset import label_rows, sources_of

    now_us = SystemClock().now()
    if as_of is not None:
        try:
            return parse_time(as_of)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--as-of") from None
    with opened_readings(sources_of(model, project.root, home.log), ()) as readings:
        known = label_spine(model.label, model.request, label_rows(model, readings, now_us))["_label_known_us"]
    newest = known.filter(known <= now_us).max()
    return newest if isinstance(newest, int) else now_us


def crown_if_first(home: "Home", model: str, candidate: "Candidate") -> bool:
    """Promote a version that passed when there is nothing to compare it with; return whether it serves."""
    from charkha.clock import SystemClock
    from charkha.operations.deploy import promote

    if not candidate.passed or home.ledger.deployment(model).champion is not None:
        return False
    reason = "the first version that passed its gates; there is no champion to compare it with"
    promote(home, SystemClock(), model, candidate.version, actor=person(), reason=reason)
    return True


def as_plain(candidate: "Candidate", *, champion: bool) -> dict[str, Any]:
    """Return a candidate for `--json`."""
    return {
        "model": candidate.manifest.model,
        "version": candidate.version,
        "passed": candidate.passed,
        "champion": champion,
        "gates": candidate.gates,
        "metrics": candidate.metrics,
    }


def show(session: Session, candidate: "Candidate", *, champion: bool) -> None:
    """Print what was measured, gate by gate, and what to do next."""
    manifest = candidate.manifest
    verdict = "[green]passed its gates[/]" if candidate.passed else "[red]did not pass its gates[/]"
    session.out.print(f"[bold]{manifest.model} {candidate.version}[/] {verdict}", highlight=False)
    table = Table("metric", "on the test rows", "95 % interval", box=None, header_style="dim", pad_edge=False)
    for metric, measured in candidate.metrics["test"].items():
        table.add_row(metric, f"{measured.value:.4f}", f"{measured.low:.4f} to {measured.high:.4f}")
    session.out.print(table)
    for gate in candidate.gates:
        mark = "[green]passed[/]" if gate.passed else "[red]failed[/]"
        session.out.print(f"gate {escape(gate.name)}: {mark}, {escape(gate.reason)}", highlight=False)
    session.out.print(next_step(candidate, champion=champion), highlight=False)


def next_step(candidate: "Candidate", *, champion: bool) -> str:
    """Return what can be done with the new version."""
    if champion:
        return "It is the champion now, the first. Serve it: charkha serve"
    name = candidate.manifest.model
    if not candidate.passed:
        return f"It will not serve. The champion, if there is one, stays: charkha status {name}"
    by_hand = f"charkha promote {name} {candidate.version}"
    return f"The operator will put it beside the champion: charkha operate. Or let it serve at once: {by_hand}"
