"""`charkha operate` in processes of its own: it goes on while it trains, dies with its children, and heeds a cancel."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charkha.clock import SystemClock
from charkha.operations.runs.cancel import cancel
from charkha.operations.runs.listing import states_of
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home

sys.path.append(str(Path(__file__).parents[1] / "training"))
from small_world import write_trips

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of processes in files")
TRAINING = str(Path(__file__).parents[1] / "training")

# Two models, whose trainings say who they are, and hang.
DEFINITION = f"""
import os, sys, time
from pathlib import Path
import attrs
sys.path.insert(0, {TRAINING!r})
import small_world
sys.path.pop(0)
LATE = attrs.evolve(small_world.LATE, retrain=attrs.evolve(small_world.LATE.retrain, cooldown="1h"))
EARLY = attrs.evolve(LATE, name="early")
if "charkha.operations.training" in sys.orig_argv:
    order = Path(sys.argv[1]).read_text()
    name = "early" if '"model":"early"' in order else "late"
    Path(__file__).with_name(f"{{name}}-{{os.getpid()}}.pid").touch()
    time.sleep(300)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_trips(tmp_path)
    (tmp_path / "charkha.toml").write_text('[project]\nname = "trips"\ndefinition = "definition.py"\n')
    (tmp_path / "definition.py").write_text(DEFINITION)
    return load_project(tmp_path)


@pytest.fixture
def operate(project: Project) -> Iterator[Callable[[], "subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "charkha", "--project", str(project.root), "operate", "--every", "0.5"]
        with (project.root / f"operator-{len(started)}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stderr=log, stdout=log))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


def children(project: Project, model: str) -> set[int]:
    """Return the ids of all children that ever trained a model."""
    return {int(each.stem.partition("-")[2]) for each in project.root.glob(f"{model}-*.pid")}


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that a stopped parent has not heard the end of does not."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def waits_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def states(home: Home) -> dict[str, str]:
    return {state.run.key: state.state for state in states_of(home.ledger, None)}


@pytest.mark.slow
def test_an_operator_that_dies_is_followed_by_another_and_its_trainings_too(
    project: Project, operate: "Callable[[], subprocess.Popen[bytes]]"
) -> None:
    with open_home(project.home) as home:
        first = operate()
        # Both train at the same time: neither keeps the operator from the other.
        waits_for(lambda: children(project, "late") and children(project, "early"))
        assert states(home) == {"late/train/1": "running", "early/train/1": "running"}
        (former,) = children(project, "late")
        waits_for(lambda: all("pid" in run.result for run in home.ledger.runs()))
        assert {run.result["pid"] for run in home.ledger.runs("late")} == {former}

        first.send_signal(signal.SIGKILL)
        first.wait()
        waits_for(lambda: not is_alive(former))
        second = operate()
        waits_for(lambda: len(children(project, "late")) == 2)
        lease = home.ledger.lease("operator-lease")
        assert lease is not None
        assert (lease.term, lease.process.pid) == (2, second.pid)
        (latter,) = children(project, "late") - {former}

        cancel(home, SystemClock(), "late/train/1", actor="asha", reason="the feed was broken")
        waits_for(lambda: states(home)["late/train/1"] == "cancelled")
        assert not is_alive(latter)
        assert states(home)["early/train/1"] == "running"
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0
        assert [each.action for each in home.ledger.decisions("late")] == ["train", "cancel"]
        assert [each.action for each in home.ledger.decisions("early")] == ["train"]
    assert (len(children(project, "late")), any(map(is_alive, children(project, "early")))) == (2, False)


@pytest.mark.slow
def test_an_operator_that_was_stopped_leaves_its_training_to_the_next(
    project: Project, operate: "Callable[[], subprocess.Popen[bytes]]"
) -> None:
    """Its child is not stopped with it: the next operator ends it before it begins the training again."""
    with open_home(project.home) as home:
        first = operate()
        waits_for(lambda: children(project, "late"))
        (former,) = children(project, "late")
        first.send_signal(signal.SIGSTOP)
        operate()
        waits_for(lambda: len(children(project, "late")) == 2)
        assert not is_alive(former)
        first.send_signal(signal.SIGCONT)
        log = project.root / "operator-0.log"
        waits_for(lambda: "standing by" in log.read_text())
        assert len(children(project, "late")) == 2
        assert states(home)["late/train/1"] == "running"
        assert [each.action for each in home.ledger.decisions("late")] == ["train"]
