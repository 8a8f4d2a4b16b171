"""Features of a challenger are computed for calls of which it answers a row: no others wait for them."""

import pytest
from attrs import evolve
from serving_project import MODEL, Stage, deploy, requests, write_bundle

from charkha.features.online import online_columns
from charkha.features.plan import FeaturePlan, plan_features
from charkha.serving import scoring
from charkha.storage.ledger import Assignment

CITIES = [f"city {number}" for number in range(30)]


@pytest.fixture
def computed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plans whose features are computed, in turn; v2 has another plan than v1."""
    late = stage.project.models[MODEL]
    fewer = evolve(late, features=late.features[:2])
    write_bundle(evolve(stage.project, models={MODEL: fewer}), stage.home, "v2")
    of_plan = {plan_features(model).to_json(): version for model, version in ((late, "v1"), (fewer, "v2"))}
    found: list[str] = []

    def counted(plan: FeaturePlan, *arguments: object) -> object:
        found.append(of_plan[plan.to_json()])
        return online_columns(plan, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "online_columns", counted)
    return found


def test_who_meets_the_champion_does_not_wait_for_a_challenger(stage: Stage, computed: list[str]) -> None:
    deploy(stage.home, Assignment("v1", "champion", 0.5), Assignment("v2", "challenger", 0.5))
    stage.service.refresh()
    answered: set[str] = set()
    for city in CITIES:
        computed.clear()
        (version,) = stage.service.predict(MODEL, requests(city)).versions
        answered.add(version)
        assert computed == (["v1"] if version == "v1" else ["v1", "v2"])
    assert answered == {"v1", "v2"}


def test_a_shadow_of_another_plan_has_its_features_computed_once(stage: Stage, computed: list[str]) -> None:
    deploy(stage.home, Assignment("v1", "champion"), Assignment("v2", "shadow"))
    stage.service.refresh()
    computed.clear()
    stage.service.predict(MODEL, requests("Pune"))
    assert computed == ["v1", "v2"]


def test_a_shadow_that_has_the_plan_of_a_challenger_needs_no_answer_of_that(stage: Stage, computed: list[str]) -> None:
    late = stage.project.models[MODEL]
    write_bundle(
        evolve(stage.project, models={MODEL: evolve(late, features=late.features[:2])}), stage.home, "v3", intercept=1.0
    )
    serving = Assignment("v1", "champion", 0.5), Assignment("v2", "challenger", 0.5), Assignment("v3", "shadow")
    deploy(stage.home, *serving)
    stage.service.refresh()
    for city in CITIES:
        computed.clear()
        stage.service.predict(MODEL, requests(city))
        assert computed == ["v1", "v2"]
