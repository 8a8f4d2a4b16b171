import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from small_world import AS_OF, LATE, write_trips

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.spec.project import Project, load_project
from charkha.storage.home import open_home
from charkha.storage.ledger import WHOLE, Usage
from charkha.training.child import ChildOrder, carry_out, train_in_child
from charkha.training.failures import TrainingCrashed, TrainingFailed, TrainingOutOfMemory, TrainingTimedOut
from charkha.training.pipeline import Candidate, Order
from charkha.training.tracking import NoTracker

HERE = Path(__file__).parent
NOW_US = AS_OF + 99

# The definition of the small world; ordered models are made from it by what a test writes below.
DEFINITION = f"""
import os, signal, sys, time
import attrs
sys.path.insert(0, {str(HERE)!r})
import small_world
sys.path.pop(0)
LATE = small_world.LATE
"""


def project_with(root: Path, definition: str = "") -> Project:
    write_trips(root)
    (root / "charkha.toml").write_text('[project]\nname = "trips"\ndefinition = "definition.py"\n')
    (root / "definition.py").write_text(DEFINITION)
    project = load_project(root)
    (root / "definition.py").write_text(DEFINITION + definition)
    return project


def in_child(project: Project, model: ck.Model | None = None) -> Candidate:
    order = Order(model or project.models["late"], project.root, AS_OF, "first")
    return train_in_child(order, project, SimulatedClock(NOW_US), NoTracker())


