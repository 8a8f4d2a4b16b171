"""What a worker is made of: its claim of a partition, the thread that follows the ledger, its log lines, its app."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from server_process import child_environment
from serving_project import NOW_US, Stage, champion, deploy, write_bundle, write_project

from charkha.clock import SimulatedClock
from charkha.serving.follower import Follower
from charkha.serving.logs import JsonLines, log_settings
from charkha.serving.partition import claim_partition
from charkha.serving.worker import open_app
from charkha.storage.home import open_home


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_claims_are_the_lowest_free_numbers(tmp_path: Path) -> None:
    first, second = claim_partition(tmp_path / "claims"), claim_partition(tmp_path / "claims")
    assert (first.name, second.name) == ("w0", "w1")
    first.release()
    third = claim_partition(tmp_path / "claims")
    assert third.name == "w0"
    second.release()
    third.release()


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    script = (
        "import os, sys, charkha.serving.partition as p; claim = p.claim_partition(p.Path(sys.argv[1])); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, env=child_environment())
    assert (tmp_path / "w0.lock").exists()
    claim = claim_partition(tmp_path)
    assert claim.name == "w0"
    claim.release()


def test_the_follower_follows_and_stops(stage: Stage) -> None:
    follower = Follower(stage.service, every_seconds=0.01)
    follower.start()
    write_bundle(stage.project, stage.home, "v2")
    deploy(stage.home, champion("v2"))
    wait_until(lambda: stage.service.standing.ready().champions["late_trip"] == "v2")
    follower.stop()
    deploy(stage.home, champion("v1"))
    time.sleep(0.05)
    assert stage.service.standing.ready().champions["late_trip"] == "v2"


def test_the_follower_says_a_problem_once_and_goes_on(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    follower = Follower(stage.service, every_seconds=0.005)
    deploy(stage.home, champion("v2"))
    follower.start()
    wait_until(lambda: "v2" in caplog.text)
    time.sleep(0.05)
    assert caplog.text.count("expected version 'v2'") == 1
    write_bundle(stage.project, stage.home, "v2")
    wait_until(lambda: stage.service.standing.ready().ready)
    follower.stop()


def test_a_ledger_that_cannot_be_read_leaves_what_serves(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def refresh(self) -> bool:
            raise OSError("the ledger is gone")

    follower = Follower(Broken(), every_seconds=0.005)  # type: ignore[arg-type]
    follower.start()
    wait_until(lambda: "the ledger is gone" in caplog.text)
    time.sleep(0.03)
    follower.stop()
    assert caplog.text.count("the ledger is gone") == 1


def test_log_lines_are_json_with_their_trace() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = logging.LogRecord("charkha.serving", logging.ERROR, "x.py", 1, "call %d", (7,), None)
        record.exc_info = (type(error), error, error.__traceback__)
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["logger"], line["message"]) == ("error", "charkha.serving", "call 7")
    assert line["time"].endswith("Z")
    assert line["trace"].endswith("ValueError: broken")
    assert set(log_settings("DEBUG")["loggers"]) == {"charkha", "_granian"}


def test_the_app_of_a_worker_opens_and_closes_its_home(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        deploy(home, champion("v1"))
    for _ in range(2):
        app = open_app(project, SimulatedClock(NOW_US))
        loop = asyncio.new_event_loop()
        app.__rsgi_init__(loop)
        app.__rsgi_del__(loop)
        loop.close()
    claim = claim_partition(project.home / "serving")
    assert claim.name == "w0"
    claim.release()
