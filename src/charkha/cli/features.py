"""`charkha features verify`: was what was served what is recomputed?"""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from charkha.cli.options import AlsoFrom, AsJson, ModelName
from charkha.cli.progress import parts, stoppable
from charkha.cli.session import Session, choose_model, opened_to_read, session_of

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
        stoppable(session.err, "nothing was changed; --sample N is quicker"),
        opened_to_read(project) as home,
        parts(session.err) as on_progress,
        Recomputer.opened(project, chosen, home, LocalEngine()) as recomputer,
    ):
        found = verify_log(recomputer, span, sample, lambda done, total: on_progress(done, total, "recomputing"))
    if json:
        session.print_json(found_as_plain(found))
    else:
        show_verification(session, found, span)
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


def show_verification(session: Session, found: "Verification", span: "Span") -> None:
    """Print what was found: the features that differ, those of one cause together."""
    if not found.predictions:
        session.out.print(f"[bold]{found.model}[/]: nothing was served {_span_in_words(span)}", highlight=False)
        return
    values = sum(feature.compared for feature in found.features)
    session.out.print(
        f"[bold]{found.model}[/]: {found.predictions:,} predictions of {found.since} to {found.until}, "
        f"{values:,} values of {len(found.features)} features recomputed",
        highlight=False,
    )
    by_cause: dict[tuple[str, str] | None, list[VerifiedFeature]] = {}
    for feature in found.skewed:
        by_cause.setdefault(_cause_of(feature), []).append(feature)
    for features in by_cause.values():
        _show_features(session, features)
    verdict = f"[red]{len(found.skewed)} of {len(found.features)} features differ[/]"
    session.out.print(verdict if found.skewed else "[green]all agree[/]", highlight=False)


def _span_in_words(span: "Span") -> str:
    from charkha.clock import to_iso

    since = "" if span.since_us == BEFORE_ALL else f"from {to_iso(span.since_us)} on"
    until = "" if span.until_us == AFTER_ALL else f"before {to_iso(span.until_us)}"
    return " and ".join(filter(None, (since, until))) or "yet"


def _cause_of(feature: "VerifiedFeature") -> tuple[str, str] | None:
    """Return what features are put together by: their cause, be its culprit each of them."""
    cause = feature.first.cause if feature.first else None
    return None if cause is None else (cause.kind, "" if cause.culprit == feature.feature else cause.culprit)


def _show_features(session: Session, features: "list[VerifiedFeature]") -> None:
    """Print features of one cause: the cause as the first of them shows it, then a line for each."""
    first: FirstDifference | None = features[0].first
    if first is not None:
        keys = ", ".join(f"{name} {value!r}" for name, value in first.keys.items())
        cause = "not looked for: too many differ"
        if first.cause is not None:
            cause = f"{first.cause.kind.replace('_', ' ')}, {first.cause.culprit}: {first.cause.reason}"
        session.out.print(f"[bold]{escape(cause)}[/]", highlight=False)
        session.out.print(f"   first {escape(first.time)}  {escape(keys)}", highlight=False)
        session.out.print(f"   prediction {first.id}, {first.version} as {first.role}", highlight=False)
    for feature in features:
        session.out.print(f"   {escape(_in_a_line(feature))}", highlight=False)


def _in_a_line(feature: "VerifiedFeature") -> str:
    largest = "" if feature.max_difference is None else f", at most by {_size_in_words(feature)}"
    first: FirstDifference | None = feature.first
    values = "" if first is None else f": served {first.served!r}, recomputed {first.recomputed!r}"
    return f"{feature.feature}  {feature.different:,} of {feature.compared:,} differ{largest}{values}"


def _size_in_words(feature: "VerifiedFeature") -> str:
    """Return the largest difference: of what must agree to the bit as it is, else as a part of what was added up."""
    largest = feature.max_difference or 0.0
    if feature.exact:
        return f"{largest:.3g}"
    return f"{largest:.2%}" if largest >= 0.001 else f"{largest:.2g} of its size"
