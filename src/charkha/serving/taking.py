"""Taking a definition in a process of its own: one that hangs, or breaks what runs it, is no matter of the server's."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from charkha.serving.orphans import die_with
from charkha.spec.faults import DefinitionError
from charkha.spec.project import ProjectNotFound, take_project
from charkha.spec.texts import Taken

_POLL_SECONDS = 0.02


class _Found(msgspec.Struct, frozen=True):
    """What a definition is made of, by path, and where its project keeps what it keeps."""

    texts: Mapping[str, bytes]
    kept_at: str


class NotTaken(Exception):
    """The definition on the disk cannot be taken over; says why."""


def take_beside(root: Path, kept_at: str, wait: Callable[[float], bool]) -> Taken:
    """Return the texts of the project in `root`, which was loaded with them. Raises NotTaken.

    kept_at: of the project that serves, as `kept_at` returned it. wait: told for how many seconds; says whether to go
    on.
    """
    try:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("spawn").Process(target=_take, args=(root, os.getpid(), sender))
        start_deaf(child.start)
    except OSError as error:
        raise NotTaken(f"no process could be started to load it: {error}") from error
    sender.close()
    try:
        while not receiver.poll():
            if not wait(_POLL_SECONDS):
                raise NotTaken("it was not loaded in time")
        said = receiver.recv_bytes()
    except EOFError:
        raise NotTaken(f"the process that loaded it ended with status {_ended(child)}") from None
    finally:
        child.kill()
        child.join()
        receiver.close()
    return _checked(said, kept_at)


def kept_at(home: Path, ledger: str | None) -> str:
    """Return where a project keeps what it keeps, as one text."""
    return f"{home} {ledger or ''}"


def start_deaf(start: Callable[[], object]) -> None:
    """Start a process that Ctrl-C does not reach, as it does all of a terminal: the server tells it to end.

    start: does so; raises OSError, as this does, where the system has no room for one.
    """
    resource_tracker.ensure_running()  # which lets signals through as it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take(root: Path, parent: int, sender: Connection) -> None:
    die_with(parent)
    try:
        project, taken = take_project(root)
    except (DefinitionError, ProjectNotFound, OSError, KeyError, ValueError) as error:
        said: _Found | str = str(error)
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    else:
        texts = {str(path): text for path, text in taken.by_path.items()}
        said = _Found(texts, kept_at(project.home, project.ledger))
    sender.send_bytes(msgspec.msgpack.encode(said))


def _checked(said: bytes, before: str) -> Taken:
    found = msgspec.msgpack.decode(said, type=_Found | str)
    if isinstance(found, str):
        raise NotTaken(found)
    if found.kept_at != before:
        raise NotTaken("it has another home or another ledger: restart the server for that")
    return Taken({Path(path): text for path, text in found.texts.items()})


def _ended(child: BaseProcess) -> int | None:
    child.join(1)
    return child.exitcode
