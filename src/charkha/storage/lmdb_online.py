"""The online state in LMDB: memory-mapped, read without locks, one writer at a time over all processes."""

import errno
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import lmdb

from charkha.storage.lmdb_environment import SharedEnvironment, release_environment, share_environment
from charkha.storage.online import MAX_KEY_BYTES, KeyRefused, OnlineStoreFull

_FEW = 32  # values that are put one by one sooner than a cursor is opened


class LmdbOnline:
    """Values by key in one folder, which any number of threads and processes may open, each as often as it likes.

    Nothing is flushed to the disk: a killed process loses nothing. What was written before the machine last started,
    which a power failure may have torn, is dropped when the folder is opened, and the store is empty: whoever keeps
    something in it builds it anew. The files are opened at the first use.

    map_bytes: the size it can grow to: address space and a sparse file, of which the disk holds what is used. Within
        a process the first to open a folder decides.
    """

    def __init__(self, folder: Path, *, map_bytes: int = 16 << 30) -> None:
        self._shared: SharedEnvironment | None = share_environment(folder, map_bytes)

    def read(self) -> "_Snapshot":
        """Open a consistent snapshot; see `OnlineStore.read`."""
        return _Snapshot(self._environment())

    def write(self) -> "_Transaction":
        """Open the one write transaction of all processes; see `OnlineStore.write`."""
        return _Transaction(self._environment())

    def delete_prefix(self, prefix: bytes) -> None:
        """Remove every key that starts with `prefix`; see `OnlineStore.delete_prefix`."""
        with self.write() as writer:
            writer.delete_prefix(prefix)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values under `prefix` in key order; see `OnlineStore.scan`."""
        with self.read() as reader:
            yield from reader.scan(prefix)

    def close(self) -> None:
        """Release the folder; a second call does nothing."""
        if self._shared is not None:
            release_environment(self._shared)
            self._shared = None

    def _environment(self) -> SharedEnvironment:
        if self._shared is None:
            raise ValueError("expected an open online store, got one that was closed")
        return self._shared


class _Snapshot:
    """A read transaction. One class per transaction and no generator: entering and leaving is most of a read's cost."""

    __slots__ = ("_environment", "_transaction")

    def __init__(self, environment: SharedEnvironment) -> None:
        self._environment = environment

    def __enter__(self) -> "_Snapshot":
        self._transaction = self._environment.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._environment.leave(self, self._transaction.abort)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        get = self._transaction.get
        try:
            return [get(key) for key in keys]
        except lmdb.BadValsizeError:
            return [self.get(key) for key in keys]

    def get(self, key: bytes) -> bytes | None:
        return self._transaction.get(key) if key else None

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                yield cursor.item()
                found = cursor.next()


class _Transaction(_Snapshot):
    """The write transaction."""

    __slots__ = ()

    def __enter__(self) -> "_Transaction":
        self._transaction = self._environment.begin(self, write=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._environment.leave(self, self._transaction.commit if kind is None else self._transaction.abort)
        except lmdb.MapFullError:
            raise self._full() from None
        except lmdb.DiskError as full:
            raise self._disk_full() from full
        if isinstance(error, lmdb.DiskError):  # a large transaction writes before it is committed
            raise self._disk_full() from error

    def put(self, key: bytes, value: bytes) -> None:
        try:
            self._transaction.put(key, value)
        except lmdb.BadValsizeError:
            raise KeyRefused(key) from None
        except lmdb.MapFullError:
            raise self._full() from None

    def put_many(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        try:
            if len(items) < _FEW:
                for key, value in items:
                    self._transaction.put(key, value)
                return
            with self._transaction.cursor() as cursor:
                # Pages that are appended to are filled; LMDB splits others in half, also those of ordered keys.
                beyond = bool(items) and (not cursor.last() or cursor.key() < items[0][0])
                ordered = beyond and all(low < high for (low, _), (high, _) in pairwise(items))
                cursor.putmulti(items, append=ordered)
        except lmdb.BadValsizeError:
            raise KeyRefused(next(key for key, _ in items if not 1 <= len(key) <= MAX_KEY_BYTES)) from None
        except lmdb.MapFullError:
            raise self._full() from None

    def delete(self, key: bytes) -> None:
        try:
            if key:
                self._transaction.delete(key)
        except lmdb.MapFullError:
            raise self._full() from None

    def delete_prefix(self, prefix: bytes) -> None:
        with self._transaction.cursor() as cursor:
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                found = cursor.delete()

    def _full(self) -> OnlineStoreFull:
        return OnlineStoreFull(self._environment.folder, self._environment.map_bytes)

    def _disk_full(self) -> OSError:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._environment.folder))
