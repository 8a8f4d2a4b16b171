"""The demo's chapter of incidents: what is printed, and that its acts can be played on the flights."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from rich.console import Console

import charkha
from charkha.cli.demo_incidents import acts, may_retrain, tell
from charkha.cli.session import Session
from charkha.features.plan import plan_features
from charkha.monitoring.diagnosis.incident import Culprit, DiagnosedCause, Diagnosis, Remedy
from charkha.operations.drills.acts import Act, Played
from charkha.operations.drills.catalogue import INCIDENTS
from charkha.operations.drills.targets import Target
from charkha.spec.durations import HOUR_US
from charkha.spec.project import load_project

sys.path.append(str(Path(__file__).parents[1] / "operations" / "drills"))
from test_diagnosed import ONSET_US, WORLD, case_of

FLIGHTS = Path(charkha.__file__).resolve().parents[2] / "examples" / "flights"


@pytest.mark.parametrize("act", acts(), ids=lambda act: act.name)
def test_an_act_is_of_the_catalogue_and_hits_what_the_flights_have(act: Act) -> None:
    plan = plan_features(load_project(FLIGHTS).models["late_arrival"])
    assert act.kind in INCIDENTS
    assert set(Target.of(act.subject).names(plan)) & set(plan.names)


def made(cause: DiagnosedCause | None) -> Played:
    act = Act(name="nulls", words="[All] is null.", kind="null_flood", subject="weather.temp")
    case = case_of(WORLD, until_us=ONSET_US + HOUR_US)
    found = Diagnosis(model="late", watched=case.watched, healthy=case.healthy)
    if cause is not None:
        culprit = Culprit(sources="weather", features=("sky.temp", "weather.temp"))
        found = evolve(
            found,
            cause=cause,
            kind="weather.temp [all] is null",
            culprit=culprit,
            began_us=ONSET_US,
            remedy=Remedy(action="page_source_owner", words="Ask the owner of weather."),
        )
    return Played(act=act, case=case, found=found, since_us=ONSET_US)


def told_of(result: Played, home: Path) -> tuple[str, dict[str, Any]]:
    console = Console(file=io.StringIO(), width=200)
    told = tell(Session(home, None, console, console), result, home)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue(), told


def test_an_act_is_told_with_its_delay_its_diagnosis_and_its_page(tmp_path: Path) -> None:
    printed, told = told_of(made("source"), tmp_path)
    page = tmp_path / "incident-nulls.html"
    for line in (
        "[All] is null.",
        "From 2024-01-31 00:00 on; noticed 1 hour later, looking every hour.",
        "late: source: weather.temp [all] is null",
        "no: what would be learnt is the fault",
        str(page),
    ):
        assert line in printed
    assert "weather.temp [all] is null" in page.read_text()
    assert (told["cause"], told["hours_until_noticed"], told["remedy"]) == ("source", 1, "page_source_owner")


def test_what_was_not_found_is_said_to_be_so(tmp_path: Path) -> None:
    printed, told = told_of(made(None), tmp_path)
    assert "From 2024-01-31 00:00 on; not noticed, looking every hour." in printed
    assert (told["cause"], told["hours_until_noticed"]) == (None, None)


def test_what_the_world_changed_is_learnt_from_and_what_was_not_found_is_not() -> None:
    assert may_retrain("concept").startswith("yes")
    assert may_retrain("source").startswith("no: what would be learnt is the fault")
    assert may_retrain(None) == "no: nothing was found"
