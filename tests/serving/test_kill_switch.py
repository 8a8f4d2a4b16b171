"""A killed model stays on its fallback, whatever is loaded meanwhile."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving_project import MODEL, champion, deploy, open_stage, requests, write_bundle

from charkha.operations.kill import kill, revive
from charkha.serving.follower import Follower
from charkha.serving.lineup import LineUp
from charkha.serving.observer import Quiet
from charkha.spec.policies import Fallback

FALLBACK = Fallback(decision=True, score=0.9)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Swaps(Quiet):
    """Remembers of each line-up, as it was swapped in, whether it was killed."""

    def __init__(self) -> None:
        self.killed: list[str | None] = []

    def deployed(self, lineup: LineUp) -> None:
        self.killed.append(lineup.killed)


def test_a_promotion_lets_no_killed_model_answer_for_a_moment(tmp_path: Path) -> None:
    swaps = Swaps()
    with open_stage(tmp_path, swaps, FALLBACK) as stage:
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        stage.service.refresh()
        write_bundle(stage.project, stage.home, "v2")
        deploy(stage.home, champion("v2"))
        stage.service.refresh()
    assert swaps.killed == [None, "nonsense", "nonsense"]


def test_a_kill_does_not_wait_for_what_is_being_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loading, may_end = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        loading.set()
        assert may_end.wait(30)

    with open_stage(tmp_path, fallback=FALLBACK) as stage:
        monkeypatch.setattr("charkha.serving.service.warm", slow)
        followers = [Follower(followed, 0.01) for followed in (stage.service.kill_switch, stage.service)]
        for follower in followers:
            follower.start()
        write_bundle(stage.project, stage.home, "v2")
        deploy(stage.home, champion("v2"))
        assert loading.wait(10)
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        killed_at = time.monotonic()
        wait_until(lambda: stage.service.line_ups()[MODEL].killed == "nonsense")
        took_seconds = time.monotonic() - killed_at
        before = stage.service.predict(MODEL, requests("Pune"))
        may_end.set()
        wait_until(lambda: stage.service.line_ups()[MODEL].generation == 2)
        after = stage.service.predict(MODEL, requests("Pune"))
        for follower in followers:
            follower.stop()
    assert took_seconds < 5
    assert (before.versions, before.causes) == (["v1"], ["killed"])
    assert (after.versions, after.causes) == (["v2"], ["killed"])


def test_a_revival_does_not_wait_either(tmp_path: Path) -> None:
    with open_stage(tmp_path, fallback=FALLBACK) as stage:
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        assert stage.service.kill_switch.refresh()
        assert not stage.service.kill_switch.refresh()
        revive(stage.home, stage.clock, MODEL, actor="ann", reason="mended")
        assert stage.service.kill_switch.refresh()
        assert stage.service.predict(MODEL, requests("Pune")).causes == [None]
