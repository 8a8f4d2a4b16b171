"""Rows that were logged and not applied, and no room to apply them: a worker that starts then answers all the same."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from serving_fixtures import Watch
from serving_project import MODEL, NOW_US, Stage, champion, deploy, open_stage, requests, trip, write_bundle

from charkha.features.events import PARTITION, EventBatch, encode_events, event_stream
from charkha.serving.follower import Follower
from charkha.serving.service import Service
from charkha.spec.project import Project
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.log import Log
from charkha.storage.online import OnlineStoreFull

ROWS = 3000
SAID = "the online state lacks rows that were logged: "
FULL = [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "OSError"),
    (OnlineStoreFull(Path("online"), 1 << 20), "OnlineStoreFull"),
]


def log_only(project: Project, log: Log) -> None:
    """Log rows as a process does that dies before it applies them."""
    fields = tuple(project.sources["trips"].fields)
    rows = [tuple(value if name[-3:] != "_at" else NOW_US for name, value in zip(fields, trip(n), strict=True))
            for n in range(ROWS)]  # fmt: skip
    writer = log.writer(event_stream("trips"), PARTITION)
    writer.append([encode_events(EventBatch("trips", NOW_US, fields, rows))])
    writer.close()


@contextmanager
def started(stage: Stage) -> Iterator[Service]:
    """Open a service as a new worker would."""
    service = Service(stage.project, stage.home, stage.clock, "w1")
    service.refresh()
    yield service
    service.close()


def score(service: Service) -> float:
    """Return a score, which counts the trips of the last hour."""
    return float(service.predict(MODEL, requests("Pune")).scores[0])


@contextmanager
def full(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Iterator[None]:
    @contextmanager
    def refuse(store: LmdbOnline) -> Iterator[None]:
        raise error
        yield

    with monkeypatch.context() as patched:
        patched.setattr(LmdbOnline, "write", refuse)
        yield


@pytest.mark.parametrize(("error", "kind"), FULL)
def test_a_worker_goes_on_with_the_state_it_holds_and_catches_up_later(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    watch: Watch,
    error: Exception,
    kind: str,
) -> None:
    with open_stage(tmp_path) as stage:
        before = score(stage.service)
        log_only(stage.project, stage.home.log)
        with full(monkeypatch, error):
            service = Service(stage.project, stage.home, stage.clock, "w1")
            service.refresh()
            assert score(service) == before
            state = service.standing.ready()
            assert (state.ready, state.champions[MODEL]) == (True, "v1")
            assert state.problems == {MODEL: f"{SAID}{kind}. The server's own log says more"}
            assert str(error) in service.problems()[MODEL]
            assert service.standing.deployments_failing()[MODEL] is False
            watch.seconds += 1
            service.refresh()
            assert list(service.standing.ready().problems) == [MODEL]
        watch.seconds += 1
        service.refresh()  # in a second more
        assert score(service) == before
        watch.seconds += 1
        service.refresh()
        assert score(service) > before
        assert service.standing.ready().problems == {}
        service.close()


def test_a_line_up_whose_views_the_state_lacks_does_not_answer_with_nulls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_stage(tmp_path) as stage:
        stage.home.online.delete_prefix(b"")
        with full(monkeypatch, FULL[0][0]), started(stage) as service:
            state = service.standing.ready()
            assert (state.ready, state.champions[MODEL]) == (False, None)
            assert "generation 1 could not be loaded: OSError" in state.problems[MODEL]


def test_the_servers_own_log_says_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with open_stage(tmp_path) as stage, full(monkeypatch, FULL[0][0]), started(stage) as service:
        follower = Follower(service, 0.01)
        follower.start()
        follower.stop()
        assert caplog.text.count(SAID) == 1


@pytest.fixture
def ballast(tmp_path: Path) -> Iterator[Path]:
    """A file to fill a small disk with, that the online state is on."""
    folder = tmp_path / ".charkha" / "online"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder / "ballast"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_without_a_byte_left_is_caught_up_with_once_there_is_room(
    tmp_path: Path,
    ballast: Path,
    watch: Watch,
) -> None:
    with open_stage(tmp_path) as stage:
        before = score(stage.service)
        log_only(stage.project, stage.home.log)
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 12))
        with started(stage) as service:
            assert score(service) == before
            assert service.standing.ready().ready
            assert "No space left on device" in service.problems()[MODEL]
            write_bundle(stage.project, stage.home, "v2", intercept=2.0)
            deploy(stage.home, champion("v2"))
            assert service.refresh()  # of the same views: what the state lacks keeps no version from answering
            assert score(service) > before
            assert service.standing.ready().champions[MODEL] == "v2"
            ballast.unlink()
            watch.seconds += 1
            service.refresh()
            assert service.standing.ready().problems == {}
            assert score(service) == pytest.approx(1.0)
