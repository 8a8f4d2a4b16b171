"""What a piece of work costs per row, and on what machine that was."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from attrs import frozen

Work = Callable[[], object]

# What most of the time is spent in.
LIBRARIES = (
    "charkha",
    "polars",
    "numpy",
    "lightgbm",
    "scikit-learn",
    "mlflow",
    "msgspec",
    "lmdb",
    "sqlalchemy",
    "granian",
)


@frozen
class Cost:
    """What a joint costs per row, in µs of all processors and of the clock on the wall.

    unit: what a row is. rows: in each repeat. Both times are medians over the repeats.
    """

    joint: str
    unit: str
    rows: int
    repeats: int
    cpu_us: float
    wall_us: float


def cost(joint: str, unit: str, rows: int, works: Iterable[Work]) -> Cost:
    """Measure works that each handle so many rows; what `works` does between two of them is not counted."""
    cpu, wall = [], []
    for work in works:
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        work()
        cpu.append(time.process_time_ns() - cpu_ns)
        wall.append(time.perf_counter_ns() - wall_ns)
    return Cost(joint, unit, rows, len(wall), median(cpu) / 1000 / rows, median(wall) / 1000 / rows)


def again(work: Work, repeats: int) -> Iterator[Work]:
    """Yield the same work several times."""
    yield from (work for _ in range(repeats))


def cost_lines(costs: Sequence[Cost]) -> Iterator[str]:
    """Yield a table of costs, line by line."""
    yield f"{'joint':<44}{'row':<14}{'rows':>9}{'repeats':>9}{'CPU µs/row':>14}{'wall µs/row':>14}"
    for each in costs:
        figures = f"{each.rows:>9,}{each.repeats:>9}{each.cpu_us:>14,.1f}{each.wall_us:>14,.1f}"
        yield f"{each.joint:<44}{each.unit:<14}{figures}"


def header_lines(commit: str, title: str) -> Iterator[str]:
    """Yield what a reader must know before comparing the figures with others."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    yield title
    yield "Wall time is an upper bound wherever the load is above 0; compare CPU time, and only on the same processor."
    yield f"processor  {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"
    yield f"load       {loads} (1, 5 and 15 minutes, at the beginning)"
    yield f"python     {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield f"versions   {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}"
    yield f"commit     {commit}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
