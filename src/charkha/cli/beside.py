"""`charkha deploy` and `withdraw`: who answers or scores beside the champion, decided by a person."""

from typing import Annotated

import typer

from charkha.cli.deploy import Reason, announce, require_version
from charkha.cli.options import AsJson
from charkha.cli.session import choose_model, opened, person, session_of

EXAMPLES = {
    "deploy": (
        'charkha deploy likes v3 --role challenger --share 0.1 --reason "a tenth of the users, for a week"',
        'charkha deploy likes v3 --role challenger --share 0.3 --reason "no complaints so far"',
        'charkha deploy likes v4 --role shadow --reason "to see its scores beside ours"',
    ),
    "withdraw": ('charkha withdraw likes v3 --reason "it is slow in the evening"',),
}


def deploy(
    context: typer.Context,
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Which model.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version beside the champion, such as v3.")],
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="challenger answers a share; shadow scores all, unseen.")
    ],
    share: Annotated[
        float | None,
        typer.Option("--share", metavar="SHARE", help="A challenger's share of the entities: above 0, below 1."),
    ] = None,
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Also a version whose gates failed.")] = False,
    json: AsJson = False,
) -> None:
    """Put a version beside the champion: as a challenger with a share of the entities, or as a shadow.

    Called again, it changes the share or the role. An entity meets one version: a larger share moves entities to the
    challenger, and none away from it. The champion answers what the challengers leave, so their shares add up to less
    than 1. Every server follows within a quarter of a second, without a failed request.

    charkha withdraw takes it out again; charkha promote makes it the champion.
    """
    from charkha.clock import SystemClock
    from charkha.operations.beside import deploy_beside, shares_of
    from charkha.storage.ledger import Assignment

    if role not in ("challenger", "shadow"):
        said = f"expected challenger or shadow, got {role!r}. To make it the champion: charkha promote"
        raise typer.BadParameter(said, param_hint="--role")
    if (role == "challenger") != (share is not None):
        said = "expected the share of a challenger, and none of a shadow, which sees all requests."
        raise typer.BadParameter(said, param_hint="--share")
    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    given = Assignment(version, "challenger" if role == "challenger" else "shadow", 1.0 if share is None else share)
    with opened(project) as home:
        require_version(home, chosen.name, version)
        decision = deploy_beside(home, SystemClock(), chosen, given, actor=person(), reason=reason, force=force)
        shares = shares_of(home.ledger.deployment(chosen.name).assignments)
    announce(session, decision, f"{version} is a {role} of {chosen.name}: {shares_in_words(shares)}", json=json)


def withdraw(
    context: typer.Context,
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Which model.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The challenger or shadow, such as v3.")],
    reason: Reason,
    json: AsJson = False,
) -> None:
    """Take a challenger or a shadow out, now: the champion answers its entities again.

    The operator does not put it back; a person may, with charkha deploy.
    """
    from charkha.clock import SystemClock
    from charkha.operations.beside import shares_of
    from charkha.operations.beside import withdraw as take_out

    session = session_of(context)
    project = session.project()
    name = choose_model(project, model).name
    with opened(project) as home:
        decision = take_out(home, SystemClock(), name, version, actor=person(), reason=reason)
        shares = shares_of(home.ledger.deployment(name).assignments)
    announce(session, decision, f"{version} is withdrawn from {name}: {shares_in_words(shares)}", json=json)


def shares_in_words(shares: dict[str, float]) -> str:
    """Return who answers how much, such as "v1 answers 90%, v3 10%"."""
    (first, its), *others = shares.items()
    return ", ".join([f"{first} answers {_percent(its)}", *(f"{version} {_percent(each)}" for version, each in others)])


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"
