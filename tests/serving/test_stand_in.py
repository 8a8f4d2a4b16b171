"""A champion that cannot be loaded, where nobody answered before: the declared fallback does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from app_client import app_client
from attrs import evolve
from serving_project import MODEL, Stage, champion, deploy, open_stage, requests, write_bundle

from charkha.bundles.store import BundleStore
from charkha.operations.kill import kill
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.service import NoChampion, Service
from charkha.spec.policies import Fallback
from charkha.spec.rules import Rule
from charkha.storage.ledger import Assignment

ROW = {"city": "Pune", "km": 6.0, "stops": 2, "pooled": True}


def damage(stage: Stage, version: str) -> None:
    path = stage.home.bundles / MODEL / version / "estimator.bin"
    path.chmod(0o644)
    path.write_bytes(b"nothing")


@contextmanager
def restarted(stage: Stage, fallback: Fallback | None, rules: tuple[Rule, ...] = ()) -> Iterator[Service]:
    """Open a service as a new worker would."""
    model = evolve(stage.project.models[MODEL], fallback=fallback, rules=rules)
    project = evolve(stage.project, models={**stage.project.models, MODEL: model})
    service = Service(project, stage.home, stage.clock, "w1")
    service.refresh()
    yield service
    service.close()


def logged(stage: Stage) -> pl.DataFrame:
    return decode_predictions(stage.home.log.read(prediction_stream(MODEL)), BundleStore(stage.home.bundles))


def test_the_constant_and_the_rules_of_the_definition_answer(tmp_path: Path) -> None:
    fallback = Fallback(decision=False, score=0.2)
    rules = (Rule("far", pl.col("km") > 100), Rule("rainy", pl.col("sky.rain") > 100))
    with open_stage(tmp_path) as stage:
        damage(stage, "v1")
        with restarted(stage, fallback, rules) as service:
            found = service.predict(MODEL, requests("Pune").vstack(requests("Pune").with_columns(km=500.0)))
            assert found.causes == ["model_failed"] * 2
            assert (found.versions, found.roles) == (["v1"] * 2, ["fallback"] * 2)
            assert (found.decisions, list(found.rules)) == ([False, True], [(), ("far",)])
            assert found.scores.tolist() == [0.2, 0.2]
            assert service.standing.ready().champions[MODEL] is None
            assert service.line_ups()[MODEL].players == ()
            assert not service.refresh()
    frame = logged(stage)
    assert frame["features_logged"].to_list() == [False, False]
    assert frame["request.km"].to_list() == [6.0, 500.0]
    assert frame["fallback"].to_list() == ["model_failed"] * 2


def test_answers_without_features_are_read_beside_others(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        stage.service.predict(MODEL, requests("Pune"))
        write_bundle(stage.project, stage.home, "v2")
        damage(stage, "v2")
        deploy(stage.home, champion("v2"))
        with restarted(stage, Fallback(decision=True)) as service:
            service.predict(MODEL, requests("Delhi"))
        frame = logged(stage)
    assert frame["version"].to_list() == ["v1", "v2"]
    assert frame["sky.rain"].to_list() == [2.5, None]


def test_the_champion_before_answers_if_it_is_asked(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        write_bundle(stage.project, stage.home, "v2")
        damage(stage, "v2")
        deploy(stage.home, champion("v2"))
        with restarted(stage, Fallback(decision=True, previous=True)) as service:
            found = service.predict(MODEL, requests("Pune"))
            assert (found.versions, found.causes) == (["v1"], ["model_failed"])
            damage(stage, "v1")
        with restarted(stage, Fallback(decision=True, previous=True)) as service:
            found = service.predict(MODEL, requests("Pune"))
            assert (found.versions, found.causes, found.decisions) == (["v2"], ["model_failed"], [True])


def test_a_kill_survives_a_restart_though_no_bundle_can_be_loaded(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        damage(stage, "v1")
        with restarted(stage, Fallback(decision=True)) as service:
            assert service.predict(MODEL, requests("Pune")).causes == ["killed"]


def test_the_champion_takes_over_once_it_can_be_loaded(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        deploy(stage.home, champion("v2"))
        with restarted(stage, Fallback(decision=True)) as service:
            assert service.predict(MODEL, requests("Pune")).causes == ["model_failed"]
            write_bundle(stage.project, stage.home, "v2")
            assert service.refresh()
            found = service.predict(MODEL, requests("Pune"))
            assert (found.versions, found.causes) == (["v2"], [None])
            damage(stage, "v2")
            deploy(stage.home, champion("v3"))
            assert not service.refresh()  # what serves is better than the fallback
            assert service.predict(MODEL, requests("Pune")).causes == [None]


def test_a_restart_leaves_a_challenger_out_that_cannot_be_loaded(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        deploy(stage.home, champion("v1"), Assignment("v9", "challenger", 1.0))
        with restarted(stage, None) as service:
            assert service.predict(MODEL, requests("Pune")).roles == ["champion"]
            assert service.standing.ready().problems[MODEL].startswith("challenger v9 left out: UnknownBundle")


def test_clients_learn_no_paths_or_digests(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        damage(stage, "v1")
        with (
            restarted(stage, None) as service,
            app_client(build_router(service, ServingMetrics(), stage.clock)) as client,
        ):
            with pytest.raises(NoChampion, match="generation 1 could not be loaded: BundleCorrupt"):
                service.predict(MODEL, requests("Pune"))
            for told in (client.post(f"/v1/models/{MODEL}/predict", json=ROW), client.get("/readyz")):
                assert told.status_code == 503
                assert "BundleCorrupt" in told.text
                assert str(tmp_path) not in told.text
                assert "sha256" not in told.text
            assert str(tmp_path) in service.problems()[MODEL]


def test_reasons_are_asked_of_nobody_who_is_not_there(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        damage(stage, "v1")
        with restarted(stage, Fallback(decision=True)) as service:
            question = service.ask_rows(MODEL, [("Pune", 6.0, 2, True)])
            found, reasons = service.answer_with_reasons(question, 3)
            assert (found.causes, reasons) == (["model_failed"], [[]])
