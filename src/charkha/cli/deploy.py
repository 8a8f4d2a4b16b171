"""`charkha promote`, `rollback`, `kill` and `revive`: who answers, decided by a person."""

from typing import TYPE_CHECKING, Annotated

import typer

from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import Session, choose_model, opened, person, session_of

if TYPE_CHECKING:
    from charkha.storage.home import Home
    from charkha.storage.ledger import Decision

EXAMPLES = {
    "promote": (
        'charkha promote likes v3 --reason "the shadow agrees, and the sale begins tonight"',
        'charkha promote likes v4 --break-glass --reason "nobody else is awake, and v3 answers nonsense"',
        'charkha promote likes v4 --force --reason "v3 answers nonsense for new films"',
    ),
    "rollback": ('charkha rollback likes --reason "complaints since noon"',),
    "kill": ('charkha kill likes --reason "it recommends withdrawn films"',),
    "revive": ('charkha revive likes --reason "the catalogue is right again"',),
}


def in_words(reason: str | None) -> str | None:
    """Return a reason as it was given. Raises BadParameter for one that says nothing: the ledger keeps it for ever."""
    if reason is not None and not reason.strip():
        raise typer.BadParameter('expected a reason in words, got none. Say why: --reason "…"', param_hint="--reason")
    return reason


REASON = typer.Option(
    "--reason", "-m", callback=in_words, metavar="TEXT", help="Why; kept in the ledger, with your user name."
)
Reason = Annotated[str, REASON]
BreakGlass = Annotated[
    bool,
    typer.Option("--break-glass", help="Although you made it and two persons have to agree; the ledger tells of it."),
]


def promote(
    context: typer.Context,
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Which model.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version that is to serve, such as v3.")],
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Also a version whose gates failed.")] = False,
    break_glass: BreakGlass = False,
    json: AsJson = False,
) -> None:
    """Make a version the champion, now.

    Every server swaps it in within a quarter of a second, without a failed request. The former champion stays on disk:
    charkha rollback goes back to it.

    Where two persons have to agree (ck.approval()), whoever made the version cannot, but with --break-glass.
    """
    from charkha.clock import SystemClock
    from charkha.operations.two_persons import promote_by_hand

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        require_version(home, chosen.name, version)
        decision = promote_by_hand(
            home,
            SystemClock(),
            chosen,
            version,
            actor=person(),
            reason=reason,
            force=force,
            break_glass=break_glass,
        )
    announce(session, decision, f"{version} is the champion of {chosen.name}", json=json)


def rollback(
    context: typer.Context,
    *,
    reason: Reason,
    model: ModelName = None,
    json: AsJson = False,
) -> None:
    """Go back to the champion before the present one.

    One change of a pointer: every server has swapped within a quarter of a second, without a failed request. Rolling
    back twice goes back two champions.
    """
    from charkha.clock import SystemClock
    from charkha.operations.deploy import rollback as roll_back

    session = session_of(context)
    project = session.project()
    name = choose_model(project, model).name
    with opened(project) as home:
        decision = roll_back(home, SystemClock(), name, actor=person(), reason=reason)
        champion = home.ledger.deployment(name).champion
    announce(
        session, decision, f"{champion.version if champion else 'none'} is the champion of {name} again", json=json
    )


def kill(
    context: typer.Context,
    *,
    reason: Reason,
    model: ModelName = None,
    json: AsJson = False,
) -> None:
    """Put a model on its fallback, now: the kill switch.

    Every server follows within a quarter of a second, whichever versions it serves, and stays so over restarts and
    promotions until charkha revive. Rules that hold go on deciding. A model that declares no fallback is refused
    (503).
    """
    from charkha.clock import SystemClock
    from charkha.operations.kill import kill as put_on_fallback

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        decision = put_on_fallback(home, SystemClock(), chosen.name, actor=person(), reason=reason)
    declared = "the fallback answers, where the definition that serves has it"
    instead = declared if chosen.fallback else "calls are refused: it declares no fallback"
    announce(session, decision, f"{chosen.name} is killed, {instead}", json=json)


def revive(
    context: typer.Context,
    *,
    reason: Reason,
    model: ModelName = None,
    json: AsJson = False,
) -> None:
    """Let a model that was killed answer again, now."""
    from charkha.clock import SystemClock
    from charkha.operations.kill import revive as let_answer

    session = session_of(context)
    project = session.project()
    name = choose_model(project, model).name
    with opened(project) as home:
        decision = let_answer(home, SystemClock(), name, actor=person(), reason=reason)
    announce(session, decision, f"{name} answers again", json=json)


def require_version(home: "Home", model: str, version: str) -> None:
    """Raise BadParameter for a version that was never trained."""
    known = [row.version for row in home.ledger.versions(model)]
    if version not in known:
        all_of = ", ".join(known) or "none yet: charkha train"
        raise typer.BadParameter(f"expected a version of {model!r} ({all_of}), got {version!r}.", param_hint="VERSION")


def announce(session: Session, decision: "Decision", text: str, *, json: bool) -> None:
    """Print what was decided."""
    if json:
        session.print_json(decision)
    else:
        session.out.print(f"{text} (decision {decision.sequence})", highlight=False)
