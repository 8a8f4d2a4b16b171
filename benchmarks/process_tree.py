"""A process and its descendants, as Linux's /proc shows them: who they are, their memory, their processor time."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants, parents before their children."""
    found = [pid]
    for parent in found:
        found.extend(children(parent))
    return found


def children(pid: int) -> list[int]:
    """Return the ids of a process's children; none where it is gone."""
    try:
        threads = list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
    # A thread may be gone by now; its children are another's then.
    lines = (line for thread in threads for line in _lines(pid, f"task/{thread.name}/children"))
    return [int(child) for line in lines for child in line.split()]


def rss_bytes(pid: int) -> int:
    """Return how much memory a process and its descendants have in use, what they share counted once for each."""
    lines = (line for each in tree(pid) for line in _lines(each, "status"))
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def own_bytes(pid: int) -> int:
    """Return how much memory is a process's own: none of what it shares or has mapped of files; 0 where it is gone."""
    return sum(int(line.split()[1]) * 1024 for line in _lines(pid, "status") if line.startswith("RssAnon:"))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its living descendants."""
    fields = (line.rpartition(")")[2].split() for each in tree(pid) for line in _lines(each, "stat"))
    return sum(int(field[11]) + int(field[12]) for field in fields) / _TICKS


def command(pid: int) -> str:
    """Return the command line of a process, empty where it is gone."""
    return " ".join(_lines(pid, "cmdline")).replace("\0", " ")


def _lines(pid: int, name: str) -> Iterator[str]:
    try:
        yield from (PROC / str(pid) / name).read_text(errors="replace").splitlines()
    except OSError:
        return
