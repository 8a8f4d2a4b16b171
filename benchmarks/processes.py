"""Processes that the benchmark starts, each in a group of its own that ends with the block that started it."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

GRACE_SECONDS = 10.0
LAST_WORDS = 500

# What is meant for this process, or for the make that runs it, and would change what a newcomer meets. Without compiled
# modules kept, for one, most of a command's time goes into compiling them again.
NOT_PASSED_ON = (
    "CHARKHA_HOME",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "VIRTUAL_ENV",
)


class Failed(Exception):
    """A command that the benchmark ran ended with an error."""

    def __init__(self, command: Sequence[str], status: int, log: Path) -> None:
        self.status = status
        said = last_words(log)
        super().__init__(f"{' '.join(command)}: expected exit status 0, got {status}. It said: {said}")


@frozen
class Finished:
    """A command that came to its end. cpu_seconds: of it and all the processes it waited for."""

    status: int
    wall_seconds: float
    cpu_seconds: float


def charkha(*arguments: str | Path) -> list[str]:
    """Return a command line of the `charkha` that stands beside this Python."""
    return [str(Path(sys.executable).with_name("charkha")), *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment for a command, without what is meant for this process alone."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
    return {**kept, **changes}


@contextmanager
def child(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command whose output goes to a log file; end it and its children when the block is left before it.

    stdout: subprocess.PIPE to read its standard output instead.
    """
    with log.open("a") as words:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment() if env is None else env,
            stdin=subprocess.DEVNULL,
            stdout=stdout or words,
            stderr=words,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end_group(process)
        if process.stdout is not None:
            process.stdout.close()


def run(
    command: Sequence[str],
    log: Path,
    *,
    timeout_seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command to its end. Raises subprocess.TimeoutExpired, after it was ended."""
    cpu_seconds, started = _children_cpu_seconds(), time.perf_counter()
    with child(command, log, cwd=cwd, env=env) as process:
        status = process.wait(timeout_seconds)
    return Finished(status, time.perf_counter() - started, _children_cpu_seconds() - cpu_seconds)


def run_well(
    command: Sequence[str],
    log: Path,
    *,
    timeout_seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command that must succeed. Raises Failed, with its last words, and subprocess.TimeoutExpired."""
    finished = run(command, log, timeout_seconds=timeout_seconds, cwd=cwd, env=env)
    if finished.status:
        raise Failed(command, finished.status, log)
    return finished


def last_words(log: Path) -> str:
    """Return the end of what a command said, in one line."""
    return " ".join(log.read_text(errors="replace").split())[-LAST_WORDS:]


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _end_group(process: "subprocess.Popen[str]") -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, sign)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
