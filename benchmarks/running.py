"""What every benchmark needs to run: what it measures, how it tells of its progress, how it ends when it is stopped."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
INTERRUPTED = 130


class Progress:
    """Lines on standard error, each with the seconds since the beginning."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def tell(self, text: str) -> None:
        """Print a line."""
        print(f"{time.monotonic() - self._started:7.1f} s  {text}", file=sys.stderr, flush=True)


def commit() -> str:
    """Return the commit that is measured, and whether the files differ from it."""
    git = partial(subprocess.run, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    name = git(["git", "rev-parse", "--short", "HEAD"]).stdout.strip() or "unknown"
    changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    return f"{name}, with changes that are not committed" if changed else name
