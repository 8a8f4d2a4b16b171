"""A definition that changes while it serves: workers keep the one they have until told to take the new."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path

import pytest
from server_process import Client, ServerProcess, server
from serving_project import champion, deploy, write_bundle, write_project

from charkha.serving.supervised import Place, Supervised
from charkha.spec.project import Project
from charkha.storage.home import open_home

PREDICT = "/v1/models/late_trip/predict"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
WORKERS = 2


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = write_project(tmp_path)
    (tmp_path / "owners.py").write_text('TEAM = "trips-team"\n')
    with_import = (tmp_path / "definition.py").read_text().replace('owner="trips-team"', "owner=owners.TEAM")
    (tmp_path / "definition.py").write_text(f"import owners\n{with_import}")
    with open_home(made.home) as home:
        write_bundle(made, home, "v1")
        deploy(home, champion("v1"))
    return made


@pytest.fixture
def running(project: Project) -> Iterator[ServerProcess]:
    with server(project.root, WORKERS) as started:
        wait_until(lambda: len(workers(started)) == WORKERS)
        wait_until(lambda: metric(started, "charkha_workers") == WORKERS)
        yield started


def test_a_worker_that_is_replaced_answers_as_the_others_do(running: ServerProcess, project: Project) -> None:
    edit(project, "definition.py", '"stops", "pooled"]', '"stops", "pooled", "driver"]')
    (project.root / "owners.py").unlink()
    kill_one(running)
    wait_until(lambda: metric(running, "charkha_worker_restarts_total") == 1)
    wait_until(lambda: metric(running, "charkha_workers") == WORKERS)
    wait_until(lambda: said(project, "ended by SIGKILL"))
    assert statuses(running, 20) == {200}
    wait_until(lambda: metric(running, "charkha_definition_changed") == 1)
    client = running.client()
    status, ready = client.get("/readyz")
    client.close()
    assert status == 200
    assert any("definition.py, owners.py changed on the disk" in notice for notice in ready["notices"]), ready


def test_a_syntax_error_on_the_disk_keeps_no_worker_from_starting(running: ServerProcess, project: Project) -> None:
    with (project.root / "definition.py").open("a") as file:
        file.write("def broken(\n")
    dead = kill_one(running)
    wait_until(lambda: len(workers(running)) == WORKERS and dead not in workers(running))
    wait_until(lambda: metric(running, "charkha_workers") == WORKERS)
    assert statuses(running, 10) == {200}
    before = workers(running)
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: said(project, "the reload was refused"))
    client = running.client()
    wait_until(lambda: "was never closed" in str(client.get("/readyz")[1].get("notices")))
    client.close()
    wait_until(lambda: workers(running) == before)
    assert all(json.loads(line) for line in (project.root / "server.log").read_text().splitlines())


def test_a_reload_takes_the_new_definition_over_and_refuses_no_call(running: ServerProcess, project: Project) -> None:
    before, stopped = workers(running), threading.Event()
    found: list[object] = []

    def ask() -> None:
        while not stopped.is_set():
            client = Client(running.port)
            try:
                found.append(client.post(PREDICT, ROW)[0])
            except Exception as error:
                found.append(error)
            client.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    edit(project, "owners.py", "trips-team", "other-team")
    edit(project, "definition.py", "how_far", "how_far_now")
    running.process.send_signal(signal.SIGHUP)
    try:
        wait_until(lambda: said(project, "gave way to"))
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    cut = [each for each in found if isinstance(each, ConnectionError)]
    assert {each for each in found if each not in cut} <= {200, 429}, set(found)
    assert len(cut) <= 2, "a connection that was accepted by a worker as it ended: clients try such a call again"
    assert len(found) > 50
    wait_until(lambda: not workers(running) & before)
    client = running.client()
    assert "how_far_now" in client.get("/readyz")[1]["champions"]
    client.close()
    wait_until(lambda: metric(running, "charkha_definition_changed") == 0)


def test_a_reload_that_takes_a_model_its_version_is_refused(running: ServerProcess, project: Project) -> None:
    before = workers(running)
    edit(project, "definition.py", '"km", "stops", "pooled"]', '"km", "stops"]')
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: said(project, "the reload was refused"))
    wait_until(lambda: workers(running) == before)
    assert statuses(running, 10) == {200}


SLOW = "import time\ntime.sleep(2)\n"


def test_a_worker_that_dies_while_another_is_replaced_is_started_at_once(
    running: ServerProcess, project: Project
) -> None:
    before = workers(running)
    edit(project, "owners.py", "TEAM", f"{SLOW}TEAM")
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(workers(running)) > WORKERS)
    os.kill(max(before), signal.SIGKILL)
    wait_until(lambda: metric(running, "charkha_worker_restarts_total") == 1)
    assert not said(project, "gave way to")
    wait_until(lambda: said(project, "gave way to"))
    wait_until(lambda: len(workers(running)) == WORKERS and not workers(running) & before)


# By a definition that says so, the third process that loads it fails, and from then on every one while a file is there.
BREAKS = """
from pathlib import Path
here = Path(__file__).parent
with (here / "loads").open("a") as loads:
    loads.write("x")
