"""Reasons in bulk: those that a server would give, to the bit, of linear models and of trees; else a refusal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import polars as pl
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_project import HOUR_US, MODEL, NOW_US, Stage, champion, deploy, open_stage, schema_of, trip

from charkha.bundles.estimators import CatBoost, HistGradientBoosting, LightGBM, XGBoost
from charkha.bundles.manifest import EstimatorSpec
from charkha.bundles.predictor import NotExplainable
from charkha.bundles.store import BundleStore
from charkha.engines.local import LocalEngine
from charkha.serving.bulk import answers
from charkha.serving.bulk.explained import Explain
from charkha.serving.bulk.files import ScoringRefused, row_files
from charkha.serving.bulk.run import Scoring, score_files
from charkha.spec.model import Estimator, Lesson
from charkha.storage.parts import PartsRefused

SCHEMA = pl.Schema({"city": pl.String(), "km": pl.Float64(), "stops": pl.Int64(), "pooled": pl.Boolean()})
CITIES = ("Pune", "Delhi", "Goa")
ROW = st.tuples(
    st.sampled_from([*CITIES, "nowhere", None]),
    st.none() | st.floats(-50, 50),
    st.none() | st.integers(-3, 12),
    st.none() | st.booleans(),
)
TEXTS = {"traffic": "the traffic of the last hours", "ask.per_stop": "how far from stop to stop"}
ESTIMATORS: dict[str, Estimator] = {
    "v2": LightGBM(trees=30),
    "v3": XGBoost(trees=30),
    "v4": CatBoost(trees=30),
    "v5": HistGradientBoosting(trees=10),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A project whose versions are a linear model, trees, and trees that cannot be taken apart."""
    with open_stage(tmp_path_factory.mktemp("reasons")) as stage:
        late = evolve(stage.project.models[MODEL], reasons=TEXTS)
        stage.service.project = evolve(stage.project, models={**stage.project.models, MODEL: late})
        for number in range(30):
            stage.clock.advance_to(NOW_US + number * 60_000_000)
            stage.service.push("trips", [trip(number, CITIES[number % 2], ended_us=stage.clock.now())])
        stage.clock.advance_to(NOW_US + HOUR_US // 2)
        for version, estimator in ESTIMATORS.items():
            write_trained(stage, version, estimator)
        yield evolve(stage, project=stage.service.project)


def write_trained(stage: Stage, version: str, estimator: Estimator) -> None:
    """Write a version whose estimator has learnt something from every column."""
    schema = schema_of(stage.project.models[MODEL])
    categorical, columns = schema.categorical, len(schema.columns)
    random = np.random.default_rng(5)
    matrix = random.normal(size=(600, columns)) * 8
    matrix[:, list(categorical)] = random.integers(0, 2, (600, len(categorical)))
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(matrix).sum(axis=1) + random.normal(size=600) > 0).astype(float)
    state = estimator.fit(Lesson("binary", (matrix, labels), (matrix[:100], labels[:100]), categorical, 7))
    bundles = BundleStore(stage.home.bundles)
    manifest = msgspec.structs.replace(
        bundles.manifest(MODEL, "v1"), version=version, estimator=EstimatorSpec(estimator.kind)
    )
    bundles.write(manifest, state, "# A card")


def scoring(stage: Stage, file: Path, **changes: Any) -> Scoring:
    told: dict[str, Any] = {"version": "v1", "engine": LocalEngine(2), "explain": Explain(3, TEXTS), **changes}
    model, files = stage.project.models[MODEL], row_files([str(file)], Path.cwd())
    return Scoring(project=stage.project, home=stage.home, clock=stage.clock, model=model, files=files, **told)


def read(parts: list[Path]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part) for part in parts])


