"""`charkha drill`: which incidents would be found, how fast, under which name, and how small they may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charkha.cli.diagnose import question_of
from charkha.cli.options import AsJson, HealthyBefore, ModelName, Recomputed
from charkha.cli.pages import require_folder, write_page
from charkha.cli.progress import parts, stoppable
from charkha.cli.session import choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.operations.drills.drilled import Drilled, Power
    from charkha.operations.drills.incident import Incident
    from charkha.spec.project import Project

EXAMPLES = {
    "drill": (
        "charkha drill",
        "charkha drill likes --kind unit_change --kind null_flood --seed 1 --seed 2",
        "charkha drill likes --kind unit_change+latency --kind marketing_burst+stale_store",
        "charkha drill likes --quick --window 14d --until 2013-09-01 --html drills.html",
        "charkha drill likes --quick --json | jq '.drills[] | select(.survived | not)'",
    )
}
NOTHING_TOLD, NOT_SURVIVED = 1, 3


def drill(
    context: typer.Context,
    *,
    model: ModelName = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="Such as unit_change; may be repeated. Two at once: a+b. All there are unless given."
        ),
    ] = None,
    window: Annotated[
        str, typer.Option(metavar="DURATION", help="How much of the traffic is drilled in, up to its end.")
    ] = "7d",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Drill in traffic that ends then: a time when all was well.")
    ] = None,
    healthy: HealthyBefore = "28d",
    sample: Recomputed = 2_000,
    seed: Annotated[
        list[int] | None,
        typer.Option(min=0, metavar="NUMBER", help="Chooses what is hit, and when; may be repeated. 1 unless given."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not look for the smallest size that would be seen.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write it as one HTML file, with a plot.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Put incidents into what a model served of late, and see what the diagnosis would make of them.

    A unit that changed, a store gone stale, a replica with the wrong artifact, labels that stay out, a holiday: each is
    put into a copy of the recorded traffic, which is then looked at every hour. The table tells whether it would be
    found within its stated window, after how long, under which name, and the smallest size that would be seen.

    No incident is recorded, and servers may run. It needs predictions of at least a week before the window, and a time
    in which all was well. The kinds are those of docs/drills.md, and what the definition declares with @ck.incident;
    two joined by + are put in at once.

    Exits with 0 when all that could be told went as it should; with 3 when a harmful incident would be missed, found
    too late or under another cause, or a harmless one reported; with 1 when nothing could be told.
    """
    from charkha.engines.local import LocalEngine
    from charkha.operations.drills.own_traffic import drill_case
    from charkha.operations.drills.power import drill as drill_in

    session = session_of(context)
    project = session.project()
    require_folder("--html", html)
    chosen, kinds = choose_model(project, model), kinds_of(project, kind or [])
    remains = "nothing was changed; --quick and fewer --kind are quicker"
    with opened(project) as home, stoppable(session.err, remains), parts(session.err) as on_progress:
        question = question_of(home, window=window, since=None, until=until, healthy=healthy, sample=sample)
        case = drill_case(
            project, chosen, home, question, engine=LocalEngine(), on_step=lambda text: on_progress(0, 0, text)
        )
        power = drill_in(case, kinds, list(dict.fromkeys(seed or [1])), sizes=not quick, on_progress=on_progress)
    if json:
        session.print_json(plain(power))
    else:
        from charkha.cli.drill_text import show_power

        show_power(session, power, sizes=not quick)
    if html is not None:
        from charkha.web.drill_page import render_drills

        write_page(html, lambda: render_drills(power))
        if not json:
            session.out.print(f"page: {html}", highlight=False, soft_wrap=True)
    if not power.judged:
        raise typer.Exit(NOTHING_TOLD)
    raise typer.Exit(0 if len(power.survived) == len(power.judged) else NOT_SURVIVED)


def kinds_of(project: "Project", names: list[str]) -> "list[Incident]":
    """Return the kinds of some names, each once; all there are when none is named. Raises BadParameter."""
    from charkha.operations.drills.declared import with_declared
    from charkha.operations.drills.pairs import kind_of
    from charkha.spec.checks.values import way_to
    from charkha.spec.drills import PAIR

    known: Mapping[str, Incident] = with_declared(project.incidents.values())
    for name in (part for each in names for part in each.split(PAIR, 1)):
        if name not in known:
            remedy = way_to(name, sorted(known), "Kinds")
            raise typer.BadParameter(
                f"expected a kind of incident, got {name!r}. {remedy} docs/drills.md says what each does.",
                param_hint="--kind",
            )
    return [kind_of(name, known) for name in dict.fromkeys(names or sorted(known))]


def plain(power: "Power") -> dict[str, Any]:
    """Return what drills showed for `--json`."""
    from charkha.clock import to_iso

    return {
        "model": power.model,
        "healthy": [to_iso(power.healthy.since_us), to_iso(power.healthy.until_us)],
        "watched": [to_iso(power.watched.since_us), to_iso(power.watched.until_us)],
        "predictions": power.predictions,
        "judged": len(power.judged),
        "survived": len(power.survived),
        "verdicts": power.counts,
        "drills": [_plain_drill(each) for each in power.drilled],
    }


def _plain_drill(drilled: "Drilled") -> dict[str, Any]:
    from charkha.clock import to_iso

    found = drilled.found
    times = {"began": drilled.since_us, "deadline": drilled.deadline_us, "seen": drilled.seen_us}
    return {
        "kind": drilled.kind,
        "cause": drilled.cause,
        "subject": drilled.subject,
        "size": drilled.size,
        "unit": drilled.unit,
        "seed": drilled.seed,
        "harmful": drilled.harmful,
        "verdict": drilled.verdict,
        "survived": drilled.survived,
        **{word: None if time_us is None else to_iso(time_us) for word, time_us in times.items()},
        "seconds": None if drilled.delay_us is None else drilled.delay_us / 1e6,
        "found": None
        if found is None
        else {"cause": found.cause, "kind": found.kind, "culprit": found.culprit, "action": found.remedy.action},
        "right_culprit": drilled.right_culprit,
        "smallest": drilled.smallest,
        "reason": drilled.reason,
    }
