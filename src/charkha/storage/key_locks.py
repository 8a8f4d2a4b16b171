"""Locks by key between processes, which the operating system releases when a process dies."""

import fcntl
import os
from pathlib import Path

_LARGEST = (1 << 62) - 1


class KeyLocks:
    """Each key is one byte of a file that nothing is written to; no two processes hold the same one.

    Within a process a lock keeps nobody out: who holds which key there is for its caller to know.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def try_lock(self, key: bytes) -> bool:
        """Take the lock of a key; return False when another process has it."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(key))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def unlock(self, key: bytes) -> None:
        """Let another process have it."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _place(key))

    def close(self) -> None:
        """Release every lock."""
        os.close(self._descriptor)


def _place(key: bytes) -> int:
    return int.from_bytes(key[:8]) & _LARGEST
