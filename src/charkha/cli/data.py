"""`charkha data`: contracts suggested and checked, and what breaks them set aside, released or discarded."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from charkha.cli.data_tables import as_plain, show_batch, show_checks, show_list
from charkha.cli.deploy import Reason, in_words
from charkha.cli.options import AsJson
from charkha.cli.session import Session, opened, person, session_of

if TYPE_CHECKING:
    from charkha.features.data_decisions import Word
    from charkha.spec.project import Project
    from charkha.spec.sources import Source
    from charkha.storage.home import Home
    from charkha.storage.ledger import Decision

EXAMPLES = {
    "check": ("charkha data check", "charkha data check ratings --as-of 2013-08-31", "charkha data check --json"),
    "suggest": ("charkha data suggest ratings", "charkha data suggest ratings --sample 10000"),
    "quarantine": (
        "charkha data quarantine",
        "charkha data quarantine ratings-5f0c3a91d2e4b7718c02",
        'charkha data quarantine ratings@data/ratings.parquet --reason "half of August is missing"',
    ),
    "release": (
        'charkha data release ratings-5f0c3a91d2e4b7718c02 --reason "a new film has that id, I asked"',
        'charkha data release ratings@data/ratings.parquet --reason "August is whole again"',
    ),
    "discard": ('charkha data discard ratings-5f0c3a91d2e4b7718c02 --reason "a test that went astray"',),
}
SourceName = Annotated[str | None, typer.Argument(metavar="SOURCE", help="Which source; all of them unless given.")]
BatchName = Annotated[
    str, typer.Argument(metavar="ID", help="A batch as charkha data quarantine lists it, or a file as SOURCE@FILE.")
]


def check(
    context: typer.Context,
    *,
    source: SourceName = None,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Judge age and volume as of then, such as 2013-08-31; now unless given."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Hold every file of the sources to their contracts, and each source as a whole.

    Shows each rule that is broken, by how many rows, and one of them, and each file that cannot be read. A file that
    was set aside or released is shown but does not count: what to do about it was decided. Rows that were pushed were
    checked when they came.

    Exits with 1 when a contract is broken, or something cannot be read.
    """
    from charkha.features.data_check import check_source

    session = session_of(context)
    project = session.project()
    chosen = [choose_source(project, source)] if source else list(project.sources.values())
    as_of_us = moment(as_of)
    with opened(project) as home:
        found = [each for one in chosen for each in check_source(one, project.root, home.log, as_of_us)]
    fails = any(each.fails for each in found)
    if json:
        session.print_json({"ok": not fails, "batches": [as_plain(each) for each in found]})
    else:
        show_checks(session, chosen, found)
    raise typer.Exit(1 if fails else 0)


def suggest(
    context: typer.Context,
    *,
    source: Annotated[str | None, typer.Argument(metavar="SOURCE", help="Which source; needed with several.")] = None,
    sample: Annotated[int, typer.Option(min=1, metavar="ROWS", help="How many rows to look at, drawn at random.")] = (
        100_000
    ),
) -> None:
    """Print a contract that the rows of a source keep today, as Python to paste into its ck.Source(…).

    Ranges get some room, texts of few values are listed, numbers that are ids are left alone. It is a beginning: it
    knows what was, and not what should be.
    """
    from attrs import evolve

    from charkha.clock import SystemClock
    from charkha.features.contracts import Volume, source_violations
    from charkha.features.rows import read_rows
    from charkha.features.suggest import suggest as suggest_contract

    session = session_of(context)
    project = session.project()
    chosen = choose_source(project, source)
    free = evolve(chosen, contract=None)
    with opened(project) as home:
        rows = read_rows(free, project.root, home.log)
    if rows.is_empty():
        raise typer.BadParameter(f"{chosen.name!r} has no rows to make a contract of.", param_hint="SOURCE")
    drawn = rows.sample(sample, seed=7) if rows.height > sample else rows
    suggestion = suggest_contract(chosen, drawn, rows["_known_us"])
    now_us = SystemClock().now()
    bound = evolve(chosen, contract=suggestion.contract())
    late = source_violations(Volume.of([rows["_known_us"]], now_us), bound)
    session.err.print(f"made of {drawn.height:,} of {rows.height:,} rows; read it before you paste it", highlight=False)
    session.out.print(escape(suggestion.code(still=bool(late))), highlight=False, soft_wrap=True)