def table(rows: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def in_short(reason: dict[str, Any]) -> tuple[Any, ...]:
    value = reason["category"] if reason["value"] is None else reason["value"]
    return reason["feature"], value, reason["contribution"], reason["text"]


@pytest.mark.parametrize("version", ["v1", "v2", "v3", "v4"])
@given(
    rows=st.lists(ROW, min_size=1, max_size=30),
    most=st.integers(1, 9),
    block=st.integers(1, 31),
    offline=st.booleans(),
)
@settings(max_examples=12)
def test_the_reasons_are_those_of_the_server(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory, version: str, rows: list[Any], most: int, block: int,
    offline: bool,
) -> None:  # fmt: skip
    folder, asked = tmp_path_factory.mktemp("same"), table(rows)
    asked.write_parquet(folder / "rows.parquet")
    if stage.service.line_ups()[MODEL].champion.version != version:
        deploy(stage.home, champion(version))
        stage.service.refresh()
    served, reasons = stage.service.answer_with_reasons(stage.service.ask(MODEL, asked), most)
    as_of = stage.clock.now() if offline else None
    asks = scoring(
        stage, folder / "rows.parquet", version=version, as_of_us=as_of, explain=Explain(most, TEXTS), rows_at_once=17
    )
    with patch.object(answers, "BLOCK", block), patch.object(answers, "CALL", block):
        found = read(score_files(asks, folder / "out"))
    assert found["score"].to_list() == served.scores.tolist()
    told = [[in_short(each) for each in row] for row in found["reasons"].to_list()]
    assert told == [[(each.feature, each.value, each.contribution, each.text) for each in row] for row in reasons]
    assert found.columns == [*SCHEMA, *answers.ANSWER, "reasons", "model", "version"]


def test_reasons_have_values_categories_and_the_words_of_the_definition(stage: Stage, tmp_path: Path) -> None:
    table([("Pune", 6.0, 2, True), ("nowhere", 6.0, 2, True)]).write_parquet(tmp_path / "rows.parquet")
    found = read(score_files(scoring(stage, tmp_path / "rows.parquet"), tmp_path / "out"))
    first, second = found["reasons"].to_list()
    told = {"text": "the traffic of the last hours"}
    assert first[0]["feature"] == "traffic.count_1h"
    assert first[1] == {
        "feature": "traffic.driver", "value": None, "category": "ann", "contribution": 0.25, **told
    }  # fmt: skip
    assert [each["value"] for each in second if each["feature"] == "traffic.count_1h"] in ([], [0.0])


def test_estimators_without_reasons_are_refused_before_anything_is_scored(stage: Stage, tmp_path: Path) -> None:
    table([("Pune", 1.0, 1, None)]).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(
        NotExplainable, match=r"cannot be taken apart feature by feature\. Those of linear, online_linear"
    ):
        score_files(scoring(stage, tmp_path / "rows.parquet", version="v5"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_goes_on_where_it_was_and_refuses_other_reasons(stage: Stage, tmp_path: Path) -> None:
    table([("Pune", 1.0 * n, n, None) for n in range(50)]).write_parquet(tmp_path / "rows.parquet")
    asks = scoring(stage, tmp_path / "rows.parquet", version="v2", rows_at_once=20, as_of_us=NOW_US)
    parts = score_files(asks, tmp_path / "out")
    before = read(parts)
    parts[1].unlink()
    assert read(score_files(asks, tmp_path / "out")).equals(before)
    for other in (None, Explain(2, TEXTS), Explain(3, {})):
        with pytest.raises(PartsRefused, match="those of another: its input, version, time, reasons"):
            score_files(evolve(asks, explain=other), tmp_path / "out")


def test_bad_rows_have_no_reasons_and_no_rows_an_empty_column(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("city,km,stops,pooled\nPune,1.5,2,true\nPune,far,2,\n")
    found = read(score_files(scoring(stage, tmp_path / "a.csv", bad_rows="null"), tmp_path / "odd"))
    assert [each is None for each in found["reasons"].to_list()] == [False, True]
    table([]).write_parquet(tmp_path / "none.parquet")
    for name, changes in {"now": {}, "then": {"as_of_us": NOW_US}}.items():
        empty = read(score_files(scoring(stage, tmp_path / "none.parquet", **changes), tmp_path / name))
        assert (empty.height, empty["reasons"].dtype) == (0, found["reasons"].dtype)
    table([("Pune", 1.0, 1, None)]).with_columns(reasons=1).write_parquet(tmp_path / "clash.parquet")
    with pytest.raises(ScoringRefused, match=r"no columns called as the answers' are, got \['reasons'\]"):
        score_files(scoring(stage, tmp_path / "clash.parquet"), tmp_path / "clash")
