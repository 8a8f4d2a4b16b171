"""A child: looked at now and then, ended when its time is up, and alone at its kind of work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from charkha.storage.processes import Process
from charkha.training.child_process import Child, Ended
from charkha.training.one_at_a_time import be_alone, end_former, lock_of
from charkha.training.transient import is_transient

# A module that a child can run: what it does is its order.
RUNNER = "import sys; exec(open(sys.argv[1]).read())"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Child]:
    (tmp_path / "runner.py").write_text(RUNNER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def begin(order: str, seconds: float = 30.0, on_step: Callable[[str], None] = lambda step: None) -> Child:
        return Child("runner", order.encode(), seconds, on_step)

    return begin


def ended(child: Child, seconds: float = 20.0) -> Ended:
    until = time.perf_counter() + seconds
    while (found := child.poll()) is None:
        assert time.perf_counter() < until, "the child goes on"
        time.sleep(0.01)
    return found


def test_a_child_is_looked_at_until_it_has_ended(child: Callable[..., Child], tmp_path: Path) -> None:
    steps: list[str] = []
    go = tmp_path / "go"
    order = f"""
import pathlib, time
print('half')
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.01)
open(sys.argv[2], 'w').write('made')
"""
    with child(order, on_step=steps.append) as begun:
        assert begun.poll() is None
        go.touch()
        found = ended(begun)
        assert (found.result, found.status, found.timed_out) == (b"made", 0, False)
        assert begun.poll() == begun.wait() == found
    assert steps == ["half"]


def test_one_that_takes_too_long_is_ended_by_a_look(child: Callable[..., Child]) -> None:
    with child("import time; open(sys.argv[2], 'w').write('late'); time.sleep(60)", 0.5) as begun:
        found = ended(begun)
    assert (found.result, found.timed_out, found.status) == (None, True, -signal.SIGTERM)


def test_one_that_dies_leaves_its_last_words(child: Callable[..., Child]) -> None:
    with child("import os; print('farewell', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)") as begun:
        found = begun.wait()
    assert (found.result, found.status, found.last_words) == (None, -9, "farewell")


def test_whoever_leaves_the_block_takes_the_child_along(child: Callable[..., Child]) -> None:
    with child("import time; time.sleep(60)") as begun:
        pid = begun.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


HOLD = """
import sys, time
from pathlib import Path
from charkha.training.one_at_a_time import be_alone
be_alone(Path(sys.argv[1]))
print("alone", flush=True)
time.sleep(60)
"""


def test_a_second_child_begins_when_the_first_is_ended(tmp_path: Path) -> None:
    lock = lock_of(tmp_path, "late", "training")
    assert end_former(lock) is None
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "alone\n"
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as second:
            assert second.stdout is not None
            former = end_former(lock)
            assert (former and former.pid, first.wait(10)) == (first.pid, -signal.SIGTERM)
            assert second.stdout.readline() == "alone\n"
            second.kill()
    assert end_former(lock) is None


def test_a_lock_is_of_this_process_and_its_end_is_seen(tmp_path: Path) -> None:
    lock = lock_of(tmp_path, "late", "training")
    child = os.fork()
    if child == 0:
        be_alone(lock)
        os._exit(0)
    os.waitpid(child, 0)
    assert end_former(lock) is None
    assert not Process.this().is_gone
    assert Process(Process.this().host, Process.this().space, child, "1").is_gone
    assert not Process("elsewhere", "1", child, "1").is_gone


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError("no room"), True),
        (ConnectionRefusedError("away"), True),
        (TimeoutError(), True),
        (FileNotFoundError("rows.parquet"), False),
        (PermissionError("rows.parquet"), False),
        (MemoryError(), False),
        (ValueError("3 rows"), False),
    ],
)
def test_what_may_pass_by_itself(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes
