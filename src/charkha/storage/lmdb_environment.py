"""One LMDB environment per folder and process, shared by all who open that folder.

LMDB forbids to open a folder twice in a process, and to use an environment in a forked child. So the environment is
opened at its first use, counted, and closed before a fork: parent and child then each open it anew.

It is never flushed to the disk (`sync=False`), and LMDB promises nothing of such a one after a power failure. So what
was written before the machine last started is dropped when it is opened: see `boots`.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import lmdb
from attrs import define, field

from charkha.storage.boots import hold
from charkha.storage.locks import locked
from charkha.storage.online import NestedWrite, OnlineStoreFull

_FILES = ("data.mdb", "lock.mdb")
_MAX_READERS = 1024
_FORK_PATIENCE_SECONDS = 1.0

_registry: dict[Path, "SharedEnvironment"] = {}
_registry_lock = threading.RLock()


class OnlineStoreInherited(Exception):
    """A store that was in the middle of a transaction when this process was forked from the one that opened it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(folder)

    def __str__(self) -> str:
        return (
            f"online store {self.folder}: expected a process that was forked while no transaction was open, got one "
            f"that was forked inside of one. Fork outside of transactions, or start the process by spawn."
        )


@define(eq=False)
class SharedEnvironment:
    """The environment of one folder in this process.

    holders: how many stores share it. live: the owners of transactions that are open, or about to be.
    inherited: what the parent of this process had open when it forked.
    _mark: keeps other processes from dropping the files, as long as they are open.
    """

    folder: Path
    map_bytes: int
    holders: int = 0
    live: set[object] = field(factory=set)
    inherited: lmdb.Environment | None = None
    _handle: lmdb.Environment | None = None
    _mark: int | None = None

    def begin(self, owner: object, *, write: bool = False) -> "lmdb.Transaction[bytes]":
        """Begin a transaction for `owner`, live until it `leave`s.

        Raises OnlineStoreFull, NestedWrite and OnlineStoreInherited.
        """
        while True:
            # First live, then look: whoever closes for a fork first hides the handle, then waits for the living.
            self.live.add(owner)
            handle = self._handle
            if handle is not None:
                try:
                    return self._begin(handle, write)
                except BaseException:
                    self.live.discard(owner)
                    raise
            self.live.discard(owner)
            self._open()

    def leave(self, owner: object, finish: Callable[[], None]) -> None:
        """Commit or abort the transaction of `owner` by `finish`; in a forked child the parent's is left alone."""
        if owner in self.live:
            try:
                finish()
            finally:
                self.live.discard(owner)

    def _begin(self, handle: lmdb.Environment, write: bool) -> "lmdb.Transaction[bytes]":
        try:
            return handle.begin(write=write)
        except lmdb.ReadersFullError:
            # Killed processes leave their slots taken until somebody looks.
            handle.reader_check()
            return handle.begin(write=write)
        except lmdb.MapResizedError:
            raise OnlineStoreFull(self.folder, self.map_bytes) from None
        except lmdb.Error as error:
            if error.code == errno.EBUSY:
                raise NestedWrite(self.folder) from None
            raise

    def _open(self) -> None:
        with _registry_lock:
            if self.inherited is not None:
                raise OnlineStoreInherited(self.folder)
            if self._handle is not None:
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder):
                self._mark = hold(self.folder, _FILES)
                try:
                    handle = lmdb.open(
                        str(self.folder), map_size=self.map_bytes, sync=False, readahead=False, max_readers=_MAX_READERS
                    )
                except lmdb.DiskError as full:
                    self._let_go()
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder)) from full
                except lmdb.Error:
                    self._let_go()
                    raise
            # The snapshot of a killed reader would keep its pages from being used again.
            handle.reader_check()
            self._handle = handle

    def close(self) -> None:
        """Close the environment; the next transaction opens it again."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
            self._let_go()

    def close_for_fork(self) -> None:
        """Close once no transaction is open; after a second of waiting, leave it open and unusable for the child."""
        handle, self._handle = self._handle, None
        patience = time.perf_counter() + _FORK_PATIENCE_SECONDS
        while self.live and time.perf_counter() < patience:
            time.sleep(0.0005)
        if self.live:
            self._handle = handle
        elif handle is not None:
            handle.close()
            self._let_go()

    def after_fork(self) -> None:
        """In the child: what could not be closed before the fork must not be touched, not even to close it."""
        self.inherited, self._handle = self._handle, None
        self.live.clear()

    def _let_go(self) -> None:
        mark, self._mark = self._mark, None
        if mark is not None:
            os.close(mark)


def share_environment(folder: Path, map_bytes: int) -> SharedEnvironment:
    """Return the environment of a folder, for one more holder; the first holder's `map_bytes` counts."""
    folder = folder.resolve()
    with _registry_lock:
        shared = _registry.setdefault(folder, SharedEnvironment(folder, map_bytes))
        shared.holders += 1
        return shared


def release_environment(shared: SharedEnvironment) -> None:
    """Give up one hold; the last one closes the environment."""
    with _registry_lock:
        shared.holders -= 1
        if shared.holders == 0:
            shared.close()
            del _registry[shared.folder]


def _before_fork() -> None:
    _registry_lock.acquire()
    for shared in _registry.values():
        shared.close_for_fork()


def _after_fork_in_child() -> None:
    for shared in _registry.values():
        shared.after_fork()
    _registry_lock.release()


os.register_at_fork(before=_before_fork, after_in_parent=_registry_lock.release, after_in_child=_after_fork_in_child)
