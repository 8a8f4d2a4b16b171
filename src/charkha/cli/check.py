"""`charkha check`: every fault of a definition, before any data is read."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from charkha.cli.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charkha.spec.faults import Fault
    from charkha.spec.model import Model
    from charkha.spec.project import Project

EXAMPLES = {"check": ("charkha check", "charkha check --json | jq '.faults[].where'")}


def check(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the faults as JSON.")] = False,
) -> None:
    """Find every fault of the definition at once, before any data is read.

    Names, columns, types, windows, keys, leaks of the truth, expressions, gates and policies are all looked at. Files
    that are not there yet are a notice, and no fault.

    Exits with 1 when there is a fault.
    """
    from charkha.spec.faults import DefinitionError

    session = session_of(context)
    try:
        project = session.project()
    except DefinitionError as error:
        report_faults(session, error.faults, json=json)
        raise typer.Exit(1) from None
    notices = list(missing_files(project))
    if json:
        found = {"ok": True, "project": project.name, "models": list(project.models), "faults": [], "notices": notices}
        session.print_json(found)
    else:
        print_outline(session, project)
        for notice in notices:
            session.out.print(f"[yellow]notice[/] {escape(notice)}", highlight=False)


def missing_files(project: "Project") -> "Iterator[str]":
    """Yield which sources have no file yet: no fault of a definition whose data are still to come."""
    from charkha.features.declared import DataError
    from charkha.features.file_paths import paths_of
    from charkha.spec.sources import Files

    for source in project.sources.values():
        if isinstance(source.data, Files):
            try:
                paths_of(source, source.data, project.root)
            except DataError as error:
                yield f"{error}."


def report_faults(session: Session, faults: "list[Fault]", *, json: bool) -> None:
    """Print faults, each with its way out."""
    if json:
        session.print_json({"ok": False, "faults": [fault.as_dict() for fault in faults]})
        return
    for number, fault in enumerate(faults, 1):
        session.out.print(f"[bold]{number}. {escape(fault.where)}[/]", highlight=False)
        session.out.print(f"   expected {escape(fault.expected)}, [red]got {escape(fault.found)}[/]", highlight=False)
        session.out.print(f"   {escape(fault.remedy)}", highlight=False)
    session.out.print(f"\n[red]{len(faults)} fault{'' if len(faults) == 1 else 's'}[/]", highlight=False)


def print_outline(session: Session, project: "Project") -> None:
    """Print what a sound definition says, in a few lines."""
    session.out.print(f"[bold]{project.name}[/]  {project.root}", highlight=False)
    for model in project.models.values():
        session.out.print(f"  model [bold]{model.name}[/], {model.task}: {outline(model)}", highlight=False)
    session.out.print("[green]no faults[/]")


def outline(model: "Model") -> str:
    """Return what a model is made of, in one sentence."""
    windows = sum(len(view.window_features()) for view in model.views)
    latest = sum(len(view.latest) for view in model.views)
    computed = sum(len(group.expressions) for group in model.request_features)
    sources = ", ".join(source.name for source in model.sources)
    return (
        f"{windows} windowed, {latest} latest and {computed} request features from {sources}; "
        f"{len(model.gates)} gates, {len(model.rules)} rules"
    )
