"""`charkha drill`, on twelve days of a small model, and the gate that a version of it must pass."""

import sys
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest
from attrs import evolve
from command_line import Shell
from msgspec import structs

from charkha.bundles.store import BundleStore
from charkha.cli import status
from charkha.engines.local import LocalEngine
from charkha.operations.drills.gate import drilling
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.gates import survives_drill

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from serving_project import MODEL, NOW_US, Stage, open_stage

DAYS, PER_HOUR = 12, 10
END_US = NOW_US + DAYS * DAY_US
QUICK = ("--window", "4d", "--quick")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("trips")) as stage:
        cities, lengths = cycle(["Pune", "Pune", "Surat"]), cycle(range(1, 12))
        for hour in range(DAYS * 24):
            stage.clock.advance_to(NOW_US + hour * HOUR_US)
            places = zip(islice(cities, PER_HOUR), islice(lengths, PER_HOUR), strict=True)
            rows = [(city, float(km), 2, True) for city, km in places]
            stage.service.answer([stage.service.ask_rows(MODEL, rows)])
        yield stage


@pytest.fixture
def shell(stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(stage.project.root)
    monkeypatch.setattr(status, "now", lambda: END_US)
    return shell


def test_what_is_found_is_told_and_exits_with_0(shell: Shell) -> None:
    found = shell("drill", MODEL, "--kind", "new_category", *QUICK)
    assert (found.code, found.err) == (0, ""), found.out
    for words in (
        "late_trip: 960 predictions of 2013-04-09 12:00 to 2013-04-13 12:00",
        "new_category",
        "request.city",
        "caught",
        "source: city has a value that never was",
    ):
        assert words in found.out
    assert found.out.endswith("as it should in 1 of 1 drill\n")
    assert shell("incidents", "--all").out == "no incidents\n"


def test_what_would_be_missed_exits_with_3(shell: Shell) -> None:
    found = shell("drill", MODEL, "--kind", "clock_skew", "--kind", "holiday", *QUICK, "--json")
    assert found.code == 3, found.err
    missed, quiet = found.json["drills"]
    assert (missed["kind"], missed["verdict"], missed["subject"], missed["size"]) == (
        "clock_skew",
        "missed",
        "w0",
        1800,
    )
    assert (quiet["kind"], quiet["verdict"], quiet["found"]) == ("holiday", "quiet", None)
    assert (found.json["judged"], found.json["survived"], found.json["predictions"]) == (2, 1, 960)
    assert missed["began"] == quiet["began"] < missed["deadline"]


def test_too_little_history_says_how_much_is_needed(shell: Shell) -> None:
    found = shell("drill", MODEL, "--kind", "latency", "--window", "8d")
    assert (found.code, found.out) == (1, "")
    assert "expected predictions on at least 7 days in the 28d before" in found.err


def test_drills_of_which_nothing_can_be_told_are_no_success(shell: Shell) -> None:
    found = shell("drill", MODEL, "--kind", "concept_sudden", *QUICK)
    assert found.code == 1
    assert "nothing could be told" in found.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kind", "unit_chnage"], "Did you mean 'unit_change'?"),
        (["--window", "soon"], "soon"),
        (["--seed", "often"], "a valid integer"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: list[str], words: str, shell: Shell) -> None:
    found = shell("drill", MODEL, *options)
    assert (found.code, found.out) == (2, "")
    assert words in " ".join(found.err.split())


def test_a_version_is_drilled_on_what_its_model_served(stage: Stage) -> None:
    """As the pipeline asks for it: by a bundle that is not written yet."""
    served = BundleStore(stage.home.bundles).read(MODEL, "v1")
    bundle = evolve(served, manifest=structs.replace(served.manifest, version="v2"))
    model, engine = stage.project.models[MODEL], LocalEngine()
    drill, steps = drilling(stage.project, model, stage.home, END_US, engine), list[str]()
    gate = survives_drill("new_category", "holiday", times=1, window="4d")
    result = drill(gate, bundle, steps.append)
    assert (result.passed, result.name) == (True, "survives_drill new_category, holiday")
    assert result.reason == "the diagnosis did what it should in 2 of 2 drills; a share of at least 1 is asked for"
    assert steps[-1] == "drilling holiday (2 of 3)"
    missed = drill(survives_drill("clock_skew", times=1, window="4d"), bundle, steps.append)
    assert not missed.passed


def test_a_version_of_which_nothing_can_be_drilled_passes_and_says_so(stage: Stage) -> None:
    bundle = BundleStore(stage.home.bundles).read(MODEL, "v1")
    model, engine = stage.project.models[MODEL], LocalEngine()
    gate = survives_drill("new_category")
    early = drilling(stage.project, model, stage.home, NOW_US + DAY_US, engine)(gate, bundle, lambda step: None)
    assert (early.passed, early.value) == (True, None)
    assert early.reason.startswith("passed without a drill: model 'late_trip': expected predictions on at least 7 days")
    other = evolve(bundle, manifest=structs.replace(bundle.manifest, version="v2", plan_json="{}"))
    now = drilling(stage.project, model, stage.home, END_US, engine)(
        survives_drill("new_category", window="4d"), other, lambda step: None
    )
    assert now.reason == (
        "passed without a drill: v2 reads other features than were served: there is no traffic with them yet"
    )
