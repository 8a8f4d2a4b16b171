"""Which process something is of, so that another one on the same machine can tell whether it is gone."""

import os
import socket
from pathlib import Path

from attrs import frozen

_PROC = Path("/proc")
# Of the fields of /proc/PID/stat behind the name: the state, and when the process began.
_STATE, _BEGAN = 0, 19


@frozen
class Process:
    """One process. space: the numbering that its id is of, for containers count anew. began: tells it from a later one.

    space and began are empty where the system does not tell them.
    """

    host: str
    space: str
    pid: int
    began: str

    @classmethod
    def this(cls) -> "Process":
        """Return the calling process."""
        return cls(socket.gethostname(), _space(), os.getpid(), _began(os.getpid()) or "")

    @property
    def is_near(self) -> bool:
        """Whether it can be seen from here: of the same machine, and of the same numbering."""
        return (self.host, self.space) == (socket.gethostname(), _space())

    @property
    def is_gone(self) -> bool:
        """Whether it certainly runs no more; of one that cannot be seen from here nothing is certain."""
        return self.is_near and not self._runs()

    def _runs(self) -> bool:
        if self.began:
            return _began(self.pid) == self.began
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _began(pid: int) -> str | None:
    """Return when a process began, in ticks since the machine did; None for one that is gone or only waits to be."""
    try:
        # The name, in parentheses, may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] in "ZX" else fields[_BEGAN]
