"""`charkha runs`: what long work there was and is, how far it is, and cancelling it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from charkha.cli.incidents import ListUnlessNamed
from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import choose_model, opened, opened_to_read, person, session_of

if TYPE_CHECKING:
    from charkha.operations.runs.listing import RunState

EXAMPLES = {
    "list_runs": ("charkha runs list", "charkha runs likes --json | jq '.[] | select(.state == \"running\")'"),
    "show": ("charkha runs show likes/train/3", "charkha runs show likes/train/3 --json"),
    "cancel": ("charkha runs cancel likes/train/3 --reason 'the feed was broken on Monday'",),
}
GROUP: type[TyperGroup] = ListUnlessNamed
Key = Annotated[str, typer.Argument(metavar="RUN", help="Its key, such as likes/train/3.")]


def list_runs(
    context: typer.Context,
    *,
    model: ModelName = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show, the newest.")] = 20,
    json: AsJson = False,
) -> None:
    """List runs: what was begun when, how far it is, how often it was tried, and what came of it.

    The word list may be left out: charkha runs MODEL.
    """
    from charkha.operations.runs.listing import states_of

    session = session_of(context)
    project = session.project()
    name = None if model is None else choose_model(project, model).name
    with opened_to_read(project) as home:
        found = states_of(home.ledger, name)[-limit:]
    if json:
        session.print_json([plain(each) for each in found])
    elif not found:
        session.out.print("no runs yet: the first training makes one", highlight=False)
    else:
        session.out.print(run_table(found))


def show(context: typer.Context, key: Key, json: AsJson = False) -> None:
    """Show one run: each of its tries, and the process that is at work on it."""
    from charkha.operations.runs.cancel import find_run
    from charkha.operations.runs.listing import state_of

    session = session_of(context)
    with opened_to_read(session.project()) as home:
        run = find_run(home.ledger.runs(), key)
        state = state_of(run, home.ledger.decisions(run.model))
    if json:
        session.print_json(plain(state))
        return
    lines = {**plain(state), **{f"note: {name}": str(value) for name, value in state.run.result.items()}}
    for word, value in lines.items():
        if word not in ("key", "result", "failed_tries") and value not in (None, "", []):
            session.out.print(f"  [dim]{word.replace('_', ' '):<14}[/]{escape(str(value))}", highlight=False)
    for each in state.retries:
        session.out.print(f"  [dim]{'retry':<14}[/]{escape(each.reason)}", highlight=False)


def cancel(
    context: typer.Context,
    key: Key,
    *,
    reason: Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; kept in the ledger.")],
    json: AsJson = False,
) -> None:
    """Cancel a run: its process is ended, and it is not begun again.

    It is a decision in the ledger: the operator that leads heeds it within a second or two, or else the next one. What
    serves is not touched. A run that has ended cannot be cancelled.
    """
    from charkha.clock import SystemClock
    from charkha.operations.runs.cancel import cancel as decide

    session = session_of(context)
    with opened(session.project()) as home:
        decision = decide(home, SystemClock(), key, actor=person(), reason=reason)
    if json:
        session.print_json(decision)
    else:
        session.out.print(f"{key} is cancelled; the operator ends it: charkha runs show {key}", highlight=False)


def run_table(states: "Sequence[RunState]") -> Table:
    """Return runs as a table."""
    table = Table("run", "what", "state", "begun", "tries", "result", box=None, header_style="dim", pad_edge=False)
    for each in states:
        begun = plain(each)["started"][:16].replace("T", " ")
        table.add_row(
            escape(each.run.key), each.run.kind, f"[bold]{each.state}[/]", begun, str(each.tries), escape(each.in_words)
        )
    return table


def plain(state: "RunState") -> dict[str, Any]:
    """Return a run for `--json`."""
    from charkha.clock import to_iso

    run = state.run
    return {
        "key": run.key,
        "kind": run.kind,
        "model": run.model,
        "state": state.state,
        "started": to_iso(run.started_us),
        "finished": None if run.finished_us is None else to_iso(run.finished_us),
        "tries": state.tries,
        "not_before": None if state.not_before_us is None else to_iso(state.not_before_us),
        "cancelled": state.cancelled,
        "failed_tries": [each.evidence for each in state.retries],
        "result": run.result,
    }


COMMANDS: dict[str, Callable[..., None]] = {"list": list_runs, "show": show, "cancel": cancel}
