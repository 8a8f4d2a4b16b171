"""`charkha diagnose` and `charkha incidents`, with a diagnosis that a test makes in place of the real one."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from command_line import Shell

from charkha.cli import diagnose, status
from charkha.cli.diagnose import question_of
from charkha.clock import to_iso
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incident import Culprit, Diagnosis, Loss, Remedy
from charkha.monitoring.diagnosis.money import priced
from charkha.operations import case as operations_case
from charkha.operations import history as operations_history
from charkha.operations.case import Question
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import Costs
from charkha.web import incident_page

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from serving_project import MODEL, NOW_US, Stage, open_stage

DAYS = 12
END_US = NOW_US + DAYS * DAY_US
Verdict = Callable[[Case], Diagnosis]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.chdir(tmp_path)
    with open_stage(tmp_path) as stage:
        for day in range(DAYS):
            stage.clock.advance_to(NOW_US + day * DAY_US)
            rows = [("Pune", float(km), 2, True) for km in range(1, 6)]
            stage.service.answer([stage.service.ask_rows(MODEL, rows)])
        yield stage


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases that were diagnosed; what is found of them is a broken source."""
    seen: list[Case] = []

    def found(case: Case) -> Diagnosis:
        seen.append(case)
        return broken(case)

    monkeypatch.setattr(diagnose, "diagnoser", lambda: found)
    return seen


