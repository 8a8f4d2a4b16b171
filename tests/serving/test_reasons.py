"""Why a score is what it is: contributions that add up to it, the strongest first, in the words of the definition."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from app_client import AppClient, app_client
from attrs import evolve
from serving_project import MODEL, Stage, open_stage, rule, trip

from charkha.bundles.estimators import CatBoost, LightGBM, Linear, XGBoost
from charkha.bundles.manifest import RuleSpec
from charkha.bundles.predictor import Explainer, load_predictor
from charkha.features.expressions import expression_to_json
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.checks.models import model_faults
from charkha.spec.model import Estimator, FloatArray, Lesson, Task
from charkha.spec.rules import score

PREDICT = f"/v1/models/{MODEL}/predict"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path) as opened:
        late = evolve(opened.project.models[MODEL], reasons={"traffic": "the traffic of the last hours"})
        opened.service.project = evolve(opened.project, models={**opened.project.models, MODEL: late})
        opened.service.push("trips", [trip(1), trip(2), trip(3)])
        yield opened


@pytest.fixture
def client(stage: Stage) -> Iterator[AppClient]:
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as opened:
        yield opened


def test_reasons_are_what_moved_the_score_most(client: AppClient) -> None:
    found = client.post(f"{PREDICT}?reasons=2", json={"rows": [ROW, {**ROW, "city": None}]}).json()["predictions"]
    first, second = found
    assert first["reasons"] == [
        {"feature": "traffic.count_1h", "value": 3.0, "contribution": 1.5, "text": "the traffic of the last hours"},
        {"feature": "traffic.driver", "value": "ann", "contribution": 0.25, "text": "the traffic of the last hours"},
    ]
    log_odds = np.log(first["score"] / (1 - first["score"]))
    assert sum(each["contribution"] for each in first["reasons"]) - 1.0 == pytest.approx(log_odds)
    assert second["reasons"] == []


def test_without_asking_there_are_none(client: AppClient) -> None:
    assert "reasons" not in client.post(PREDICT, json=ROW).json()
    assert len(client.post(f"{PREDICT}?reasons=1", json=ROW).json()["reasons"]) == 1


def test_a_rule_that_held_says_why_where_reasons_are_asked_for(tmp_path: Path) -> None:
    far = RuleSpec("far", expression_to_json(pl.col("km") > 100), False, "nobody goes that far")
    likely = rule("likely", score() > 0.0)
    with (
        open_stage(tmp_path, rules=[far, likely]) as stage,
        app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as client,
    ):
        rows = {"rows": [ROW, {**ROW, "km": 500.0}]}
        near, distant = client.post(f"{PREDICT}?reasons=1", json=rows).json()["predictions"]
        assert (near["rules"], near["rule_reasons"]) == (["likely"], {})
        assert (distant["rules"], distant["rule_reasons"]) == (["far", "likely"], {"far": "nobody goes that far"})
        assert "rule_reasons" not in client.post(PREDICT, json=ROW).json()
        ((version,),) = (each["versions"] for each in client.get("/v1/models").json()["models"] if each["versions"])
        assert version["rules"] == [
            {"rule": "far", "decision": False, "shadow": False, "reason": "nobody goes that far"},
            {"rule": "likely", "decision": True, "shadow": False, "reason": ""},
        ]


@pytest.mark.parametrize("asked", ["0", "51", "-1", "many", "", "1&reasons=2", "1" * 400])
def test_an_odd_number_of_reasons_is_refused(client: AppClient, asked: str) -> None:
    reply = client.post(f"{PREDICT}?reasons={asked}", json=ROW)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_query")


def test_texts_are_of_features_that_there_are(stage: Stage) -> None:
    model = stage.project.models[MODEL]
    said = [str(fault) for fault in model_faults(evolve(model, reasons={"trafic": "jam", "traffic.count_1h": ""}))]
    assert any("got 'trafic'. Did you mean 'traffic'?" in each for each in said)
    assert any("traffic.count_1h" in each for each in said)
    assert list(model_faults(evolve(model, reasons={"traffic.count_1h": "many trips"}))) == list(model_faults(model))


@pytest.mark.parametrize("estimator", [Linear(), LightGBM(trees=20), XGBoost(trees=20), CatBoost(trees=20)])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_contributions_add_up_to_the_score(estimator: Estimator, task: Task) -> None:
    random = np.random.default_rng(3)
    matrix = random.normal(size=(400, 4))
    matrix[:, 3] = random.integers(0, 3, 400)
    matrix[random.random((400, 4)) < 0.1] = np.nan
    value = np.nan_to_num(matrix[:, 0]) + (matrix[:, 3] == 1)
    labels = (value > 0.5).astype(float) if task == "binary" else value
    rows = (matrix, labels)
    state = estimator.fit(Lesson(task, rows, (matrix[:100], labels[:100]), (3,), 7))
    predictor = load_predictor(estimator.kind, state)
    assert isinstance(predictor, Explainer)
    total = predictor.contributions(matrix).sum(axis=1)
    scores = predictor.predict(matrix)
    np.testing.assert_allclose(1 / (1 + np.exp(-total)) if task == "binary" else total, scores, rtol=1e-4, atol=1e-5)


class Plain:
    """A predictor that cannot take its scores apart."""

    def predict(self, matrix: FloatArray) -> FloatArray:
        return np.zeros(len(matrix))


def test_an_estimator_that_cannot_be_taken_apart_says_so(
    client: AppClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    lineup = stage.service.line_ups()[MODEL]
    monkeypatch.setattr("charkha.bundles.bundle.load_predictor", lambda kind, state: Plain())
    bundle = evolve(lineup.champion.bundle, predictor=Plain())
    evolved = evolve(lineup, champion=evolve(lineup.champion, bundle=bundle))
    monkeypatch.setattr(stage.service, "_lineups", {MODEL: evolved})
    reply = client.post(f"{PREDICT}?reasons=1", json=ROW)
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "not_explainable")
    assert list(stage.home.log.read(prediction_stream(MODEL))) == []
