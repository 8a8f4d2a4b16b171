"""`charkha log`: how much of what was predicted is kept, and in which form; and keeping it small."""

from typing import TYPE_CHECKING, Any

import typer

from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import choose_model, opened, opened_to_read, session_of

if TYPE_CHECKING:
    from charkha.spec.model import Model
    from charkha.spec.project import Project

EXAMPLES = {
    "log_status": ("charkha log status", "charkha log status late --json | jq '.[0].retention'"),
    "log_compact": ("charkha log compact", "charkha log compact late"),
    "log_prune": ("charkha log prune", "charkha log prune late"),
}


def log_status(context: typer.Context, model: ModelName = None, json: AsJson = False) -> None:
    """Show what is kept of each model's predictions: compact days, what is still in the log, what retention takes next.

    Nothing is changed.
    """
    from charkha.cli.status import now
    from charkha.monitoring.log_status import log_status as status_of

    session = session_of(context)
    project = session.project()
    with opened_to_read(project) as home:
        states = [status_of(home, each, now()) for each in _chosen(project, model)]
    if json:
        session.print_json(states)
        return
    for state in states:
        session.out.print(f"[bold]{state.model}[/]", highlight=False)
        span = f", {state.days[0].day} to {state.days[-1].day}" if state.days else ""
        rows, size = sum(day.rows for day in state.days), sum(day.bytes for day in state.days)
        since = f", from {state.log_since} on" if state.log_since else ""
        removes = f"charkha log prune removes {state.prunable_rows:,} rows of days before {state.kept_from}"
        lines = {
            "compact": f"{len(state.days)} days, {rows:,} rows, {_size(size)}{span}",
            "log": f"{state.segments} sealed segments, {_size(state.log_bytes)}{since}",
            "retention": f"{state.keep_days} days; {removes}",
        }
        for word, text in lines.items():
            session.out.print(f"  [dim]{word:<10}[/]{text}", highlight=False)


def log_compact(context: typer.Context, model: ModelName = None) -> None:
    """Turn past days of the log of predictions into Parquet, and drop them from the log.

    Days end at midnight UTC. What was logged since the operator's last look is collected first. Servers may run, and
    whoever reads predictions sees the same as before. The operator does this once a day.
    """
    from charkha.bundles.store import BundleStore
    from charkha.cli.status import now
    from charkha.monitoring.collect import collect
    from charkha.monitoring.compact import compact

    session = session_of(context)
    project = session.project()
    with opened(project) as home:
        bundles = BundleStore(home.bundles)
        for each in _chosen(project, model):
            collect(home, each, bundles)
            done = compact(home, each, bundles, now())
            said = f"[bold]{each.name}[/]: {done.rows:,} rows of {done.stretches} segments are compact now"
            session.out.print(said + (_WAITS if done.waits else ""), highlight=False)


def log_prune(context: typer.Context, model: ModelName = None) -> None:
    """Remove the compact predictions of days that are older than the model's retention, `ck.LogPolicy(keep_days=…)`.

    Labels that have been known for as long go too, unless their prediction is kept. The profiles of each day, which are
    counts, stay. The operator does this once a day.
    """
    from charkha.cli.status import now
    from charkha.monitoring.prune import prune

    session = session_of(context)
    project = session.project()
    with opened(project) as home:
        for each in _chosen(project, model):
            done = prune(home, each, now())
            removed = f"{done.rows:,} rows and {done.labels:,} labels of days before {done.before} are removed"
            said = f"[bold]{each.name}[/]: {removed}"
            session.out.print(said + (_WAITS if done.waits else ""), highlight=False)


_WAITS = "; they are being read, and are dropped when that is done: run it again"
COMMANDS = {"status": log_status, "compact": log_compact, "prune": log_prune}


def _chosen(project: "Project", name: str | None) -> "list[Model]":
    return list(project.models.values()) if name is None else [choose_model(project, name)]


def _size(count: Any) -> str:
    return f"{count / 1e6:,.1f} MB"
