"""The service: who answers, what is logged, what follows the ledger, and what a failing version may not do."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from serving_project import (
    HOUR_US,
    NOW_US,
    Stage,
    champion,
    deploy,
    open_stage,
    requests,
    rule,
    schema_of,
    trip,
    write_bundle,
    write_project,
)

from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.features.evaluate import Failure
from charkha.features.offline import offline_features
from charkha.features.plan import plan_features
from charkha.features.rows import read_rows
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.lineup import LineUp, Player
from charkha.serving.observer import Stages
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_ids import InvalidPredictionId
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.routing import position
from charkha.serving.scoring import Part
from charkha.serving.service import NoChampion, Service, UnknownModel, WrongRequest
from charkha.spec.project import Project, load_project
from charkha.storage.ledger import Assignment

MODEL = "late_trip"


class Notes:
    """The observer that remembers."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.generations: list[int] = []
        self.calls: list[int] = []
        self.stages: list[Stages] = []
        self.unlogged: list[tuple[str, int, bool]] = []
        self.left_out = 0
        self.not_evaluated_rows: dict[str, int] = {}
        self.fallbacks: list[tuple[str, str, int]] = []

    def predicted(self, model: str, rows: int, latency_us: int) -> None:
        self.calls.append(rows)

    def staged(self, model: str, stages: Stages) -> None:
        self.stages.append(stages)

    def failed(self, model: str, player: Player, error: Exception) -> None:
        self.failures.append((player.version, str(error)))

    def fell_back(self, model: str, cause: str, rows: int) -> None:
        self.fallbacks.append((model, cause, rows))

    def not_evaluated(self, model: str, failure: Failure, time_us: int) -> None:
        self.not_evaluated_rows[failure.name] = self.not_evaluated_rows.get(failure.name, 0) + failure.rows

    def ruled(self, model: str, parts: Sequence[Part]) -> None:
        pass

    def shadows_left_out(self, model: str, rows: int) -> None:
        self.left_out += rows

    def queued(self, model: str, rows: int) -> None: ...

    def shed(self, model: str) -> None: ...

    def not_logged(self, model: str, reason: str, rows: int, *, refused: bool) -> None:
        self.unlogged.append((reason, rows, refused))

    def logs_again(self, model: str) -> None:
        self.unlogged.clear()

    def deployed(self, lineup: LineUp) -> None:
        self.generations.append(lineup.generation)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def stage(tmp_path: Path, notes: Notes) -> Iterator[Stage]:
    with open_stage(tmp_path, notes) as opened:
        yield opened


def logged(stage: Stage, model: str = MODEL) -> pl.DataFrame:
    return decode_predictions(stage.home.log.read(prediction_stream(model)), BundleStore(stage.home.bundles))


def break_model(home_bundles: Path, version: str) -> None:
    """Damage the estimator of a version."""
    file = home_bundles / MODEL / version / "estimator.bin"
    file.write_bytes(file.read_bytes()[:-1])


def test_a_call_is_answered_and_logged(stage: Stage, notes: Notes) -> None:
    stage.service.push("trips", [trip(1), trip(2), trip(3, "Delhi")])
    answers = stage.service.predict(MODEL, requests("Pune", "Delhi", None))
    log_odds = np.array([-1 + 1.0 + 0.25, -1 + 0.5 + 0.25, -1.0])
    np.testing.assert_allclose(answers.scores, 1 / (1 + np.exp(-log_odds)), rtol=1e-12)
    assert answers.decisions == [True, False, False]
    assert (answers.versions, answers.roles, answers.time_us) == (["v1"] * 3, ["champion"] * 3, NOW_US)
    frame = logged(stage)
    assert frame["id"].to_list() == answers.ids
    assert frame["score"].to_list() == answers.scores.tolist()
    assert frame["decision"].to_list() == answers.decisions
    assert frame["request.city"].to_list() == ["Pune", "Delhi", None]
    assert frame["traffic.count_1h"].to_list() == [2.0, 1.0, None]
    assert frame["traffic.driver"].to_list() == ["ann", "ann", None]
    assert frame["sky.rain"].to_list() == [2.5, None, None]
    assert frame["_at_us"].to_list() == [NOW_US] * 3
    assert notes.calls == [3]
    (stages,) = notes.stages
    assert list(stages) == sorted(set(stages))