def test_a_training_in_a_child_is_a_training(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    steps: list[str] = []
    order = Order(project.models["late"], project.root, AS_OF, "first")
    threads = threading.active_count()
    told: list[Usage] = []
    clock = SimulatedClock(NOW_US)
    candidate = train_in_child(order, project, clock, NoTracker(), on_step=steps.append, on_usage=told.append)
    assert threading.active_count() == threads
    assert (candidate.version, candidate.passed, candidate.manifest.created_us) == ("v1", True, NOW_US)
    assert steps[0] == "building the dataset"
    assert steps[-1] == "recording v1"
    with open_home(project.home) as home:
        assert home.ledger.version("late", "v1").run_key == "first"
        stages = home.ledger.usage("late", kind="training")
    assert sorted(each.stage for each in stages) == ["evaluate", "features", "fit", "record"]
    (whole,) = told
    assert (whole.stage, whole.run, whole.team) == (WHOLE, "first", project.models["late"].owner)
    assert sum(each.cpu_seconds for each in stages) < whole.cpu_seconds  # it starts up and reads the definition, too
    assert all(each.peak_bytes for each in (*stages, whole))
    assert {each.id.rpartition("/")[0] for each in (*stages, whole)} == {whole.id.removesuffix("/whole")}


def test_an_error_comes_back_with_its_words(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    early = Order(project.models["late"], project.root, AS_OF - 40 * 86_400_000_000, "first")
    with pytest.raises(TrainingFailed, match="training 'first' failed: SplitTooSmall: the train part") as caught:
        train_in_child(early, project, SimulatedClock(NOW_US), NoTracker())
    assert (caught.value.kind, caught.value.run_key) == ("SplitTooSmall", "first")


def test_a_model_that_is_gone_is_named(tmp_path: Path) -> None:
    project = project_with(tmp_path)
    with pytest.raises(TrainingFailed, match=r"LookupError: expected a model of .*: late; got 'early'"):
        in_child(project, attrs.evolve(project.models["late"], name="early"))


@pytest.mark.parametrize(
    ("sign", "words", "kind", "message"),
    [
        (signal.SIGSEGV, "farewell", TrainingCrashed, "its process ended with signal 11; its last words: farewell"),
        (signal.SIGABRT, "memory allocation of 8 bytes failed", TrainingOutOfMemory, "more than its budget of 8 GB"),
        (signal.SIGXCPU, "", TrainingTimedOut, "longer than its budget of 60 minutes"),
    ],
)
def test_a_child_that_dies_says_of_what(
    tmp_path: Path, sign: signal.Signals, words: str, kind: type[TrainingFailed], message: str
) -> None:
    last = f"print({words!r}, file=sys.stderr, flush=True); os.kill(os.getpid(), {int(sign)})"
    with pytest.raises(kind, match=message):
        in_child(project_with(tmp_path, last))


def budgeted(project: Project, **budget: float) -> ck.Model:
    return attrs.evolve(project.models["late"], budget=ck.Budget(**budget))


def test_one_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Noted(subprocess.Popen[str]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    project = project_with(tmp_path, "time.sleep(60)")
    began = time.perf_counter()
    with pytest.raises(TrainingTimedOut, match=r"longer than its budget of 0\.02 minutes and was ended. Raise Budget"):
        in_child(project, budgeted(project, train_minutes=0.02))
    assert time.perf_counter() - began < 30
    assert not is_alive(started[0])


HUNGRY = """
import numpy as np
from charkha.bundles.estimators import Linear

@attrs.frozen(kw_only=True)
class Hungry(Linear):
    def fit(self, lesson):
        return np.ones(1_500_000_000 // 8).tobytes()

LATE = attrs.evolve(LATE, estimator=Hungry(), budget=attrs.evolve(LATE.budget, train_memory_gb=0.5))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts what a process allocates")
def test_one_that_wants_too_much_memory_is_refused_it(tmp_path: Path) -> None:
    project = project_with(tmp_path, HUNGRY)
    with pytest.raises(TrainingOutOfMemory, match=r"more than its budget of 0\.5 GB. Raise Budget"):
        in_child(project, budgeted(project, train_memory_gb=0.5))


def test_the_smallest_memory_budget_suffices_for_small_data(tmp_path: Path) -> None:
    small = "LATE = attrs.evolve(LATE, budget=attrs.evolve(LATE.budget, train_memory_gb=0.5))"
    candidate = in_child(project_with(tmp_path, small))
    assert candidate.version == "v1"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(path: Path, seconds: float = 60) -> str:
    until = time.perf_counter() + seconds
    while not (path.exists() and path.read_text()):
        assert time.perf_counter() < until, f"{path} did not come"
        time.sleep(0.05)
    return path.read_text()


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A parent whose child hangs in its definition, and the child's process id."""
    project_with(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(120)")
    script = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from small_world import AS_OF, LATE
from charkha.clock import SimulatedClock
from charkha.spec.project import Project
from charkha.training.child import train_in_child
from charkha.training.pipeline import Order
from charkha.training.tracking import NoTracker
root = Path({str(tmp_path)!r})
project = Project("trips", root, root / ".charkha", {{"late": LATE}})
try:
    train_in_child(Order(LATE, root, AS_OF, "first"), project, SimulatedClock(AS_OF), NoTracker())
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        yield parent, int(wait_for(tmp_path / "pid"))
        parent.kill()


def ends(pid: int, seconds: float = 20) -> bool:
    until = time.perf_counter() + seconds
    while is_alive(pid) and time.perf_counter() < until:
        time.sleep(0.05)
    return not is_alive(pid)


def test_ctrl_c_ends_the_child(hanging: tuple[subprocess.Popen[bytes], int]) -> None:
    parent, child = hanging
    parent.send_signal(signal.SIGINT)
    out, _ = parent.communicate(timeout=30)
    assert out == b"interrupted\n"
    assert ends(child)


def test_a_parent_that_is_killed_takes_the_child_along(hanging: tuple[subprocess.Popen[bytes], int]) -> None:
    parent, child = hanging
    parent.kill()
    assert ends(child)


def test_the_order_says_all_that_the_child_needs(tmp_path: Path) -> None:
    """The child's part in this process, from the very JSON, without limits."""
    project = project_with(tmp_path)
    sent = ChildOrder(
        root=str(tmp_path),
        home=str(tmp_path / "elsewhere"),
        model="late",
        as_of_us=AS_OF,
        now_us=NOW_US,
        run_key="first",
        champion=None,
        seed=3,
        tracking=None,
    )
    order = msgspec.json.decode(msgspec.json.encode(sent), type=ChildOrder)
    result = carry_out(order, project, LATE, lambda step: None)
    assert result.version == "v1"
    with open_home(tmp_path / "elsewhere") as home:
        assert home.ledger.version("late", "v1").created_us == NOW_US
