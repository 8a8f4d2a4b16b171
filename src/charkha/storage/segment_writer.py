"""The writer of one partition: under its lock, find the end, write one append in one go, seal and go on when full."""

import fcntl
import logging
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from charkha.storage.forks import renewed_after_fork
from charkha.storage.segment_format import frame
from charkha.storage.segments import Segment, list_segments, segment_at, settled_end

WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
# Room for some batches: a disk with less is still full.
_PROBE_BYTES = 1 << 20
_LOGGER = logging.getLogger(__name__)


class _Tail(NamedTuple):
    """The newest segment as this writer left it."""

    descriptor: int
    base: int
    end: int


class SegmentWriter:
    """Appends to a partition that other threads and processes may append to as well.

    folder: the partition's own.
    sync: have the disk confirm each append before it returns: safe against power failure, at a flush each.
    segment_bytes: a segment that has grown to this size is sealed: made read-only, which tells all other writers.
    """

    def __init__(self, folder: Path, *, sync: bool, segment_bytes: int) -> None:
        self._folder, self._sync, self._segment_bytes = folder, sync, segment_bytes
        self._closed = False
        self._thread_lock = threading.Lock()
        self._lock: int | None = None
        self._tail: _Tail | None = None
        folder.mkdir(parents=True, exist_ok=True)
        renewed_after_fork(self)

    def append(self, payloads: Sequence[bytes]) -> int:
        """Append records, all of them or none, and return the partition's end offset; see `LogWriter.append`.

        Raises LogCorrupt when the newest segment is damaged before its end, OSError when the disk is full.
        """
        with self._thread_lock:
            lock = self._lock if self._lock is not None else self._open_lock()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return self._append(self._settled_tail(), payloads)
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)

    def probe(self) -> None:
        """Raise OSError while there is no room for an append; see `LogWriter.probe`."""
        scratch = self._folder / f".probe-{os.getpid()}"
        try:
            scratch.write_bytes(bytes(_PROBE_BYTES))
        finally:
            scratch.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the files."""
        with self._thread_lock:
            self._closed = True
            self._release()

    def after_fork(self) -> None:
        """Open everything anew: a lock shared with the parent would not keep the parent out, and would outlive it."""
        self._thread_lock = threading.Lock()
        self._release()

    def _open_lock(self) -> int:
        if self._closed:
            raise ValueError(f"expected an open writer of {self._folder}, got one that was closed")
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        return self._lock

    def _append(self, tail: _Tail, payloads: Sequence[bytes]) -> int:
        if not payloads:
            return tail.end
        data = frame(payloads, tail.end)
        self._write(tail, data)
        end = tail.end + len(data)
        self._tail = _Tail(tail.descriptor, tail.base, end)
        return end

    def _write(self, tail: _Tail, data: bytes) -> None:
        position = tail.end - tail.base
        try:
            written = os.pwrite(tail.descriptor, data, position)
            while written < len(data):
                written += os.pwrite(tail.descriptor, data[written:], position + written)
            if self._sync:
                os.fdatasync(tail.descriptor)
        except OSError:
            os.ftruncate(tail.descriptor, position)
            raise

    def _settled_tail(self) -> _Tail:
        """Return the newest segment, its end where the next append belongs."""
        tail = self._tail
        if tail is not None:
            found = os.fstat(tail.descriptor)
            if found.st_mode & WRITABLE and found.st_size == tail.end - tail.base < self._segment_bytes:
                return tail
        return self._find_tail()

    def _find_tail(self) -> _Tail:
        """Look at the files: another writer was here, or it is the first time, or the segment is full."""
        segments = list_segments(self._folder)
        if not segments:
            return self._start_segment(0)
        newest, tail = segments[-1], self._tail
        end = settled_end(newest, tail.end if tail and tail.base == newest.base else newest.base)
        mode = stat.S_IMODE(newest.path.stat().st_mode)
        if not mode & WRITABLE:
            return self._start_segment(end)
        entered = self._enter(newest, end)
        if end - newest.base < self._segment_bytes:
            return entered
        newest.path.chmod(mode & ~WRITABLE)
        return self._start_segment(end)

    def _enter(self, segment: Segment, end: int) -> _Tail:
        """Open a segment for writing at `end`, cutting what a crash has left behind it."""
        self._leave_tail()
        descriptor = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._tail = _Tail(descriptor, segment.base, end)
        torn = os.fstat(descriptor).st_size - (end - segment.base)
        if torn > 0:
            _LOGGER.warning("cut %d bytes of an append that was never completed from %s", torn, segment.path)
            os.ftruncate(descriptor, end - segment.base)
        return self._tail

    def _start_segment(self, base: int) -> _Tail:
        tail = self._enter(segment_at(self._folder, base), base)
        if self._sync and self._lock is not None:
            os.fsync(self._lock)
        return tail

    def _release(self) -> None:
        self._leave_tail()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _leave_tail(self) -> None:
        if self._tail is not None:
            os.close(self._tail.descriptor)
            self._tail = None
