"""Fixtures of the tests of serving; a test of other needs has its own of the same name."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_project import Stage, champion, deploy, open_stage, write_bundle, write_project

from charkha.serving import backoff
from charkha.serving.metrics import ServingMetrics
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home


@pytest.fixture
def metrics() -> ServingMetrics:
    return ServingMetrics()


@pytest.fixture
def stage(tmp_path: Path, metrics: ServingMetrics) -> Iterator[Stage]:
    """An open project whose service is observed by `metrics`."""
    with open_stage(tmp_path, metrics) as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project on disk, for servers in processes of their own, with a champion "v1"."""
    made = write_project(tmp_path)
    with open_home(made.home) as home:
        write_bundle(made, home, "v1")
        deploy(home, champion("v1"))
    return made


@pytest.fixture
def home(project: Project) -> Iterator[Home]:
    """The home of `project`, open."""
    with open_home(project.home) as opened:
        yield opened


class Watch:
    """A watch that is told the time (s)."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """By which what failed is due to be tried again."""
    made = Watch()
    monkeypatch.setattr(backoff, "monotonic", made)
    return made
