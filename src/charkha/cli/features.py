"""`charkha features verify`: was what was served what is recomputed?"""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from charkha.cli.options import AlsoFrom, AsJson, ModelName
from charkha.cli.progress import parts
from charkha.cli.session import Session, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.monitoring.performance import Span
    from charkha.monitoring.skew_tally import FirstDifference, Verification, VerifiedFeature

EXAMPLES = {
    "verify": (
        "charkha features verify",
        "charkha features verify likes --since 2013-08-25 --sample 500",
        "charkha features verify likes --json | jq '.features[].feature'",
    ),
}
BEFORE_ALL, AFTER_ALL = 0, 1 << 62


def verify(
    context: typer.Context,
    *,
    model: ModelName = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only predictions from then on, such as 2013-08-22.")
    ] = None,
    begin: AlsoFrom = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Only predictions before then.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only so many predictions, always the same ones.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Prove that features were served as training would compute them.

    Every prediction in the log is recomputed offline, from the rows that were known at its own time, and compared
    feature by feature. What differs is told with the first prediction that shows it and, where the evidence can tell,
    with the cause and who is to blame: a row that came late or was lost, state that is stale, a definition or code that
    was changed.

    Servers may run meanwhile: what they answer from now on is left out.

    Exits with 1 when a feature differs.
    """
    from charkha.engines.local import LocalEngine
    from charkha.monitoring.verify import Recomputer, verify_log

    session = session_of(context)
    project = session.project()
    chosen, span = choose_model(project, model), _span(since or begin, until)
    with (
        opened(project) as home,
        parts(session.err) as on_progress,
        Recomputer.opened(project, chosen, home, LocalEngine()) as recomputer,
    ):
        found = verify_log(recomputer, span, sample, lambda done, total: on_progress(done, total, "recomputing"))
    if json:
        session.print_json(found_as_plain(found))
    else:
        show_verification(session, found)
    raise typer.Exit(1 if found.skewed else 0)


def _span(since: str | None, until: str | None) -> "Span":
    from charkha.clock import parse_time
    from charkha.monitoring.performance import Span

    times = []
    for option, text, default in (("--since", since, BEFORE_ALL), ("--until", until, AFTER_ALL)):
        try:
            times.append(default if text is None else parse_time(text))
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint=option) from None
    if times[1] <= times[0]:
        raise typer.BadParameter(f"expected a time after --since {since}, got {until}.", param_hint="--until")
    return Span(*times)


def found_as_plain(found: "Verification") -> dict[str, Any]:
    """Return a verification for `--json`."""
    from msgspec import to_builtins

    plain: dict[str, Any] = to_builtins(found)
    return {"agrees": not found.skewed, **plain}


def show_verification(session: Session, found: "Verification") -> None:
    """Print what was found, the features that differ one by one."""
    if not found.predictions:
        session.out.print(f"[bold]{found.model}[/]: no predictions to verify", highlight=False)
        return
    values = sum(feature.compared for feature in found.features)
    session.out.print(
        f"[bold]{found.model}[/]: {found.predictions:,} predictions of {found.since} to {found.until}, "
        f"{values:,} values of {len(found.features)} features recomputed",
        highlight=False,
    )
    for feature in found.skewed:
        _show_feature(session, feature)
    verdict = f"[red]{len(found.skewed)} of {len(found.features)} features differ[/]"
    session.out.print(verdict if found.skewed else "[green]all agree[/]", highlight=False)


def _show_feature(session: Session, feature: "VerifiedFeature") -> None:
    largest = "" if feature.max_difference is None else f", at most by {feature.max_difference:.3g}"
    counted = f"{feature.different:,} of {feature.compared:,} differ{largest}"
    session.out.print(f"[bold]{escape(feature.feature)}[/]  {counted}", highlight=False)
    first: FirstDifference | None = feature.first
    if first is None:
        return
    keys = ", ".join(f"{name} {value!r}" for name, value in first.keys.items())
    lines = [f"first {first.time}  {keys}", f"served {first.served!r}, recomputed {first.recomputed!r}"]
    lines.append(f"prediction {first.id}, {first.version} as {first.role}")
    if first.cause is not None:
        lines.append(f"{first.cause.kind.replace('_', ' ')}, {first.cause.culprit}: {first.cause.reason}")
    for line in lines:
        session.out.print(f"   {escape(line)}", highlight=False)
