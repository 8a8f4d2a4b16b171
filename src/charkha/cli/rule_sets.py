"""`charkha rules apply`: other rules for a version, without training it."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from charkha.cli.deploy import BreakGlass, announce, in_words, require_version
from charkha.cli.options import AsJson
from charkha.cli.rules import champion_of
from charkha.cli.session import Session, choose_model, opened, person, session_of

if TYPE_CHECKING:
    from charkha.monitoring.rule_change import Redecided, RuleDifference
    from charkha.spec.model import Model
    from charkha.storage.home import Home
    from charkha.storage.ledger import Role

EXAMPLES = {
    "apply": (
        "charkha rules apply likes --dry-run",
        'charkha rules apply likes --reason "the sale is over"',
        'charkha rules apply likes --role shadow --reason "to see what they would catch"',
    )
}


def apply(
    context: typer.Context,
    *,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Which model.")],
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Whose trees, threshold and all else; the champion's if none.")
    ] = None,
    role: Annotated[
        str,
        typer.Option("--role", metavar="ROLE", help="What the new version becomes: champion, challenger or shadow."),
    ] = "champion",
    share: Annotated[
        float | None,
        typer.Option("--share", metavar="SHARE", help="A challenger's share of the entities: above 0, below 1."),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", "-m", callback=in_words, metavar="TEXT", help="Why; kept in the ledger for ever."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also on a version whose gates failed.")] = False,
    break_glass: BreakGlass = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be otherwise.")] = False,
    json: AsJson = False,
) -> None:
    """Give a version the rules of the definition as it is now, without training: a version of its own.

    Trees, calibration, threshold and features stay what they are, to the bit. The new version takes the champion's
    place, or is put beside it; every server follows within a quarter of a second, without a failed request, and
    charkha rollback goes back.

    With --dry-run nothing is changed: it tells which rules are added, removed and changed, and what of the last
    predictions would have been decided otherwise.
    """
    session = session_of(context)
    given = _role(role, share)
    if reason is None and not dry_run:
        raise typer.BadParameter('expected why, for the ledger: --reason "…"; or --dry-run', param_hint="--reason")
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        if version is not None:
            require_version(home, chosen.name, version)
        origin = version or champion_of(home, chosen)
        if dry_run:
            _tell(session, home, chosen, origin, json=json)
        else:
            _carry_out(session, home, chosen, origin, (given, share, reason or "", force, break_glass), json=json)


def _role(role: str, share: float | None) -> "Role":
    if role not in ("champion", "challenger", "shadow"):
        raise typer.BadParameter(f"expected champion, challenger or shadow, got {role!r}.", param_hint="--role")
    if (role == "challenger") != (share is not None):
        raise typer.BadParameter("expected the share of a challenger, and none of another role.", param_hint="--share")
    return role  # type: ignore[return-value]  # one of the three


def _carry_out(
    session: Session,
    home: "Home",
    model: "Model",
    origin: str,
    wished: "tuple[Role, float | None, str, bool, bool]",
    *,
    json: bool,
) -> None:
    from charkha.clock import SystemClock
    from charkha.operations.rule_sets import Wish, apply_rules

    role, share, reason, force, break_glass = wished
    answers = 1.0 if share is None else share
    wish = Wish(actor=person(), reason=reason, role=role, share=answers, force=force, break_glass=break_glass)
    applied = apply_rules(home, SystemClock(), model, origin, wish)
    said = f"{applied.version}, {origin} with the rules of the definition, is the {role} of {model.name}"
    announce(
        session, applied.decision, said if role == "champion" else said.replace("the " + role, "a " + role), json=json
    )


def _tell(session: Session, home: "Home", model: "Model", origin: str, *, json: bool) -> None:
    from charkha.bundles.store import BundleStore
    from charkha.monitoring.collect import collect
    from charkha.monitoring.rule_change import difference, last_predictions, redecided
    from charkha.operations.rule_sets import rule_types, tried, with_rules
    from charkha.serving.lineup import usable_bundle

    bundles = BundleStore(home.bundles)
    old = usable_bundle(model, origin, bundles)
    manifest = with_rules(model, old, person())
    collect(home, model, bundles)
    rows = last_predictions(home, model.name, origin)
    found = redecided(old, tried(old, manifest), rule_types(old.plan), rows)
    changes = difference(old.manifest.rules, manifest.rules)
    if json:
        session.print_json({"model": model.name, "version": origin, "rules": changes, "decided": found})
        return
    session.out.print(f"[bold]{model.name}[/] {origin} with the rules of the definition", highlight=False)
    for line in (*difference_in_words(changes), *redecided_in_words(found)):
        session.out.print(escape(line), highlight=False)


def difference_in_words(changes: "RuleDifference") -> list[str]:
    """Return how the rules differ, a line for each kind of change."""
    kinds = {"added": changes.added, "removed": changes.removed, "changed": changes.changed}
    lines = [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]
    return [*lines, *(["the others in another order"] if changes.moved else [])]


def redecided_in_words(found: "Redecided") -> list[str]:
    """Return what would have been decided otherwise."""
    if not found.predictions and not found.unlike:
        return ["nothing predicted yet whose features were logged: what would be decided otherwise cannot be said"]
    other = found.to_yes + found.to_no
    lines = [
        f"of its last {found.predictions:,} predictions {other:,} would have been decided otherwise: "
        f"{found.to_yes:,} yes instead of no, {found.to_no:,} no instead of yes"
    ]
    lines += [f"  {name} would have held on {hits:,}" for name, hits in found.hits.items()]
    if found.ids:
        lines.append(f"the newest of them: {', '.join(found.ids)}")
    if found.unlike:
        lines.append(f"{found.unlike:,} more are left out: what was logged of them does not give the rules that held")
    return lines
