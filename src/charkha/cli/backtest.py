"""`charkha backtest`: policies of retraining and windows of training, tried on the past before one is chosen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkha.cli.options import AlsoFrom, AsJson, ModelName
from charkha.cli.pages import require_folder, write_page
from charkha.cli.progress import parts, stoppable
from charkha.cli.session import Session, choose_model, opened_to_read, session_of

if TYPE_CHECKING:
    from charkha.monitoring.performance import Span
    from charkha.operations.backtest.history import History
    from charkha.operations.backtest.policies import Variant
    from charkha.operations.backtest.results import Backtest
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.log import Log

EXAMPLES = {
    "backtest": (
        "charkha backtest likes",
        "charkha backtest likes --policy never,every:3d,on_diagnosis --since 2013-08-20 --html backtest.html",
        "charkha backtest likes --policy weekly --window all,10d,decay:5d",
        "charkha backtest likes --policy never,on_diagnosis --incident null_flood,unit_change",
        "charkha backtest likes --json | jq '.tried[] | [.policy, .overall, (.retrainings | length)]'",
    )
}
POLICIES = "never,weekly,monthly,on_diagnosis"


def backtest(
    context: typer.Context,
    *,
    model: ModelName = None,
    policy: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="never, daily, weekly, monthly, every:14d, update:1d, on_fall, on_diagnosis, declared.",
        ),
    ] = POLICIES,
    window: Annotated[
        str | None,
        typer.Option(metavar="WINDOWS", help="Also all, 90d, decay:90d, …: what is trained on. [default: the model's]"),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="When the first champion is trained. [default: a third in]")
    ] = None,
    begin: AlsoFrom = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="When it ends. [default: with the labels]")] = None,
    look_every: Annotated[
        str, typer.Option(metavar="DURATION", help="How far looks for incidents are apart, of policies that look.")
    ] = "1d",
    incident: Annotated[
        str | None,
        typer.Option(metavar="KINDS", help="Put incidents of drills into the past: kinds of docs/drills.md, or data."),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="AMOUNT", help="What an hour of a processor costs. [default: ck.Retrain(inr_per_cpu_hour=…)]"
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write it as one HTML file, with plots.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Replay the past under several policies of retraining, and show what each would have given and cost.

    All live through the same past, a day at a time, and know what was known: labels come after their delay, a
    candidate has to pass the model's gates beside the champion of its time, and what is served after is measured on the
    labels that came. The table shows the metric of each month, the retrainings, what they cost, and the incidents that
    were found; the best metric, and the policy that gives 99 % of it with the fewest retrainings.

    weekly, monthly and every:14d follow the calendar. update:1d trains nothing anew: it lets the champion go on
    learning. on_fall retrains when the metric has fallen. on_diagnosis has
    the operator's own look for incidents as well: it retrains where newer rows help, and not on rows that are broken.
    declared is what the definition says. --window tries each policy on all rows, on those of so long, or with weights
    that halve with their age: ck.Retrain(window="90d"), ck.Retrain(half_life="90d").

    --incident puts incidents into the past, one after the other: one that harms data must not be answered by training.
    Nothing is recorded or deployed, and servers may run. It takes minutes, most of them for the trainings.
    """
    from charkha.engines.local import LocalEngine
    from charkha.operations.backtest.backtest import Terms
    from charkha.operations.backtest.backtest import backtest as run_backtest
    from charkha.operations.backtest.history import opened_history

    session = session_of(context)
    project = session.project()
    require_folder("--html", html)
    chosen = choose_model(project, model)
    variants = variants_in(chosen, policy, window)
    look_us = duration_us("--look-every", look_every)
    with (
        opened_to_read(project) as home,
        stoppable(session.err, "nothing was changed; fewer policies and a shorter time are quicker"),
        parts(session.err, lines=True) as on_progress,
    ):
        span = span_of(project, chosen, since or begin, until, home.log)
        on_progress(0, 0, "reading the past")
        opening = opened_history(
            project, chosen, home.log, span, engine=LocalEngine(), on_step=lambda text: on_progress(0, 0, text)
        )
        with opening as past:
            history, put_in = with_incidents(past, incident, span)
            terms = Terms(
                variants=variants,
                span=span,
                look_every_us=look_us,
                price=chosen.priced_retrain.inr_per_cpu_hour if price is None else price,
                put_in=put_in,
            )
            shown = run_backtest(project.name, history, terms, on_progress)
    write(session, shown, html, json=json)


def variants_in(model: "Model", policy: str, window: str | None) -> "list[Variant]":
    """Return the variants that were asked for. Raises BadParameter."""
    from charkha.operations.backtest.policies import UnknownPolicy, variants_of

    try:
        return variants_of(model, words(policy), words(window or ""))
    except UnknownPolicy as error:
        raise typer.BadParameter(str(error)) from None


def words(text: str) -> list[str]:
    """Return what stands between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def duration_us(option: str, text: str) -> int:
    """Return a duration of a day or more (µs). Raises BadParameter."""
    from charkha.spec.durations import DAY_US, parse_duration

    try:
        length_us = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint=option) from None
    if length_us < DAY_US:
        raise typer.BadParameter(f"expected a day or more, got {text!r}: a backtest goes by days.", param_hint=option)
    return length_us


def span_of(project: "Project", model: "Model", since: str | None, until: str | None, log: "Log") -> "Span":
    """Return the time to live through, in whole days; from a third of the history to its end unless it is said.

    Raises BadParameter.
    """
    from charkha.cli.replay import period_of
    from charkha.monitoring.performance import Span
    from charkha.spec.durations import DAY_US

    whole = period_of(project, model, "1970-01-01" if until and since else None, until, log)
    if since is None:
        from charkha.cli.replay import history_of

        first_us, last_us = history_of(project, model, log)
        since_us = first_us + (min(last_us, whole.until_us) - first_us) // 3
    else:
        since_us = period_of(project, model, since, until, log).from_us
    since_us = -(-since_us // DAY_US) * DAY_US
    if since_us >= whole.until_us:
        raise typer.BadParameter("expected a time before the end of the backtest.", param_hint="--since")
    return Span(since_us, whole.until_us)


def with_incidents(history: "History", incident: str | None, span: "Span") -> "tuple[History, tuple[str, ...]]":
    """Return a past with incidents of some kinds in it, and these in words. Raises BadParameter."""
    from charkha.operations.backtest.faults import DATA_FAULTS, Misfit, fault_in_words, planned, put_in

    if incident is None:
        return history, ()
    kinds = [kind for word in words(incident) for kind in (DATA_FAULTS if word == "data" else (word,))]
    try:
        faults = planned(history, kinds, span)
        return put_in(history, faults, span), tuple(map(fault_in_words, faults))
    except Misfit as error:
        raise typer.BadParameter(str(error), param_hint="--incident") from None


def write(session: Session, shown: "Backtest", html: Path | None, *, json: bool) -> None:
    """Show a backtest, as a table or as JSON, and write its page."""
    if json:
        session.print_json(shown)
    else:
        from charkha.cli.backtest_text import show_backtest

        show_backtest(session, shown)
    if html is None:
        return
    from charkha.web.backtest_page import render_backtest

    write_page(html, lambda: render_backtest(shown))
    if not json:
        session.out.print(f"page: {html}", highlight=False, soft_wrap=True)
