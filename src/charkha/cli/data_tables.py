"""What `charkha data` prints: rules that are broken, what is in quarantine, one batch of it."""

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.features.data_check import BatchCheck
    from charkha.spec.project import Project
    from charkha.spec.sources import Source
    from charkha.storage.home import Home

SHOWN_ROWS = 5


def as_plain(check: "BatchCheck") -> dict[str, Any]:
    """Return what was found of a batch for `--json`."""
    from charkha.features.quarantine import plain_of

    plain = {"source": check.source, "batch": check.batch, "rows": check.rows, "mark": check.mark}
    return {
        **plain,
        "ok": not check.fails,
        "violations": plain_of(check.violations),
        "problem": check.problem,
        "unknown": check.unknown,
    }


def show_checks(session: Session, sources: "list[Source]", found: "list[BatchCheck]") -> None:
    """Print every rule that is broken, what cannot be read, and what can be done."""
    for each in found:
        if each.problem:
            session.out.print(escape(_told(each)), highlight=False, soft_wrap=True)
    broken = [(each, violation) for each in found for violation in each.violations]
    if broken:
        table = Table("batch", "rule", "rows", "share", "example", box=None, header_style="dim", pad_edge=False)
        for each, violation in broken:
            named = f"{each.source}@{each.batch}" + (f" ({each.mark})" if each.mark else "")
            of_rows = violation.kind not in ("max_age", "rows_per_day")
            figures = (f"{violation.rows:,}", f"{violation.share:.2%}") if of_rows else ("", "")
            table.add_row(escape(named), escape(violation.rule), *figures, escape(violation.found))
        session.out.print(table)
    for each in found:
        if each.unknown and each.mark != "aside":
            rows = f"{each.unknown:,} row{'' if each.unknown == 1 else 's'} without a time"
            said = f"{each.source}@{each.batch}: {rows}, in no feature. ck.Expect(nulls=0) in its contract refuses them"
            session.out.print(f"[yellow]{escape(said)}[/]", highlight=False, soft_wrap=True)
    bound = [source.name for source in sources if source.contract is not None]
    free = [source.name for source in sources if source.contract is None]
    if free:
        session.out.print(f"no contract: {', '.join(free)}; make one: charkha data suggest {free[0]}", highlight=False)
    failing = {f"{each.source}@{each.batch}": None for each in found if each.fails}
    if failing:
        session.out.print(f"[red]broken: {escape(', '.join(failing))}[/]", highlight=False)
    elif bound:
        batches = sum(each.source in bound for each in found) - len(bound)
        files = f"{batches} file{'' if batches == 1 else 's'}"
        session.out.print(f"[green]kept: {', '.join(bound)}, {files}[/]", highlight=False)


def _told(check: "BatchCheck") -> str:
    """Return why a batch cannot be read, and the way out."""
    from charkha.features.data_check import WHOLE

    name = f"{check.source}@{check.batch}"
    if check.mark == "aside":
        return f"{name} (aside): {check.problem}"
    way_out = "" if check.batch == WHOLE else f". Or leave it out: charkha data quarantine {name} --reason …"
    return f"{check.problem}{way_out}"


def show_list(session: Session, project: "Project", home: "Home", *, every: bool, json: bool) -> None:
    """Print the batches and files in quarantine."""
    from charkha.features.file_marks import file_marks

    held = [each for each in home.quarantine.all() if every or not each.is_over]
    marks = {name: file_marks(home.log, name).values() for name in project.sources}
    files = [(name, each) for name, of_source in marks.items() for each in of_source if every or each.mark == "aside"]
    if json:
        plain = [{"file": f"{name}@{each.file}", "state": each.mark, "mark": each} for name, each in files]
        batches = [{"state": each.state, "report": each.report, "ending": each.ending} for each in held]
        session.print_json({"batches": batches, "files": plain})
        return
    if not held and not files:
        session.out.print("nothing is in quarantine")
        return
    table = Table("id", "state", "since", "rows", "why", box=None, header_style="dim", pad_edge=False)
    for each in held:
        why = each.ending.reason if each.ending else "; ".join(str(one["rule"]) for one in each.report.violations)
        table.add_row(each.report.id, each.state, when(each.report.time_us), f"{each.report.rows:,}", escape(why))
    for name, file in files:
        table.add_row(escape(f"{name}@{file.file}"), file.mark, when(file.time_us), "", escape(file.reason))
    session.out.print(table)


def show_batch(session: Session, home: "Home", name: str, *, json: bool) -> None:
    """Print the report of a batch, and the first offending rows of each rule."""
    held = home.quarantine.get(name)
    report = held.report
    if json:
        session.print_json(held)
        return
    session.out.print(f"[bold]{report.id}[/]  {held.state}, {report.rows:,} rows of {report.source}", highlight=False)
    for violation in report.violations:
        session.out.print(escape(str(violation["message"])), highlight=False)
        examples = violation["examples"][:SHOWN_ROWS]
        table = Table("row", *examples[0], box=None, header_style="dim", pad_edge=False)
        for place, example in zip(violation["places"], examples, strict=False):
            table.add_row(str(place), *(escape(str(value)) for value in example.values()))
        session.out.print(table)


def when(time_us: int) -> str:
    """Return a time as a table shows it."""
    from charkha.clock import to_iso

    return to_iso(time_us)[:16].replace("T", " ")
