"""What the log says beside an answer, for a diagnosis: who answered, with which bundle, of features how old."""

from pathlib import Path

import polars as pl
import pytest
from serving_project import HOUR_US, MODEL, NOW_US, Stage, champion, deploy, open_stage, requests, trip, write_bundle

from charkha.bundles.store import BundleStore
from charkha.monitoring.collect import collect, predictions_table
from charkha.monitoring.compact import compact
from charkha.monitoring.logged import logged_predictions
from charkha.serving.service import Service
from charkha.spec.durations import DAY_US
from charkha.spec.policies import Fallback, LogPolicy
from charkha.storage.ledger import Assignment

EVIDENCE = ("replica", "bundle", "age.traffic", "age.sky")


def logged(stage: Stage) -> pl.DataFrame:
    return logged_predictions(stage.home, MODEL, BundleStore(stage.home.bundles))


def test_ages_are_those_of_the_newest_row_that_the_state_holds(stage: Stage) -> None:
    stage.service.push("trips", [trip(1, ended_us=NOW_US - 600_000_000), trip(2, "Agra", ended_us=NOW_US)])
    stage.clock.advance_to(NOW_US + 90_000_000)
    stage.service.predict(MODEL, requests("Pune", "Agra", "Delhi", None))
    assert logged(stage).select("age.traffic", "age.sky").rows() == [
        (690.0, 3690.0),
        (90.0, None),
        (None, None),
        (None, None),
    ]


def test_each_version_names_the_bundle_that_was_loaded(stage: Stage) -> None:
    digests = {"v1": BundleStore(stage.home.bundles).digest(MODEL, "v1")}
    digests["v2"] = write_bundle(stage.project, stage.home, "v2", intercept=3.0)
    deploy(stage.home, champion("v1"), Assignment("v2", "shadow"))
    stage.service.refresh()
    stage.service.predict(MODEL, requests("Pune"))
    assert dict(logged(stage).select("version", "bundle").rows()) == digests


def test_a_bundle_that_is_changed_on_disk_behind_the_registry_shows(stage: Stage) -> None:
    """What a process has loaded is told, not what lies there by now; and the next process tells of the other bytes."""
    digest = BundleStore(stage.home.bundles).digest(MODEL, "v1")
    folder = BundleStore(stage.home.bundles).path(MODEL, "v1")
    folder.rename(folder.with_name("was"))
    other = write_bundle(stage.project, stage.home, "v1", intercept=3.0)
    assert other != digest
    stage.service.predict(MODEL, requests("Pune"))
    replaced = Service(stage.project, stage.home, stage.clock, "w0", replica="host/w0")
    replaced.refresh()
    replaced.predict(MODEL, requests("Pune"))
    replaced.close()
    assert logged(stage).select("replica", "bundle").rows() == [("w0", digest), ("host/w0", other)]


def test_where_the_state_cannot_be_read_nothing_is_known_of_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_stage(tmp_path, fallback=Fallback(score=0.5)) as stage:
        with monkeypatch.context() as patch:
            patch.setattr(type(stage.home.online), "read", lambda store: 1 / 0)
            stage.service.predict(MODEL, requests("Pune"))
        stage.service.predict(MODEL, requests("Pune"))
        digest = BundleStore(stage.home.bundles).digest(MODEL, "v1")
        frame = logged(stage)
    assert frame.select("fallback", *EVIDENCE).rows() == [
        ("features_unavailable", "w0", digest, None, None),
        (None, "w0", digest, None, 3600.0),
    ]


def test_ages_are_logged_of_the_rows_whose_features_are(tmp_path: Path) -> None:
    with open_stage(tmp_path, log=LogPolicy(features_share=0.3)) as stage:
        stage.service.predict(MODEL, requests(*["Pune"] * 200))
        frame = logged(stage)
    assert 0 < frame["features_logged"].sum() < 200
    assert frame["age.sky"].is_not_null().equals(frame["features_logged"])


def test_evidence_stays_when_predictions_are_collected_and_become_compact(stage: Stage) -> None:
    stage.service.push("trips", [trip(1)])
    stage.clock.advance_to(NOW_US + 60_000_000)
    stage.service.predict(MODEL, requests("Pune", "Agra"))
    before = logged(stage).select("id", *EVIDENCE)
    bundles, model = BundleStore(stage.home.bundles), stage.project.models[MODEL]
    collect(stage.home, model, bundles)
    table = predictions_table(MODEL)
    (part,) = stage.home.tables.parts(table)
    assert stage.home.tables.read(table, part).select(before.columns).equals(before)
    assert compact(stage.home, model, bundles, NOW_US + DAY_US).rows == 2
    assert logged(stage).select(before.columns).equals(before)
    assert before["age.traffic"].to_list() == [60.0, None]
    assert before["age.sky"][0] == HOUR_US // 1_000_000 + 60
