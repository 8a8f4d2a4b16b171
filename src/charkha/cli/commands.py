"""`charkha`: the commands, the options they share, and how whatever goes wrong becomes a message and an exit code.

Exit codes: 0 done; 1 a gate or check failed, or the work could not be done; 2 the command was not written rightly;
3 `charkha diagnose` found that something is wrong, or `charkha drill` that something would be missed; 130 stopped with
Ctrl-C.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from typer.core import TyperGroup

from charkha.cli import (
    anchor,
    backfill,
    backtest,
    beside,
    catalogue,
    check,
    cost,
    data,
    demo,
    deploy,
    diagnose,
    drill,
    explain,
    export,
    features,
    history,
    incidents,
    init,
    keys,
    log,
    operate,
    proposals,
    replay,
    report,
    rollout,
    rule_sets,
    rules,
    runs,
    score,
    serve,
    status,
    train,
)
from charkha.cli.session import Session
from charkha.cli.wording import examples_of, exit_code, failure_json, failure_text, help_of

PIPED_WIDTH = 200
MAKE, RUN, LOOK = "Make a model", "Run it", "Look and decide"
# Command → its function and the part of `charkha --help` that lists it, in that order. Of two words, the first is a
# group, which `charkha --help` lists in its place.
COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "init": (init.init, MAKE),
    "check": (check.check, MAKE),
    "train": (train.train, MAKE),
    "serve": (serve.serve, RUN),
    "score": (score.score, RUN),
    "operate": (operate.operate, RUN),
    "replay": (replay.replay, RUN),
    "demo": (demo.demo, RUN),
    "status": (status.status, LOOK),
    "diagnose": (diagnose.diagnose, LOOK),
    "drill": (drill.drill, LOOK),
    "backtest": (backtest.backtest, LOOK),
    "history": (history.history, LOOK),
    "explain": (explain.explain, LOOK),
    "replay-decision": (explain.replay_decision, LOOK),
    "anchor": (anchor.anchor, LOOK),
    "cost": (cost.cost, LOOK),
    "promote": (deploy.promote, LOOK),
    "rollback": (deploy.rollback, LOOK),
    "deploy": (beside.deploy, LOOK),
    "withdraw": (beside.withdraw, LOOK),
    "kill": (deploy.kill, LOOK),
    "revive": (deploy.revive, LOOK),
}
# Commands of two words: the first â its second words with their functions, what they are about, and the part.
GROUPS: dict[str, tuple[dict[str, Callable[..., None]], str, str]] = {
    "keys": (keys.COMMANDS, "Make, list and revoke the API keys of those who call charkha serve.", RUN),
    "export": (export.COMMANDS, "Write what Charkha does as a DAG, for a scheduler of your own.", RUN),
    "data": (data.COMMANDS, "Hold data to its contracts, and decide of what breaks them.", LOOK),
    "incidents": (incidents.COMMANDS, "List what went wrong, show it, and close it by hand.", LOOK),
    "rollout": (
        rollout.COMMANDS,
        "Follow the version on its way to be the champion; begin, approve, promote or end a rollout by hand.",
        LOOK,
    ),
    "proposals": (proposals.COMMANDS, "List what the operator proposes, and approve or decline it.", LOOK),
    "runs": (runs.COMMANDS, "List the trainings there were and are, show one, and cancel it.", LOOK),
    "rules": (
        {"show": rules.show, "apply": rule_sets.apply},
        "Show what the rules did, and change them without training. The word show may be left out.",
        LOOK,
    ),
    "report": (report.COMMANDS, "Report how far features, scores and labels moved, and the quality of data.", LOOK),
    "log": (log.COMMANDS, "Tell how much of what was predicted is kept, and keep it small.", LOOK),
    "features": (
        {**catalogue.COMMANDS, "verify": features.verify, **backfill.COMMANDS},
        "Tell what features there are, compute them for many past questions, build the state that is served from, and "
        "prove that features were served as they are recomputed.",
        LOOK,
    ),
}
# Groups that do something without a second word.
GROUP_CLASSES: dict[str, type[TyperGroup]] = {
    "incidents": incidents.ListUnlessNamed,
    "proposals": proposals.GROUP,
    "rules": rules.ShowUnlessNamed,
    "runs": runs.GROUP,
}

WITH_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="charkha",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=WITH_HELP,
)
for name, (function, panel) in COMMANDS.items():
    app.command(name, help=help_of(function), epilog=examples_of(function), rich_help_panel=panel)(function)
for name, (functions, about, panel) in GROUPS.items():
    group = typer.Typer(
        cls=GROUP_CLASSES.get(name, TyperGroup),
        no_args_is_help=name not in GROUP_CLASSES,
        rich_markup_mode="rich",
        context_settings=WITH_HELP,
    )
    for word, function in functions.items():
        group.command(word, help=help_of(function), epilog=examples_of(function))(function)
    app.add_typer(group, name=name, help=about, rich_help_panel=panel)


def show_version(wanted: bool) -> None:
    """Print the version and end, if that was asked for."""
    if wanted:
        from importlib.metadata import version

        print(f"charkha {version('charkha')}")
        raise typer.Exit


@app.callback(epilog="Each command explains itself: [cyan]charkha train --help[/]. Begin with [cyan]charkha demo[/].")
def shared(
    context: typer.Context,
    project: Annotated[
        Path, typer.Option("--project", "-p", metavar="DIR", help="The project's folder, or any folder in it.")
    ] = Path(),
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Look at another home than the project's, such as a replay's."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Charkha turns raw data and one typed definition of a model into a system that serves, watches and retrains it."""
    context.obj = Session(folder=project, home=home, out=console(), err=console(stderr=True))


def console(*, stderr: bool = False) -> Console:
    """Return a console for one of the streams; what is piped or kept in a file is not folded to 80 columns."""
    made = Console(stderr=stderr)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPED_WIDTH
    return made


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, as_data = "--debug" in given, "--json" in given
    try:
        # Taken out, so that it may stand anywhere: it is thought of when a command has just failed.
        code = app([word for word in given if word != "--debug"], prog_name="charkha", standalone_mode=not as_data)
    except Exception as error:
        if debug:
            raise
        print(failure_json(error) if as_data else failure_text(error), file=sys.stderr)
        sys.exit(exit_code(error))
    sys.exit(code if isinstance(code, int) else 0)
