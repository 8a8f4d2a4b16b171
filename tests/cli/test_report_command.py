"""`charkha report drift`: bands, bins and shares as the tables of banks have them, of what was served."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import Shell

from charkha.bundles.profile import learn_shape, profile_of
from charkha.cli import status
from charkha.monitoring.drift_report import FeatureDrift, _of_feature
from charkha.monitoring.psi import psi
from charkha.spec.durations import DAY_US, HOUR_US

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from serving_project import MODEL, NOW_US, Stage, open_stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.chdir(tmp_path)
    with open_stage(tmp_path) as stage:
        yield stage


@pytest.fixture
def shell(stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(status, "now", lambda: NOW_US + DAY_US)
    return shell


def drift_of(name: str, changed: pl.Series) -> FeatureDrift:
    random = np.random.default_rng(5)
    frame = pl.DataFrame({"v.x": random.normal(size=4_000), "v.t": random.choice(["a", "b"], 4_000)})
    shape, scores = learn_shape(frame, random.random(4_000)), random.random(4_000)
    now = profile_of(shape, frame.with_columns(changed.alias(name)), scores)
    return _of_feature(name, shape, profile_of(shape, frame, scores), now)


def test_what_did_not_move_is_stable() -> None:
    found = drift_of("v.t", pl.Series(["a", "b"] * 2_000))
    assert (found.band, found.constant, found.strangers) == ("stable", False, (0.0, 0.0))
    assert [each.name for each in found.bins][-1] == "any other"


def test_what_moved_is_told_bin_by_bin() -> None:
    found = drift_of("v.x", pl.Series(np.full(4_000, 50.0)))
    assert found.index is not None
    assert found.band == "act"
    assert found.constant
    assert found.strangers[1] == 1.0
    assert sum(each.adds for each in found.bins) == pytest.approx(found.index.value)
    assert sum(each.now for each in found.bins) == pytest.approx(1.0)
    counts = [[round(4_000 * share) for share in (each.reference, each.now)] for each in found.bins]
    assert found.index.value == pytest.approx(psi(*np.array(counts).T))


def test_nulls_have_no_index() -> None:
    found = drift_of("v.x", pl.Series([None] * 4_000, dtype=pl.Float64))
    assert (found.index, found.band, found.bins, found.nulls) == (None, None, (), (0.0, 1.0))


def test_two_rows_have_no_band() -> None:
    random = np.random.default_rng(5)
    frame = pl.DataFrame({"v.x": random.normal(size=4_000)})
    shape, few = learn_shape(frame, random.random(4_000)), frame.head(2)
    reference = profile_of(shape, few, random.random(2))
    found = _of_feature("v.x", shape, reference, profile_of(shape, frame, random.random(4_000)))
    assert found.index is not None
    assert found.index.value > 0.25
    assert (found.band, found.band_words) == (None, "too few rows")


def test_it_reports_what_was_served(stage: Stage, shell: Shell) -> None:
    for hours in (0, 13):  # intervals take days as units: two of them
        stage.clock.advance_to(NOW_US + hours * HOUR_US)
        rows = [("<b>Pune", float(km), 2, True) for km in range(30)]
        ids = stage.service.answer([stage.service.ask_rows(MODEL, rows)])[0].ids
        stage.service.label(MODEL, ids, [float(place % 2) for place in range(30)])
    found = shell("report", "drift", MODEL, "--html", "drift.html")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("late_trip v1: 60 predictions")
    assert "target: mean label 0.5 over 60 labels, 0.5 in training" in found.out
    assert "log_loss" in found.out
    plain = shell("report", "drift", MODEL, "--json").json
    assert plain["score"]["band"] is None  # two rows of training are no reference
    assert "too few rows" in found.out
    assert plain["data"]["rows"] == 60
    assert plain["data"]["duplicates"] == 0  # the same questions, but at another hour
    columns = {each["name"]: each for each in plain["data"]["columns"]}
    assert columns["request.km"] | {"name": ""} == {
        **{"name": "", "rows": 60, "nulls": 0, "distinct": 30, "least": 0.0, "mean": 14.5, "most": 29.0},
        "commonest": None,
    }
    assert columns["request.city"]["commonest"] == "<b>Pune"
    answers = plain["answers"]
    assert answers["rows"] == sum(each["rows"] for each in answers["calibration"]) == 60
    assert answers["threshold"] is None or sum(answers["confusion"]) == 60
    assert answers["log_loss"] == pytest.approx(
        next(each["estimate"]["value"] for each in plain["quality"] if each["metric"] == "log_loss")
    )
    assert "duplicate rows: 0 of 60 (0.0%)" in found.out
    assert "probabilities: ROC AUC" in found.out
    assert {each["name"] for each in plain["features"]} >= {"ask.per_stop", "traffic.driver"}
    page = Path("drift.html").read_text("utf-8")
    assert "<script" not in page
    assert page.count("<details>") >= 3
    assert page.count("<svg") >= 4
    assert "calibration: what came true" in page
    assert "&lt;b&gt;Pune" in page
    assert "<b>Pune" not in page


def test_without_scikit_learn_the_rest_is_told(stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = stage.service.answer([stage.service.ask_rows(MODEL, [("Pune", 3.0, 2, True)] * 2)])[0].ids
    stage.service.label(MODEL, ids, [0.0, 1.0])
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    found = shell("report", "drift", MODEL)
    assert found.code == 0
    assert "pip install 'charkha[train]'" in found.out
    assert "duplicate rows: 1 of 2 (50.0%)" in found.out
    assert shell("report", "drift", MODEL, "--json").json["answers"] is None


def test_it_says_why_there_is_nothing_to_report(stage: Stage, shell: Shell) -> None:
    found = shell("report", "drift", MODEL)
    assert (found.code, found.out) == (1, "")
    assert "expected predictions in the last 28d, found none" in found.err
    assert shell("report", "drift", MODEL, "--window", "soon").code == 2
