"""How workers end: in their time, else by force; and Ctrl-C is the server's affair alone."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from granian.server.mp import WorkerProcess
from server_process import child_environment, free_port
from serving_project import champion, deploy, write_bundle, write_project

from charkha.serving.dismissal import dismiss, has_ended
from charkha.storage.home import open_home


def deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


def test_a_signal_that_comes_before_the_loop_runs_is_heeded() -> None:
    pytest.importorskip("uvloop")
    script = (
        "import asyncio, signal, uvloop\n"
        "from charkha.serving.worker import heed_early_signals\n"
        "loop = uvloop.new_event_loop()\n"
        "came = loop.create_future()\n"
        "loop.add_signal_handler(signal.SIGTERM, came.set_result, None)\n"
        "heed_early_signals(loop)\n"
        "signal.raise_signal(signal.SIGTERM)\n"
        "loop.run_until_complete(asyncio.wait_for(came, 10))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30, env=child_environment())


@pytest.fixture
def started() -> Iterator[Any]:
    """Return what starts a worker that does something in place of serving."""
    workers: list[WorkerProcess] = []

    def start(work: Any) -> WorkerProcess:
        worker = WorkerProcess(SimpleNamespace(), 0, work, ())  # type: ignore[no-untyped-call]
        worker.inner = multiprocessing.get_context("fork").Process(target=work)
        worker.inner.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        if not has_ended(worker, 0):
            worker.inner.kill()
        has_ended(worker, 10)


def test_a_worker_whose_status_another_got_is_not_taken_for_living(
    started: Any, caplog: pytest.LogCaptureFixture
) -> None:
    worker = started(lambda: time.sleep(60))
    worker.terminate()
    os.waitpid(worker.inner.pid, 0)  # as the watcher does, a moment before it notes what it got
    assert worker.is_alive()  # which is why nobody asks this
    assert has_ended(worker, 5)
    dismiss([worker], 5)
    assert caplog.messages == []


def test_who_does_not_end_in_time_is_killed_and_said_to_be(started: Any, caplog: pytest.LogCaptureFixture) -> None:
    worker = started(deaf)
    assert not has_ended(worker, 0.3)
    with caplog.at_level(logging.ERROR):
        dismiss([worker], 0.2)
    worker.inner.join()
    assert worker.inner.exitcode == -signal.SIGKILL
    assert caplog.messages == [f"worker 1 (process {worker.inner.pid}) had not ended after 0 s, and is killed"]


def test_ctrl_c_ends_the_server_and_its_workers_without_a_trace(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        deploy(home, champion("v1"))
    command = [sys.executable, "-m", "charkha", "--project", str(tmp_path), "serve", "--port", str(free_port())]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [*command, "--workers", "2"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=child_environment(),
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        process.stdout.readline()  # when one worker answers; the other may still load
        assert {blocked(pid) & 1 << signal.SIGINT - 1 for pid in children(process.pid)} == {1 << signal.SIGINT - 1}
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "killed" not in said


def children(pid: int) -> list[int]:
    found = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def blocked(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("SigBlk:")[2].split()[0], 16)
