"""One child of a kind at a time in a home: a lock that the child holds until it is gone, however it goes.

A child ends with its parent. Where it is slow to, or its parent is only stopped, the next one's parent ends it first,
and the next child waits for the lock: so there are never two at work.
"""

import fcntl
import os
import signal
import time
from pathlib import Path

import msgspec

from charkha.storage.locks import locked_if_free
from charkha.storage.processes import Process

GRACE_SECONDS = 5.0
_HELD: list[int] = []  # descriptors that are never closed: the lock ends with the process


def lock_of(home: Path, model: str, kind: str) -> Path:
    """Return the file of the lock of one kind of work on a model."""
    return home / "runs" / f"{model}.{kind}.lock"


def be_alone(lock: Path) -> None:
    """Wait until no other process has a lock, then hold it until this process ends, with this process named in it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, msgspec.json.encode(Process.this()), 0)
    _HELD.append(descriptor)


def end_former(lock: Path) -> Process | None:
    """End the process that holds a lock, with its group, and return it; None where there is none that can be ended.

    One of another machine, or whose beginning cannot be told, is not ended: it is waited for, by `be_alone`.
    """
    if not lock.exists():
        return None
    with locked_if_free(lock) as free:
        if free:
            return None
        former = _named_in(lock)
    if former is None or not former.is_near or not former.began:
        return None
    for sign in (signal.SIGTERM, signal.SIGKILL):
        until = time.perf_counter() + GRACE_SECONDS
        _send(former, sign)
        while not former.is_gone:
            if time.perf_counter() > until:
                break
            time.sleep(0.02)
        else:
            return former
    return former


def _named_in(lock: Path) -> Process | None:
    try:
        return msgspec.json.decode(lock.read_bytes(), type=Process)
    except msgspec.DecodeError:
        return None  # it has the lock, and has not said yet who it is


def _send(process: Process, sign: signal.Signals) -> None:
    try:
        if os.getpgid(process.pid) == process.pid and not process.is_gone:
            os.killpg(process.pid, sign)
    except ProcessLookupError:
        return
