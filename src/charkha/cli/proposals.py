"""`charkha proposals`: what waits for a person, and a person's answer."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.data_tables import when
from charkha.cli.deploy import Reason, announce
from charkha.cli.incidents import ListUnlessNamed
from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import choose_model, opened, opened_to_read, person, session_of

if TYPE_CHECKING:
    from charkha.operations.approvals import Proposal

EXAMPLES = {
    "list_proposals": ("charkha proposals list", "charkha proposals likes --all --json"),
    "approve": (
        'charkha proposals approve likes --reason "seen with the film team"',
        'charkha proposals approve likes --step likes/promote/v3/7 --reason "as agreed on Monday"',
    ),
    "decline": ('charkha proposals decline likes --reason "not before the sale is over"',),
}
StepKey = Annotated[
    str | None,
    typer.Option("--step", metavar="KEY", help="Which proposal, as charkha proposals lists it; not needed for one."),
]


def list_proposals(
    context: typer.Context,
    *,
    model: ModelName = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were answered, or have lapsed.")] = False,
    json: AsJson = False,
) -> None:
    """List the steps that the operator proposes and that wait for a person.

    The word list may be left out: charkha proposals MODEL.
    """
    from charkha.operations.answering import open_proposals
    from charkha.operations.approvals import proposals_of

    session = session_of(context)
    project = session.project()
    names = list(project.models) if model is None else [choose_model(project, model).name]
    with opened_to_read(project) as home:
        found = [
            proposal
            for name in names
            for proposal in (
                proposals_of(home.ledger.decisions(name)).values() if every else open_proposals(home, name)
            )
        ]
    if json:
        session.print_json(found)
    elif not found:
        session.out.print("no proposals" if every else "no proposal waits", highlight=False)
    else:
        session.out.print(proposal_table(found))


def approve(
    context: typer.Context,
    *,
    model: ModelName = None,
    step: StepKey = None,
    reason: Reason,
    json: AsJson = False,
) -> None:
    """Let a proposed step be done.

    The operator does it at its next look, if it would still propose it then: an approval is not an order. Where two
    persons have to agree, whoever made what is to be approved cannot approve it.
    """
    from charkha.clock import SystemClock
    from charkha.operations.answering import approve as approve_step

    session = session_of(context)
    project = session.project()
    name = choose_model(project, model).name
    with opened(project) as home:
        decision = approve_step(home, SystemClock(), name, step, actor=person(), reason=reason)
    said = f"approved: {decision.evidence['proposes']}. The operator does it at its next look, if it still holds"
    announce(session, decision, said, json=json)


def decline(
    context: typer.Context,
    *,
    model: ModelName = None,
    step: StepKey = None,
    reason: Reason,
    json: AsJson = False,
) -> None:
    """Let a proposed step not be done; it is not proposed again."""
    from charkha.clock import SystemClock
    from charkha.operations.answering import decline as decline_step

    session = session_of(context)
    project = session.project()
    name = choose_model(project, model).name
    with opened(project) as home:
        decision = decline_step(home, SystemClock(), name, step, actor=person(), reason=reason)
    announce(session, decision, f"declined: {decision.evidence['proposes']}", json=json)


COMMANDS: dict[str, Callable[..., None]] = {"list": list_proposals, "approve": approve, "decline": decline}
GROUP = ListUnlessNamed


def proposal_table(found: "list[Proposal]") -> Table:
    """Return proposals as a table."""
    table = Table("step", "since", "state", "what, and why", box=None, header_style="dim", pad_edge=False)
    for each in found:
        state = each.answer if each.by is None else f"{each.answer} by {each.by}: {each.why}"
        told = (each.key.removesuffix("/proposed"), when(each.proposed_us), state, each.reason)
        table.add_row(*map(escape, told))
    return table
