"""A measurement in a process of its own, so that neither its memory nor its caches are those of another.

Run as a script it calls one function of another file of this folder, with JSON for its arguments, and prints as its
last line what that returned and how much memory the process had at most.
"""

import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen
from processes import Failed, child

PATIENCE_SECONDS = 3600.0


@frozen
class Outcome:
    """What a measurement returned, and of its process: the most memory it ever had, the processor time of all of it."""

    values: Mapping[str, float]
    peak_rss_bytes: int
    process_cpu_seconds: float


def middle(rounds: Sequence[Outcome]) -> Outcome:
    """Return the median of each figure over several rounds of one measurement."""
    values = {name: median(each.values[name] for each in rounds) for name in rounds[0].values}
    peak = median(each.peak_rss_bytes for each in rounds)
    return Outcome(values, round(peak), median(each.process_cpu_seconds for each in rounds))


def in_child(function: str, log: Path, **arguments: Any) -> Outcome:
    """Call "module:function" of this folder in a process of its own. Raises Failed, subprocess.TimeoutExpired."""
    return ended([sys.executable, __file__, function, json.dumps(arguments)], log)


def ended(command: list[str], log: Path) -> Outcome:
    """Run a command to its end and return what its last line says. Raises Failed, subprocess.TimeoutExpired."""
    with child(command, log, stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    if process.returncode:
        raise Failed(command[:3], process.returncode, log)
    result = json.loads(said.splitlines()[-1])
    return Outcome(result["values"], result["peak_rss_bytes"], result["process_cpu_seconds"])


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return how much processor time a piece of work takes, on all cores together."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Call the function that was asked for."""
    module, _, name = sys.argv[1].partition(":")
    values = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # Linux counts in KiB, macOS in bytes
    spent = used.ru_utime + used.ru_stime
    print(json.dumps({"values": values, "peak_rss_bytes": peak, "process_cpu_seconds": spent}))


if __name__ == "__main__":
    main()
