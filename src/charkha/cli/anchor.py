"""`charkha anchor`: the head of the ledger, kept where whoever could rewrite the ledger cannot reach."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from charkha.cli.options import AsJson
from charkha.cli.session import opened_to_read, session_of

EXAMPLES = {"anchor": ("charkha anchor", "charkha anchor --to /mnt/audit/anchors.jsonl", "charkha anchor --json")}


def anchor(
    context: typer.Context,
    *,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Add a line to this file, in place of what is declared."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Keep where the ledger stands now: number, hash and time of its newest decision, at every declared place.

    Places are declared in the project's settings: anchor = "FILE", anchor_webhook = "https://…", and anchor_every =
    "1d", by which the operator does the same. charkha history --verify holds the ledger to them.

    Exits with 1 when a place could not be told.
    """
    from charkha.clock import SystemClock
    from charkha.operations.anchoring import anchor_now
    from charkha.spec.anchors import AnchorPlaces

    session = session_of(context)
    project = session.project()
    places = project.anchors if to is None else AnchorPlaces(to, None)
    if places is None:
        said = 'expected a place to keep it, found none. Declare one (anchor = "FILE"), or name it: --to FILE'
        raise typer.BadParameter(said, param_hint="--to")
    with opened_to_read(project) as home:
        found = anchor_now(home.ledger, project.name, places, SystemClock().now())
    if json:
        session.print_json(found)
    elif not found:
        session.out.print("no decisions yet: nothing to anchor", highlight=False)
    else:
        for each in found:
            said = f"not told: {each.trouble}" if each.trouble else f"decision {each.anchor.sequence}"
            session.out.print(f"{escape(each.where)}: {escape(said)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1 if any(each.trouble for each in found) else 0)