def test_logged_features_equal_their_offline_recomputation(stage: Stage) -> None:
    for number in range(5):
        stage.clock.advance_to(NOW_US + number * HOUR_US // 2)
        stage.service.push("trips", [trip(number, ended_us=stage.clock.now() - 1)])
        stage.service.predict(MODEL, requests("Pune"))
    frame = logged(stage)
    model = stage.project.models[MODEL]
    spine = frame.select(
        *(pl.col(f"request.{name}").alias(name) for name in model.request),
        pl.from_epoch("_at_us", "us").dt.replace_time_zone("UTC").alias("asked_at"),
        "_at_us",
    )
    rows = {s.name: read_rows(s, stage.project.root, stage.home.log) for s in model.sources}
    offline = offline_features(plan_features(model), spine, rows, LocalEngine())
    for column in offline.columns:
        expected = offline[column].to_list()
        found = frame[column].to_list()
        assert found == (expected if column == "traffic.driver" else pytest.approx(expected, rel=1e-9)), column


def test_a_clock_that_is_set_back_makes_no_skew(stage: Stage) -> None:
    stage.service.push("trips", [trip(1, ended_us=NOW_US)])
    back = Service(stage.project, stage.home, SimulatedClock(NOW_US - 120_000_000), "w1")
    back.refresh()
    back.push("trips", [trip(2, ended_us=NOW_US)])
    found = back.predict(MODEL, requests("Pune"))
    back.close()
    assert found.time_us == NOW_US  # as late as the newest row that it has seen
    frame = logged(stage)
    assert frame["traffic.count_1h"].to_list() == [2.0]
    model = stage.project.models[MODEL]
    spine = frame.select(
        *(pl.col(f"request.{name}").alias(name) for name in model.request),
        pl.from_epoch("_at_us", "us").dt.replace_time_zone("UTC").alias("asked_at"),
        "_at_us",
    )
    rows = {s.name: read_rows(s, stage.project.root, stage.home.log) for s in model.sources}
    assert offline_features(plan_features(model), spine, rows, LocalEngine())["traffic.count_1h"].to_list() == [2.0]


def test_shadows_score_every_row_unheard(stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2", intercept=3.0)
    deploy(stage.home, champion("v1"), Assignment("v2", "shadow", 1.0))
    assert stage.service.refresh()
    answers = stage.service.predict(MODEL, requests("Pune", "Delhi"))
    assert set(answers.versions) == {"v1"}
    frame = logged(stage)
    by_role = {role: part for (role,), part in frame.group_by("role", maintain_order=True)}
    assert by_role["champion"]["id"].to_list() == by_role["shadow"]["id"].to_list() == answers.ids
    assert (by_role["shadow"]["score"] > 0.9).all()
    assert (by_role["shadow"]["version"] == "v2").all()
    features = list(plan_features(stage.project.models[MODEL]).names)
    assert by_role["champion"].select(features).equals(by_role["shadow"].select(features))
    assert (
        len(list(stage.home.log.read(prediction_stream(MODEL)))) == 2
    )  # the answers, and what the shadow made of them


def test_challengers_answer_their_share_stickily(stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2", intercept=3.0)
    deploy(stage.home, Assignment("v1", "champion", 0.7), Assignment("v2", "challenger", 0.3))
    stage.service.refresh()
    cities = [f"city {number}" for number in range(40)]
    expected = ["v2" if position(MODEL, (city,)) < 0.3 else "v1" for city in cities]
    assert set(expected) == {"v1", "v2"}
    for _ in range(2):
        answers = stage.service.predict(MODEL, requests(*cities))
        assert answers.versions == expected
        assert answers.roles == ["challenger" if version == "v2" else "champion" for version in expected]
        assert ((answers.scores > 0.9) == (np.array(expected) == "v2")).all()
    frame = logged(stage)
    assert frame["version"].to_list() == expected * 2
    assert frame["score"].to_list()[40:] == answers.scores.tolist()
    assert frame["request.city"].to_list() == cities * 2


def test_rules_decide_before_the_score(stage: Stage) -> None:
    far = rule("far", pl.col("km") > 5)
    calm = rule("calm", pl.col("traffic.count_1h") == 0, decide=False)
    write_bundle(stage.project, stage.home, "v2", rules=[calm, far])
    deploy(stage.home, champion("v2"))
    stage.service.refresh()
    stage.service.push("trips", [trip(1, "Delhi")])
    answers = stage.service.predict(MODEL, requests("Pune", "Delhi"))
    assert answers.decisions == [False, True]
    assert answers.rules == [("calm", "far"), ("far",)]
    assert logged(stage)["rules"].to_list() == [["calm", "far"], ["far"]]


def test_a_regression_decides_nothing(stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v1", intercept=7.0, name="how_far")
    deploy(stage.home, champion("v1"), model="how_far")
    stage.service.refresh()
    answers = stage.service.predict("how_far", pl.DataFrame({"city": ["Pune"], "stops": [2]}))
    assert (answers.scores.tolist(), answers.decisions) == ([7.0], [None])
    assert logged(stage, "how_far")["decision"].to_list() == [None]


@pytest.mark.parametrize("role", ["shadow", "challenger"])
def test_a_version_that_fails_never_fails_the_answer(stage: Stage, notes: Notes, role: str) -> None:
    write_bundle(stage.project, stage.home, "v2")
    deploy(stage.home, champion("v1"), Assignment("v2", role, 1.0))  # type: ignore[arg-type]
    stage.service.refresh()
    lineup = stage.service.line_ups()[MODEL]
    (failing,) = (*lineup.challengers, *lineup.shadows)
    failing.bundle.predictor._state = None  # type: ignore[attr-defined]
    answers = stage.service.predict(MODEL, requests("Pune", "Delhi"))
    assert (answers.versions, answers.roles) == (["v1", "v1"], ["champion", "champion"])
    assert [version for version, _ in notes.failures] == ["v2"]
    assert logged(stage)["version"].to_list() == ["v1", "v1"]


def test_a_champion_that_fails_raises_and_logs_nothing(stage: Stage) -> None:
    stage.service.line_ups()[MODEL].champion.bundle.predictor._state = None  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        stage.service.predict(MODEL, requests("Pune"))
    assert logged(stage).is_empty()


def test_refresh_follows_the_ledger_and_says_whether_it_changed(stage: Stage, notes: Notes) -> None:
    assert not stage.service.refresh()
    write_bundle(stage.project, stage.home, "v2")
    deploy(stage.home, champion("v2"))
    assert stage.service.refresh()
    assert not stage.service.refresh()
    assert stage.service.predict(MODEL, requests("Pune")).versions == ["v2"]
    deploy(stage.home, champion("v1"))
    assert stage.service.refresh()
    assert stage.service.predict(MODEL, requests("Pune")).versions == ["v1"]
    assert notes.generations == [1, 2, 3]


def test_a_deployment_that_cannot_be_loaded_leaves_the_former_one(stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2")
    break_model(stage.home.bundles, "v2")
    deploy(stage.home, champion("v2"))
    assert not stage.service.refresh()
    assert stage.service.predict(MODEL, requests("Pune")).versions == ["v1"]
    state = stage.service.standing.ready()
    assert state.ready  # as are all servers: they follow one ledger
    assert state.problems[MODEL].startswith("generation 2 could not be loaded: BundleCorrupt")
    assert "estimator.bin" not in state.problems[MODEL]
    assert "estimator.bin" in stage.service.problems()[MODEL]
    deploy(stage.home, champion("v1"))
    assert stage.service.refresh()
    assert stage.service.standing.ready().ready


def test_a_deployment_is_tried_again_until_it_loads(stage: Stage) -> None:
    deploy(stage.home, champion("v2"))
    assert not stage.service.refresh()
    write_bundle(stage.project, stage.home, "v2")
    assert stage.service.refresh()
    assert stage.service.standing.ready().champions[MODEL] == "v2"


def test_a_shadow_that_cannot_be_loaded_is_left_out(stage: Stage) -> None:
    deploy(stage.home, champion("v1"), Assignment("v9", "shadow", 1.0))
    assert stage.service.refresh()
    assert stage.service.predict(MODEL, requests("Pune")).versions == ["v1"]
    assert "v9" in stage.service.standing.ready().problems[MODEL]


def changed_project(folder: Path, old: str, new: str) -> Project:
    """Return the project with another definition, from a folder of its own."""
    folder.mkdir()
    write_project(folder)
    definition = folder / "definition.py"
    assert old in definition.read_text()
    definition.write_text(definition.read_text().replace(old, new))
    return load_project(folder)


def test_a_version_trained_on_other_request_fields_is_refused(stage: Stage, tmp_path: Path) -> None:
    """The definition lost a field which the champion was trained with."""
    narrower = changed_project(tmp_path / "narrower", '"stops", "pooled"],', '"stops"],')
    service = Service(narrower, stage.home, stage.clock, "w1")
    assert not service.refresh()
    assert "['pooled']" in service.standing.ready().problems[MODEL]
    with pytest.raises(NoChampion, match="pooled"):
        service.predict(MODEL, requests("Pune"))
    service.close()


def test_a_shadow_with_other_features_gets_its_own(stage: Stage, tmp_path: Path) -> None:
    other = changed_project(tmp_path / "other", 'hour=pl.col("asked_at").dt.hour()', 'doubled=pl.col("km") * 2')
    write_bundle(other, stage.home, "v2")
    deploy(stage.home, champion("v1"), Assignment("v2", "shadow", 1.0))
    stage.service.refresh()
    stage.service.predict(MODEL, requests("Pune"))
    frame = logged(stage)
    seen = frame.select("role", "ask.hour", "ask.doubled", "ask.per_stop").rows()
    assert seen == [("champion", 12.0, None, 3.0), ("shadow", None, 12.0, 3.0)]


def test_a_shadow_whose_features_fail_never_fails_the_answer(stage: Stage, notes: Notes, tmp_path: Path) -> None:
    other = changed_project(tmp_path / "other", 'hour=pl.col("asked_at").dt.hour()', 'doubled=pl.col("km") * 2')
    write_bundle(other, stage.home, "v2")
    deploy(stage.home, champion("v1"), Assignment("v2", "shadow", 1.0))
    stage.service.refresh()
    lineup = stage.service.line_ups()[MODEL]
    whole, other_plan = lineup.plans
    broken = evolve(other_plan, expressions={**other_plan.expressions, "ask.doubled": pl.col("no such column") * 2})
    object.__setattr__(lineup, "plans", (whole, broken))
    assert stage.service.predict(MODEL, requests("Pune")).versions == ["v1"]
    assert [version for version, _ in notes.failures] == ["v2"]
    assert logged(stage)["role"].to_list() == ["champion"]


def test_a_feature_that_cannot_be_evaluated_is_null_or_its_default(stage: Stage, notes: Notes, tmp_path: Path) -> None:
    fails = 'code=pl.col("city").cast(pl.Int64), zone=pl.col("city").cast(pl.Int64) + 1, defaults={"zone": 99}'
    odd = changed_project(tmp_path / "odd", 'hour=pl.col("asked_at").dt.hour()', fails)
    write_bundle(odd, stage.home, "v2", rules=[rule("far", pl.col("city").cast(pl.Int64) > 0)])
    write_bundle(odd, stage.home, "v3", intercept=1.0)
    deploy(stage.home, champion("v2"), Assignment("v3", "shadow", 1.0))
    stage.service.refresh()
    answered = stage.service.predict(MODEL, requests("Pune", "7", None, "Delhi"))
    frame = logged(stage).filter(role="champion")
    assert frame["ask.code"].to_list() == [None, 7.0, None, None]
    assert frame["ask.zone"].to_list() == [99.0, 8.0, None, 99.0]
    assert [list(hits) for hits in answered.rules] == [[], ["far"], [], []]
    assert notes.failures == []
    # Once, although the shadow computes them too.
    assert notes.not_evaluated_rows == {"ask.code": 2, "ask.zone": 2, "rule far": 2}


def test_odd_rows_of_one_call_do_not_touch_another(stage: Stage, notes: Notes, tmp_path: Path) -> None:
    odd = changed_project(tmp_path / "odd", 'pl.col("asked_at").dt.hour()', 'pl.col("city").cast(pl.Int64)')
    write_bundle(odd, stage.home, "v2")
    deploy(stage.home, champion("v2"))
    stage.service.refresh()
    questions = [stage.service.ask(MODEL, requests(*cities)) for cities in (("7", "8"), ("Pune",), ("9",))]
    assert [len(answers.ids) for answers in stage.service.answer(questions)] == [2, 1, 1]
    assert logged(stage)["ask.hour"].to_list() == [7.0, 8.0, None, 9.0]
    assert notes.not_evaluated_rows == {"ask.hour": 1}


def test_a_deployment_of_nobody_serves_nobody(stage: Stage) -> None:
    deploy(stage.home)
    assert stage.service.refresh()
    assert stage.service.standing.ready().champions[MODEL] is None
    assert not stage.service.standing.ready().ready
    with pytest.raises(NoChampion):
        stage.service.predict(MODEL, requests("Pune"))


def test_what_is_not_there_is_refused_by_name(stage: Stage) -> None:
    with pytest.raises(UnknownModel, match=r"expected one of the models .*'how_far', 'late_trip'.*got 'early'"):
        stage.service.predict("early", requests("Pune"))
    with pytest.raises(NoChampion, match="charkha train how_far"):
        stage.service.predict("how_far", requests("Pune"))
    with pytest.raises(WrongRequest, match=r"\['km'\]"):
        stage.service.predict(MODEL, requests("Pune").drop("km"))
    with pytest.raises(UnknownModel):
        stage.service.label("early", [], [])
    with pytest.raises(ValueError, match="at least one request"):
        stage.service.predict(MODEL, requests())


def test_columns_may_come_in_any_order_and_more_of_them(stage: Stage) -> None:
    shuffled = requests("Pune").select("stops", "pooled", pl.lit(1).alias("other"), "km", "city")
    straight = stage.service.predict(MODEL, requests("Pune"))
    assert stage.service.predict(MODEL, shuffled).scores.tolist() == straight.scores.tolist()


def test_labels_are_logged_as_known_now(stage: Stage) -> None:
    ids = stage.service.predict(MODEL, requests("Pune", "Delhi")).ids
    stage.clock.advance_to(NOW_US + HOUR_US)
    assert stage.service.label(MODEL, ids, [1.0, 0.0]) == 2
    assert stage.service.label(MODEL, ids[:1], [0.0]) == 1
    frame = decode_labels(stage.home.log.read(label_stream(MODEL)))
    known = NOW_US + HOUR_US
    assert frame.rows() == [(ids[0], 1.0, known), (ids[1], 0.0, known), (ids[0], 0.0, known)]
    with pytest.raises(InvalidPredictionId):
        stage.service.label(MODEL, ["nonsense"], [1.0])


def test_threads_may_predict_push_label_and_refresh_at_once(stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2")
    ids: list[str] = []
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            for call in range(15):
                answers = stage.service.predict(MODEL, requests("Pune", "Delhi"))
                stage.service.push("trips", [trip(number * 100 + call)])
                stage.service.label(MODEL, answers.ids, [1.0, 0.0])
                ids.extend(answers.ids)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for swap in range(6):
        deploy(stage.home, champion("v2" if swap % 2 else "v1"))
        stage.service.refresh()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(logged(stage)["id"]) == sorted(ids)
    assert sorted(decode_labels(stage.home.log.read(label_stream(MODEL)))["id"]) == sorted(ids)
    assert read_rows(stage.project.sources["trips"], stage.project.root, stage.home.log).height == 60


def test_the_order_of_the_matrix_is_the_plans(stage: Stage) -> None:
    model = stage.project.models[MODEL]
    assert schema_of(model).names == plan_features(model).names


def test_questions_answered_together_are_answered_as_if_alone(stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2", intercept=3.0)
    deploy(stage.home, Assignment("v1", "champion", 0.5), Assignment("v2", "challenger", 0.5))
    stage.service.refresh()
    alone, questions = [], []
    asked: list[list[str | None]] = [["Pune"], ["Delhi", None, "Goa"], ["Pune", "Agra"]]
    for number, cities in enumerate(asked):
        stage.clock.advance_to(NOW_US + number * HOUR_US // 2)
        stage.service.push("trips", [trip(number, "Pune", ended_us=stage.clock.now() - 1)])
        questions.append(stage.service.ask(MODEL, requests(*cities)))
        alone.append(stage.service.predict(MODEL, requests(*cities)))
    together = stage.service.answer(questions)
    for one, other in zip(together, alone, strict=True):
        assert (one.scores.tolist(), one.decisions, one.versions) == (
            other.scores.tolist(),
            other.decisions,
            other.versions,
        )
        assert (one.roles, one.rules, one.time_us) == (other.roles, other.rules, other.time_us)
    frame = logged(stage)
    ids = [each for answers in together for each in answers.ids]
    features = list(plan_features(stage.project.models[MODEL]).names)
    first, second = frame.filter(~pl.col("id").is_in(ids)), frame.filter(pl.col("id").is_in(ids))
    assert second["id"].to_list() == ids
    assert first.select("_at_us", "score", *features).equals(second.select("_at_us", "score", *features))


def test_no_questions_have_no_answers(stage: Stage) -> None:
    assert stage.service.answer([]) == []
    assert logged(stage).is_empty()


def test_questions_to_several_line_ups_are_not_answered_together(stage: Stage) -> None:
    before = stage.service.ask(MODEL, requests("Pune"))
    write_bundle(stage.project, stage.home, "v2")
    deploy(stage.home, champion("v2"))
    stage.service.refresh()
    with pytest.raises(ValueError, match="expected questions to one line-up"):
        stage.service.answer([before, stage.service.ask(MODEL, requests("Pune"))])
    assert logged(stage).is_empty()
