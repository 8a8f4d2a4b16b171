"""When a server says that it is not ready: where another one may do better, and not where all of them fare alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving_project import MODEL, Stage, champion, deploy, open_stage, write_bundle

from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.service import Service
from charkha.spec.policies import Fallback

OTHER = "how_far"


@contextmanager
def started(stage: Stage) -> Iterator[Service]:
    service = Service(stage.project, stage.home, stage.clock, "w1")
    service.refresh()
    yield service
    service.close()


def failing(stage: Stage, metrics: ServingMetrics, model: str) -> bool:
    return f'charkha_deployment_failing{{model="{model}"}} 1.0' in metrics.exposition().decode()


def test_a_deployment_that_fails_makes_no_server_unready_that_answers(stage: Stage, metrics: ServingMetrics) -> None:
    build_router(stage.service, metrics, stage.clock)
    assert not failing(stage, metrics, MODEL)
    deploy(stage.home, champion("v9"))
    stage.service.refresh()
    state = stage.service.standing.ready()
    assert (state.ready, state.champions[MODEL]) == (True, "v1")
    assert "generation 2" in state.problems[MODEL]
    assert failing(stage, metrics, MODEL)
    write_bundle(stage.project, stage.home, "v9")
    stage.service.refresh()
    assert stage.service.standing.ready().problems == {}
    assert not failing(stage, metrics, MODEL)


def test_a_first_deployment_that_fails_takes_no_other_model_along(stage: Stage) -> None:
    deploy(stage.home, champion("v9"), model=OTHER)
    stage.service.refresh()
    state = stage.service.standing.ready()
    assert (state.ready, list(state.problems)) == (True, [OTHER])


def test_a_server_that_lacks_a_model_at_its_start_is_not_ready(stage: Stage) -> None:
    deploy(stage.home, champion("v9"), model=OTHER)
    with started(stage) as service:
        assert not service.standing.ready().ready
        service.refresh()
        assert not service.standing.ready().ready
        write_bundle(stage.project, stage.home, "v9", name=OTHER)
        service.refresh()
        assert service.standing.ready().ready


def test_a_model_on_its_fallback_is_answered_for(tmp_path: Path) -> None:
    with open_stage(tmp_path, fallback=Fallback(decision=True)) as stage:
        deploy(stage.home, champion("v9"))
        with started(stage) as service:
            state = service.standing.ready()
            assert (state.ready, state.champions[MODEL]) == (True, None)
            assert "UnknownBundle" in state.problems[MODEL]
