"""Challengers, shadows and a former champion that cannot be loaded are left out, and come back once they can be."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving_fixtures import Watch
from serving_project import MODEL, Stage, champion, deploy, open_stage, requests, write_bundle

from charkha.bundles.store import BundleStore
from charkha.serving.backoff import Backoff
from charkha.serving.service import Service
from charkha.spec.policies import Fallback
from charkha.storage.ledger import Assignment

CHALLENGER = Assignment("v8", "challenger", 1.0)
SHADOW = Assignment("v9", "shadow")


@contextmanager
def started(stage: Stage) -> Iterator[Service]:
    """Open a service as a new worker would."""
    service = Service(stage.project, stage.home, stage.clock, "w1")
    service.refresh()
    yield service
    service.close()


def roles(service: Service) -> dict[str, str]:
    return {player.version: player.role for player in service.line_ups()[MODEL].players}


def test_a_challenger_and_a_shadow_are_tried_again_after_a_start(tmp_path: Path, watch: Watch) -> None:
    with open_stage(tmp_path) as stage:
        deploy(stage.home, champion("v1"), CHALLENGER, SHADOW)
        with started(stage) as service:
            assert roles(service) == {"v1": "champion"}
            write_bundle(stage.project, stage.home, "v8")
            assert not service.refresh()  # not yet due
            watch.seconds += 1
            assert service.refresh()
            assert roles(service) == {"v1": "champion", "v8": "challenger"}
            assert service.predict(MODEL, requests("Pune")).versions == ["v8"]
            assert service.standing.ready().problems[MODEL].startswith("shadow v9 left out: UnknownBundle")
            write_bundle(stage.project, stage.home, "v9")
            watch.seconds += 1
            assert service.refresh()
            assert roles(service) == {"v1": "champion", "v8": "challenger", "v9": "shadow"}
            assert service.standing.ready().problems == {}
            watch.seconds += 100
            assert not service.refresh()


def test_a_shadow_is_tried_again_after_a_swap(tmp_path: Path, watch: Watch) -> None:
    with open_stage(tmp_path) as stage:
        deploy(stage.home, champion("v1"), SHADOW)
        stage.service.refresh()
        assert roles(stage.service) == {"v1": "champion"}
        write_bundle(stage.project, stage.home, "v9")
        watch.seconds += 1
        assert stage.service.refresh()
        assert roles(stage.service) == {"v1": "champion", "v9": "shadow"}


def test_the_champion_before_is_tried_again(tmp_path: Path, watch: Watch) -> None:
    with open_stage(tmp_path, fallback=Fallback(decision=True, previous=True)) as stage:
        write_bundle(stage.project, stage.home, "v2")
        deploy(stage.home, champion("v2"))
        kept = shutil.move(stage.home.bundles / MODEL / "v1", tmp_path / "v1")
        with started(stage) as service:
            assert service.line_ups()[MODEL].former is None
            assert service.standing.ready().problems[MODEL].startswith("fallback v1 left out")
            shutil.move(kept, stage.home.bundles / MODEL / "v1")
            watch.seconds += 1
            assert service.refresh()
            former = service.line_ups()[MODEL].former
            assert former is not None
            assert former.version == "v1"


def test_they_are_tried_ever_more_seldom(tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_stage(tmp_path) as stage:
        deploy(stage.home, champion("v1"), SHADOW)
        stage.service.refresh()
        tried: list[float] = []
        read = BundleStore.read

        def noted(store: BundleStore, model: str, version: str) -> object:
            if version == SHADOW.version:
                tried.append(watch.seconds - 1000)
            return read(store, model, version)

        monkeypatch.setattr(BundleStore, "read", noted)
        for _ in range(300):
            watch.seconds += 1
            stage.service.refresh()
        assert tried == [1, 3, 7, 15, 31, 63, 123, 183, 243]
        deploy(stage.home, champion("v1"))
        stage.service.refresh()
        watch.seconds += 100
        stage.service.refresh()
        assert len(tried) == 9
        assert stage.service.standing.ready().problems == {}


def test_who_answers_goes_on_though_those_left_out_cannot_be_added(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_stage(tmp_path) as stage:
        deploy(stage.home, champion("v1"), SHADOW)
        with started(stage) as service:
            write_bundle(stage.project, stage.home, "v9")
            with monkeypatch.context() as broken:
                broken.setattr("charkha.serving.service.warm", raises)
                watch.seconds += 1
                assert not service.refresh()
            assert roles(service) == {"v1": "champion"}
            assert "those left out were tried again: RuntimeError" in service.standing.ready().problems[MODEL]
            watch.seconds += 2
            assert service.refresh()
            assert roles(service) == {"v1": "champion", "v9": "shadow"}


def raises(*_: object) -> None:
    raise RuntimeError("odd")


def test_what_failed_is_due_in_a_second_then_twice_as_late(watch: Watch) -> None:
    again = Backoff()
    assert not again.is_due
    watch.seconds += 1
    assert again.is_due
    again.failed()
    watch.seconds += 1
    assert not again.is_due
    watch.seconds += 1
    assert again.is_due
