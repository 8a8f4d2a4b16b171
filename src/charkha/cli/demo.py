"""`charkha demo`: nine months of production on real flights."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from charkha.cli.demo_incidents import tell_incidents
from charkha.cli.options import JsonFile
from charkha.cli.pages import require_folder
from charkha.cli.progress import steps
from charkha.cli.replay import clear, period_of, play, show, write_json
from charkha.cli.session import Session, choose_model, session_of

if TYPE_CHECKING:
    from charkha.operations.replay_summary import Interval, ReplaySummary

EXAMPLES = {"demo": ("charkha demo", "charkha demo --json figures.json")}
FROM, UNTIL = "2013-04-01", "2014-01-01"


class DemoNotHere(Exception):
    """The demo's definition is not part of the installed package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(
            f"expected the flights example in {folder}, found none: the demo comes with the repository. "
            "In a clone of it, run: make demo"
        )


def demo(context: typer.Context, json: JsonFile = None) -> None:
    """Run a year of real flights through Charkha: will this flight arrive more than 15 minutes late?

    A model is trained on January to March 2013, then April to December are replayed as if live: each flight is
    predicted at its scheduled departure, its delay becomes known when it has landed, and the operator retrains,
    compares, promotes and rejects as the definition says. Then a fortnight of it is looked at as it was, and with three
    incidents in it: a frozen feed, a unit that changed, a world that did. Takes a few minutes.

    It ends with a timeline, three diagnoses, and reports to open in a browser.
    """
    from attrs import evolve

    session = session_of(context)
    require_folder("--json", json)
    folder = Path(__file__).resolve().parents[3] / "examples" / "flights"
    if not (folder / "charkha.toml").is_file():
        raise DemoNotHere(folder)
    prepare(session, folder)
    home = session.home.absolute() if session.home else folder / ".charkha"  # never one that the environment names
    project = evolve(Session(folder, None, session.out, session.err).project(), home=home, ledger=None)
    clear(home)
    model = choose_model(project, None)
    summary = play(session, project, model, period_of(project, model, FROM, UNTIL))
    report = show(session, summary, project.home)
    incidents = tell_incidents(session, project, model)
    session.out.print(further(folder, project.home, report), highlight=False, soft_wrap=True)
    if json is not None:
        write_json({**figures(summary), "incidents": incidents}, json)


def prepare(session: Session, folder: Path) -> None:
    """Make the example's tables of the package that holds the flights, unless they are there."""
    if (folder / "data" / "flights.parquet").is_file():
        return
    with steps(session.err, lines=True) as on_step:
        on_step("preparing the flights of 2013")
        subprocess.run([sys.executable, "prepare.py"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def further(folder: Path, home: Path, report: Path) -> str:
    """Return how to look further."""
    return (
        f"\nreport   {report}\n"
        f"serve    charkha --project {folder} serve\n"
        f"why      charkha --project {folder} history\n"
        f"runs     mlflow ui --backend-store-uri sqlite:///{home / 'mlflow.db'}"
    )


def figures(summary: "ReplaySummary") -> dict[str, Any]:
    """Return the figures of the demo for `--json`."""
    return {
        "predictions": summary.predictions,
        "labels": summary.labels,
        "events": summary.events,
        "retrains": summary.retrains,
        "promotions": summary.promotions,
        "rejections": summary.rejections,
        "served_auc_by_month": {month.month: value_of(month.served) for month in summary.months},
        "frozen_auc_by_month": {month.month: value_of(month.frozen) for month in summary.months},
        "max_skew": summary.max_skew,
        "seconds": summary.seconds,
        "decisions": summary.decisions,
    }


def value_of(interval: "Interval") -> float | None:
    """Return the value of an interval."""
    return interval.value