def quarantine(
    context: typer.Context,
    *,
    what: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A batch to look into, or a file to set aside, as SOURCE@FILE."),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason",
            "-m",
            callback=in_words,
            metavar="TEXT",
            help="Why a file is set aside; kept in the ledger, with your user name.",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List also what was released or discarded since.")] = False,
    json: AsJson = False,
) -> None:
    """List what is in quarantine, look into one batch, or set a file aside.

    Pushed rows that break their contract come here by themselves, each push whole. A file comes here when somebody says
    so: from then on it is not read. Where the online state holds its rows already, charkha features materialise builds
    the state of its source without them; so does the next start of a server.
    """
    session = session_of(context)
    project = session.project()
    with opened(project) as home:
        if what is None:
            show_list(session, project, home, every=every, json=json)
        elif "@" not in what:
            show_batch(session, home, what, json=json)
        elif reason is None:
            raise typer.BadParameter("setting a file aside needs a reason: --reason …", param_hint="--reason")
        else:
            decision = mark(project, home, what, reason, aside=True)
            announce(session, decision, f"{what} is not read any more", json=json)


def release(context: typer.Context, *, what: BatchName, reason: Reason, json: AsJson = False) -> None:
    """Take a batch or a file in although it breaks the contract.

    The rows of a pushed batch are in the features from now on, and known from now on. A release that was interrupted
    goes on when it is asked for again: no row counts twice. A file is read as it is now; if it changes, it must keep
    the contract again.
    """
    session = session_of(context)
    project = session.project()
    with opened(project) as home:
        if "@" in what:
            decision = mark(project, home, what, reason, aside=False)
            announce(session, decision, f"{what} is read as it is", json=json)
            return
        decision = release_pushed(project, home, what, word_of(reason))
        ending = home.quarantine.get(what).ending
    counts = ending.result if ending else {}
    said = ", ".join(f"{number} {name}" for name, number in counts.items())
    announce(session, decision, f"{what} is released: {said}", json=json)


def discard(context: typer.Context, *, what: BatchName, reason: Reason, json: AsJson = False) -> None:
    """Delete the rows of a batch in quarantine for good; its report stays, and so does the decision."""
    from charkha.features.quarantine import discard_batch

    if "@" in what:
        raise typer.BadParameter(
            f"expected a batch of pushed rows, got the file {what!r}: files are not discarded here. Set it aside: "
            f"charkha data quarantine {what} --reason …; read it again: charkha data release {what} --reason …",
            param_hint="ID",
        )
    session = session_of(context)
    with opened(session.project()) as home:
        decision = discard_batch(home, what, word_of(reason))
    announce(session, decision, f"{what} is discarded", json=json)


COMMANDS: dict[str, Callable[..., None]] = {
    "check": check,
    "suggest": suggest,
    "quarantine": quarantine,
    "release": release,
    "discard": discard,
}


def choose_source(project: "Project", name: str | None) -> "Source":
    """Return the source of a name, or the only one there is. Raises BadParameter."""
    sources = project.sources
    if name is None and len(sources) == 1:
        return next(iter(sources.values()))
    if name is not None and name in sources:
        return sources[name]
    found = "no name" if name is None else repr(name)
    known = ", ".join(sources)
    raise typer.BadParameter(f"expected one of the project's sources ({known}), got {found}.", param_hint="SOURCE")


def moment(as_of: str | None) -> int:
    """Return a time as it was given, in µs, or now. Raises BadParameter."""
    from charkha.clock import SystemClock, parse_time

    if as_of is None:
        return SystemClock().now()
    try:
        return parse_time(as_of)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of") from None


def word_of(reason: str) -> "Word":
    """Return the word of who is at the keyboard, now."""
    from charkha.clock import SystemClock
    from charkha.features.data_decisions import Word

    return Word(person(), reason, SystemClock().now())


def mark(project: "Project", home: "Home", what: str, reason: str, *, aside: bool) -> "Decision":
    """Set a file aside or release it; `what` is SOURCE@FILE."""
    from charkha.features.file_decisions import mark_file

    name, _, file = what.partition("@")
    source = choose_source(project, name)
    return mark_file(home, source, project.root, file, mark="aside" if aside else "released", word=word_of(reason))


def release_pushed(project: "Project", home: "Home", name: str, word: "Word") -> "Decision":
    """Push the rows of a batch."""
    from charkha.clock import SystemClock
    from charkha.features.feed import Feed
    from charkha.features.quarantine import release_batch

    source = choose_source(project, home.quarantine.get(name).report.source)
    feed = Feed(project.sources, project.views, home.log, home.online, SystemClock())
    return release_batch(home, feed, source, name, word)


def announce(session: Session, decision: "Decision", text: str, *, json: bool) -> None:
    """Print what was decided."""
    if json:
        session.print_json(decision)
    else:
        session.out.print(f"{escape(text)} (decision {decision.sequence})", highlight=False, soft_wrap=True)