@pytest.fixture
def shell(stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(status, "now", lambda: END_US)
    return shell


def healthy(case: Case) -> Diagnosis:
    return Diagnosis(model=case.traffic.model, watched=case.watched, healthy=case.healthy)


def broken(case: Case) -> Diagnosis:
    return evolve(
        healthy(case),
        cause="source",
        kind="null flood of weather.rain",
        culprit=Culprit(sources="weather", features="sky.rain"),
        began_us=END_US - 30 * HOUR_US,
        earliest_us=END_US - 32 * HOUR_US,
        latest_us=END_US - 29 * HOUR_US,
        share=0.5,
        remedy=Remedy(action="page_source_owner", words="Ask the owner of weather."),
        margin=3.0,
    )


def test_what_is_wrong_is_told_recorded_once_and_exits_with_3(shell: Shell, cases: list[Case]) -> None:
    found = shell("diagnose", MODEL, "--window", "4d")
    assert (found.code, found.err) == (3, "")
    for words in (
        "late_trip: source: null flood of weather.rain",
        "source weather, feature sky.rain",
        "since      2013-04-12 06:00 (95 %: 2013-04-12 04:00 to 2013-04-12 07:00)",
        "Ask the owner of weather. [page_source_owner]",
        "95.3%",
        "open: late_trip-1",
    ):
        assert words in found.out
    assert shell("diagnose", MODEL, "--window", "4d", "--json").json["incidents"] == ["late_trip-1"]
    (case, _) = cases
    assert (case.watched.since_us, case.watched.until_us) == (END_US - 4 * DAY_US, END_US)
    assert case.healthy.until_us == case.watched.since_us
    assert case.traffic.predictions.height == 5 * DAYS
    assert case.registered == {}
    assert case.rescore is not None
    scores, _ = case.rescore(case.traffic.predictions)
    assert scores.tolist() == case.traffic.predictions["score"].to_list()


def test_nothing_wrong_exits_with_0(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose, "diagnoser", lambda: healthy)
    found = shell("diagnose", MODEL, "--since", "2013-04-09")
    assert (found.code, found.err) == (0, "")
    assert "nothing is wrong" in found.out
    assert shell("incidents").out == "no incident is open\n"


@pytest.mark.parametrize(
    ("options", "found_words", "choice"),
    [
        (
            ["--window", "8d"],
            "7 days in the 28d before 2013-04-05T12:00 to compare with, found 20 predictions on 4 days.",
            "--window 3d",
        ),
        (["--healthy", "1m"], "7 days in the 1m before 2013-04-06T12:00", "--window 3d --healthy 28d"),
        (["--window", "4000d"], "found 0 predictions on 0 days.", "--window 3d"),
        (["--window", "1d", "--healthy", "2d"], "found 10 predictions on 2 days.", "--healthy 28d"),
    ],
)
def test_too_little_history_says_what_there_is_and_what_would_do(
    options: list[str], found_words: str, choice: str, shell: Shell, cases: list[Case]
) -> None:
    found = shell("diagnose", MODEL, *options)
    assert (found.code, found.out) == (1, "")
    assert found_words in found.err
    assert "In all there are 60 predictions on 12 days, since 2013-04-01T12:00. " in found.err
    assert found.err.endswith(f"This would do: {choice}\n")
    assert cases == []
    for name in ("--window", "--healthy"):  # what is named does do
        given = options[options.index(name) + 1] if name in options else None
        words = choice.split()
        value = words[words.index(name) + 1] if name in words else given
        options = [*options, *([name, value] if value else [])]
    assert shell("diagnose", MODEL, *options).code == 3


def test_where_no_choice_would_do_it_says_how_long_to_wait(shell: Shell, cases: list[Case]) -> None:
    found = shell("diagnose", MODEL, "--until", "2013-04-05T13:00")
    assert found.code == 1
    there = "In all there are 25 predictions on 5 days, since 2013-04-01T12:00"
    assert f"{there}; no --window or --healthy would do yet. Look again when it has served on 3 days more" in found.err
    nothing = shell("diagnose", MODEL, "--until", "2013-03-01")
    assert nothing.code == 1
    assert "It served nothing before 2013-03-01T00:00: no --window or --healthy would do. " in nothing.err


def test_a_window_in_the_past_is_looked_at_and_not_recorded(shell: Shell, cases: list[Case]) -> None:
    assert shell("diagnose", MODEL, "--window", "1d", "--until", "2013-04-11").code == 3
    assert to_iso(cases[0].watched.until_us) == "2013-04-11T00:00:00Z"
    assert shell("incidents", "--all").out == "no incidents\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--window", "soon"], "soon"),
        (["--since", "2013-04-01", "--window", "1d"], "got both"),
        (["--since", "2014-01-01"], "before the end"),
        (["--report", "nowhere/x.html"], "expected a folder that is there"),
        (["--postmortem", "nowhere/x.md"], "expected a folder that is there"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: list[str], words: str, shell: Shell, cases: list[Case]) -> None:
    found = shell("diagnose", MODEL, *options)
    assert found.code == 2
    assert words in found.err
    assert cases == []


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_report_that_fails_loses_neither_diagnosis_nor_incident(
    as_json: list[str], shell: Shell, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(case: Case, found: Diagnosis) -> str:
        raise KeyError("request.km")

    monkeypatch.setattr(incident_page, "render_incident", failing)
    found = shell("diagnose", MODEL, "--window", "4d", "--report", "r.html", "--postmortem", "p.md", *as_json)
    assert found.code == 1
    assert "null flood of weather.rain" in found.out
    assert "late_trip-1" in found.out
    assert "expected to write r.html, got KeyError: 'request.km'" in found.err
    assert "not foreseen" not in found.err
    assert Path("p.md").read_text("utf-8").startswith("# late")
    assert "late_trip-1" in shell("incidents").out


def test_an_incident_is_listed_shown_and_closed(shell: Shell, cases: list[Case]) -> None:
    shell("diagnose", MODEL, "--window", "4d")
    for listed in (shell("incidents"), shell("incidents", MODEL), shell("incidents", "list", MODEL)):
        assert "late_trip-1  open since 2013-04-13 12:00  2013-04-12 06:00  source" in listed.out
    shown = shell("incidents", "show", "late_trip-1")
    assert "open by diagnosis: source: null flood of weather.rain" in shown.out
    closed = shell("incidents", "close", "late_trip-1", "--reason", "the feed is back")
    assert (closed.code, closed.out) == (0, "late_trip-1 is closed\n")
    assert shell("incidents", "--json").json == []
    assert [each["status"] for each in shell("incidents", "--all", "--json").json] == ["closed"]
    assert "close by" in shell("incidents", "show", "late_trip-1").out
    unknown = shell("incidents", "show", "late_trip-7")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)


