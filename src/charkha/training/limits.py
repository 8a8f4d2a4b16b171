"""What a training process may use of the machine, set by itself before it begins."""

import math
import os
import resource
import sys
import threading

from charkha.spec.policies import Budget

# Serving comes first wherever both want a core.
NICENESS = 10
# What Polars, scikit-learn, LightGBM and MLflow allocate before they are given a single row.
LIBRARIES_BYTES = 600_000_000
PARENT_GONE = 75


def limit_this_process(budget: Budget) -> None:
    """Bound this process's memory and CPU time for good, and let all others go before it.

    Memory is bounded as *data* (RLIMIT_DATA: what it allocates), not as address space, of which the online state alone
    may map 16 GB that cost nothing. Where the system does not count data (macOS), it is not bounded. CPU time is the
    time budget on every core, and only matters when the parent, which watches the clock, has been stopped.
    """
    os.nice(NICENESS)
    _lower(resource.RLIMIT_DATA, LIBRARIES_BYTES + int(budget.train_memory_gb * 1e9))
    _lower(resource.RLIMIT_CPU, math.ceil(budget.train_minutes * 60 * (os.cpu_count() or 1)))


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def end_with_parent() -> None:
    """End this process when its standard input closes: the parent holds the other end, and dying lets go of it."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(PARENT_GONE)