if "{text}" == "new" and (here / "loads").read_text() == "xxx":
    (here / "broken").touch()
assert not (here / "broken").exists()
"""


def test_workers_that_cannot_be_put_back_are_told_of_and_tried_again(tmp_path: Path) -> None:
    made = write_project(tmp_path)
    definition = (tmp_path / "definition.py").read_text()
    (tmp_path / "definition.py").write_text(definition + BREAKS.format(text="old"))
    with open_home(made.home) as home:
        write_bundle(made, home, "v1")
        deploy(home, champion("v1"))
    with server(made.root, WORKERS) as running:
        wait_until(lambda: len((tmp_path / "loads").read_text()) == WORKERS + 2)  # the command and the server load too
        (tmp_path / "loads").unlink()
        (tmp_path / "definition.py").write_text(definition + BREAKS.format(text="new"))
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: said(made, "the reload was refused"))
        wait_until(lambda: f"1 of {WORKERS} workers answer by another definition" in notices(running))
        assert statuses(running, 10) == {200}
        (tmp_path / "broken").unlink()
        wait_until(lambda: "another definition" not in notices(running))
        assert statuses(running, 10) == {200}


def test_what_a_server_says_of_itself(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.ask() is None
    place.tell(Supervised(7, 1, 2, changed=("definition.py",)))
    now = place.ask()
    assert now is not None
    down, changed = now.notices()
    assert down.startswith("1 of 2 workers live")
    assert changed.endswith("kill -HUP 7")


def edit(project: Project, name: str, old: str, new: str) -> None:
    text = (project.root / name).read_text()
    assert old in text
    (project.root / name).write_text(text.replace(old, new))


def kill_one(running: ServerProcess) -> int:
    pid = min(workers(running))
    os.kill(pid, signal.SIGKILL)
    return pid


def workers(running: ServerProcess) -> set[int]:
    of = running.process.pid
    children = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in command_of(pid)}


def command_of(pid: str) -> bytes:
    """Return how a process was called; nothing of one that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def statuses(running: ServerProcess, calls: int) -> set[int]:
    found = set()
    for _ in range(calls):  # each on a connection of its own, which may lead to either worker
        client = running.client()
        found.add(client.post(PREDICT, ROW)[0])
        client.close()
    return found


def notices(running: ServerProcess) -> str:
    client = running.client()
    found = client.get("/readyz")[1].get("notices")
    client.close()
    return str(found)


def metric(running: ServerProcess, name: str) -> float | None:
    client = running.client()
    lines = [line for line in client.text("/metrics").splitlines() if line.startswith(f"{name} ")]
    client.close()
    return float(lines[0].split()[1]) if lines else None


def said(project: Project, words: str) -> bool:
    return words in (project.root / "server.log").read_text()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not _holds(condition):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except (ConnectionError, HTTPException):  # the connection was that of a worker which was killed
        return False
