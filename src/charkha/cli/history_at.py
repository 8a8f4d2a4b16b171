"""`charkha history --at`: what was in production at a time, who or what put it there, and on which evidence."""

from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from charkha.cli.data_tables import when
from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.operations.hindsight.standing import Standing
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.storage.ledger import Decision


def print_standing(
    session: Session, project: "Project", home: "Home", model: str | None, at: str, *, json: bool
) -> None:
    """Print what served the models of a project, or one of them, at a time. Raises BadParameter."""
    from charkha.clock import parse_time
    from charkha.operations.hindsight.standing import standing_at

    try:
        time_us = parse_time(at)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from None
    names = list(project.models) if model is None else [model]
    found = [standing_at(home.ledger, name, time_us) for name in names]
    if json:
        session.print_json([_plain(each) for each in found])
        return
    for each in found:
        _show(session, each)


def _plain(standing: "Standing") -> dict[str, Any]:
    from charkha.clock import to_iso

    posts = [
        {
            "version": post.version,
            "role": post.role,
            "share": post.share,
            "since": to_iso(post.since_us),
            "decision": post.by,
        }
        for post in standing.posts
    ]
    return {
        "model": standing.model,
        "time": to_iso(standing.time_us),
        "generation": standing.generation,
        "serving": posts,
        "killed": standing.killed,
    }


def _show(session: Session, standing: "Standing") -> None:
    from charkha.operations.hindsight.explain import evidence_in_words

    at = when(standing.time_us)
    session.out.print(f"[bold]{escape(standing.model)}[/] at {at}", highlight=False)
    if standing.killed is not None:
        session.out.print(f"  killed      the fallback answered: {_by(standing.killed)}", highlight=False)
    if not standing.posts:
        session.out.print("  nothing was in production", highlight=False)
    for post in standing.posts:
        share = "" if post.role == "shadow" or post.share == 1 else f", {post.share:.3g} of the traffic"
        session.out.print(
            f"  {post.role:<10}  [bold]{escape(post.version)}[/] since {when(post.since_us)}{share}: {_by(post.by)}",
            highlight=False,
        )
        for name, value in evidence_in_words(post.by.evidence):
            session.out.print(f"              [dim]{escape(name)}: {escape(value)}[/]", highlight=False)


def _by(decision: "Decision") -> str:
    return escape(f"decision {decision.sequence} ({decision.action}) by {decision.actor}: {decision.reason}")