def test_the_history_has_no_incident_in_it(shell: Shell, cases: list[Case]) -> None:
    """While it is open the window begins with it; once it is over it is cut out."""
    shell("diagnose", MODEL, "--window", "4d")
    shell("diagnose", MODEL, "--window", "1h")
    assert to_iso(cases[-1].watched.since_us) == "2013-04-12T04:00:00Z"
    shell("incidents", "close", "late_trip-1", "--reason", "over")
    shell("diagnose", MODEL, "--window", "1h")
    assert to_iso(cases[-1].watched.since_us) == "2013-04-13T11:00:00Z"
    assert cases[-1].traffic.predictions.height == 5 * (DAYS - 1)  # the day of the incident is cut out


def test_an_incident_that_lasts_is_looked_at_for_so_long_and_no_longer(
    shell: Shell, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("diagnose", MODEL, "--window", "4d")
    monkeypatch.setattr(operations_case, "LONGEST_US", DAY_US)
    shell("diagnose", MODEL, "--window", "1h")
    healthy, watched = cases[-1].healthy, cases[-1].watched
    assert [to_iso(each) for each in (healthy.until_us, watched.since_us)] == [
        "2013-04-12T04:00:00Z",
        "2013-04-12T12:00:00Z",
    ]
    at_us = cases[-1].traffic.predictions["_at_us"]
    assert not at_us.is_between(healthy.until_us, watched.since_us, closed="left").any()


def test_features_are_looked_at_by_the_profiles_that_are_kept(shell: Shell, cases: list[Case]) -> None:
    shell("diagnose", MODEL, "--window", "4d")
    (case,) = cases
    assert case.kept is not None
    assert case.kept.tiles["rows"].sum() == 5 * DAYS
    assert set(case.kept.shape.parts) == set(case.traffic.features)


def test_of_more_than_can_be_looked_at_a_sample_is(
    shell: Shell, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bounded(*args: Any, **options: Any) -> Question:
        return evolve(question_of(*args, **options), most_rows=5 * DAYS - 1)

    monkeypatch.setattr(diagnose, "question_of", bounded)
    monkeypatch.setattr(operations_history, "LEAST_DAYS", 1)
    monkeypatch.setattr(diagnose, "written", lambda *_: None)
    found = shell("diagnose", MODEL, "--window", "4d")
    looked_at = cases[0].traffic.predictions.height
    assert 0 < looked_at < 5 * DAYS
    assert f"of 60 predictions, a sample of {looked_at} looked at" in found.out
    assert cases[0].traffic.predictions.group_by("_at_us").len()["len"].unique().to_list() == [5]  # whole calls
    assert shell("diagnose", MODEL, "--window", "4d", "--json").json["sampled"] == {
        "predictions": 5 * DAYS,
        "looked_at": looked_at,
    }


def test_what_it_costs_is_told_in_money(stage: Stage, shell: Shell, cases: list[Case]) -> None:
    stage.service.refresh()
    shell("diagnose", MODEL, "--window", "4d")
    (case,) = cases
    answered = case.traffic.predictions.sort("_at_us")
    labels = answered.select("id", "_at_us", "decision").with_columns(late=~answered["decision"])
    wrong = labels.with_columns(
        label=(labels["_at_us"] >= END_US - 4 * DAY_US).cast(float), _label_known_us=labels["_at_us"]
    ).select("id", "label", "_label_known_us")
    case = evolve(case, traffic=evolve(case.traffic, labels=wrong))
    found = evolve(
        broken(case), began_us=END_US - 4 * DAY_US, loss=Loss(metric="log_loss", usual=0.1, now=0.2, rows=20)
    )
    model = evolve(stage.project.models[MODEL], costs=Costs(false_negative=10.0))
    loss = priced(found, case, model).loss
    assert loss is not None
    assert answered["decision"].sum() == 0
    assert loss.money == pytest.approx(20 * 10.0)
    assert priced(found, case, evolve(model, costs=Costs())) == found
