"""`charkha rules show`: what the rules of a version did, and what they and the model each caught."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.incidents import ListUnlessNamed
from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import Session, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.monitoring.rule_report import RuleReport
    from charkha.spec.model import Model
    from charkha.storage.home import Home

EXAMPLES = {
    "show": (
        "charkha rules show",
        "charkha rules likes --since 7d --version v3",
        "charkha rules show likes --json | jq '.rules[] | {name, right_alone, wrong_alone}'",
    )
}


class ShowUnlessNamed(ListUnlessNamed):
    """`charkha rules likes` shows those of likes."""

    word = "show"


def show(
    context: typer.Context,
    *,
    model: ModelName = None,
    since: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Only the predictions of the last so long, such as 7d.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Whose rules; else the champion's and of those beside.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what each rule did: hits, where it and the model agree, and what it alone got right and wrong.

    With it, what the model alone, the rules alone and both decided, caught, missed and cost; and what would have been
    with the rules in shadow. Labels count once they have matured. What a fallback answered is left out. After the
    champion come the versions beside it, such as a set of rules in shadow; the word show may be left out.

    What was logged since the operator's last look is collected first. Servers may run.
    """
    from attrs import asdict

    from charkha.bundles.store import BundleStore
    from charkha.cli.deploy import require_version
    from charkha.cli.status import end_of_replay, now
    from charkha.monitoring.collect import collect
    from charkha.monitoring.outcomes import OutcomeReader
    from charkha.monitoring.rule_report import rule_report

    session = session_of(context)
    project = session.project()
    chosen, length_us = choose_model(project, model), _length_us(since)
    with opened(project) as home:
        if version is not None:
            require_version(home, chosen.name, version)
        bundles, replayed_us = BundleStore(home.bundles), end_of_replay(home)
        manifests = [bundles.manifest(chosen.name, each) for each in ([version] if version else _at_work(home, chosen))]
        collect(home, chosen, bundles)
        now_us = now() if replayed_us is None else replayed_us
        since_us = 0 if length_us is None else max(0, now_us - length_us)
        outcomes = OutcomeReader(home, chosen, ("rules",)).outcomes(since_us, now_us + 1, now_us)
        first, *beside = [rule_report(each, outcomes, now_us - chosen.label.delay_us) for each in manifests]
    if json:
        session.print_json({**asdict(first), "beside": beside})
        return
    for report in (first, *beside):
        print_report(session, report, chosen)


def _length_us(since: str | None) -> int | None:
    from charkha.spec.durations import parse_duration

    try:
        return None if since is None else parse_duration(since)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--since") from None


def _at_work(home: "Home", model: "Model") -> list[str]:
    """Return the champion, then those beside it."""
    deployment = home.ledger.deployment(model.name)
    champion = champion_of(home, model)
    return [champion, *(each.version for each in deployment.assignments if each.version != champion)]


def champion_of(home: "Home", model: "Model") -> str:
    """Return the version that serves. Raises NoChampion."""
    from charkha.serving.service import NoChampion

    champion = home.ledger.deployment(model.name).champion
    if champion is None:
        raise NoChampion(model.name)
    return champion.version


def print_report(session: Session, report: "RuleReport", model: "Model") -> None:
    """Print a report: a table of the rules, one of who decides, and what is missing to say more."""
    labels = f", {report.labels:,} with a label that has matured" if report.predictions else ""
    head = f"[bold]{report.model}[/] {report.version}: {report.predictions:,} predictions{labels}"
    session.out.print(head, highlight=False)
    if report.rules:
        session.out.print(rule_table(report))
    if report.deciders and report.predictions:
        session.out.print(decider_table(report))
    for remark in remarks(report, model):
        session.out.print(f"[dim]{escape(remark)}[/]", highlight=False)


def remarks(report: "RuleReport", model: "Model") -> list[str]:
    """Return why there is not more to say, and what to do."""
    said = []
    if not report.rules:
        said.append(
            f"{report.version} has no rules: declare some, rules=[ck.Rule(…)], and apply them: charkha rules apply"
        )
    if not report.predictions:
        said.append("nothing predicted yet in this time: charkha serve answers, a longer --since looks further back")
    elif not report.deciders:
        said.append("a regression: its values decide nothing, so there is no model to agree with")
    elif not report.labels:
        said.append(f"no label has matured: they count {model.label.delay} after the prediction, once they are known")
    return said


def rule_table(report: "RuleReport") -> Table:
    """Return the rules as a table, in the order declared."""
    table = _table(("rule", "decides"), "hits", "share", "as the model", "otherwise", "labels", "precision")
    for name in ("right", "right alone", "wrong alone"):
        table.add_column(name, justify="right")
    for rule in report.rules:
        how = [*(["by the score"] if rule.by_score else []), *(["in shadow"] if rule.shadow else [])]
        decides = ", ".join(["yes" if rule.decides else "no", *how])
        counts = (rule.right, rule.right_alone, rule.wrong_alone) if rule.labels else (None, None, None)
        table.add_row(
            rule.name,
            decides,
            f"{rule.hits:,}",
            f"{rule.share:.2%}",
            *(_count(number) for number in (rule.same, rule.otherwise, rule.labels)),
            _percent(rule.precision),
            *(_count(number) for number in counts),
        )
    return table


def decider_table(report: "RuleReport") -> Table:
    """Return who decides, or would have, as a table."""
    table = _table(("who decides",), "yes", "caught", "missed", "false alarms", "precision", "recall", "cost")
    for line in report.deciders:
        counts = (line.caught, line.missed, line.false_alarms) if report.labels else (None, None, None)
        table.add_row(
            line.who,
            f"{line.yes:,}",
            *(_count(number) for number in counts),
            _percent(line.precision),
            _percent(line.recall),
            "" if line.cost is None else f"{line.cost:,.6g}",
        )
    return table


def _table(words: tuple[str, ...], *numbers: str) -> Table:
    table = Table(*words, box=None, header_style="dim", pad_edge=False)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
