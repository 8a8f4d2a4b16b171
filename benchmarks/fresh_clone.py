"""What a newcomer meets: a clone of the repository, an empty package cache, and make."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from claims import Measured
from processes import Finished, environment, last_words, run, run_well
from workbench import Workbench

LONGEST_SECONDS = 3600.0
SHOWN = 50_000  # characters of what a failed target said: a failed test among a thousand, with its traceback


def clone_figures(bench: Workbench) -> Iterator[tuple[str, Measured]]:
    """Yield the seconds of `make demo` with all that it installs, then of `make test`, and the branches covered."""
    clone = bench.folder / "clone"
    made = ["git", "clone", "--quiet", str(bench.repository), str(clone)]
    run_well(made, bench.folder / "clone.log", timeout_seconds=LONGEST_SECONDS)
    demo, _ = _make(bench, clone, "demo")
    yield "demo_seconds_with_installation", Measured(demo.wall_seconds, _spent(demo), _unless_failed(demo))
    test, words = _make(bench, clone, "test")
    yield "make_test_exit_status", Measured(test.status, words if test.status else "with ruff, mypy and every test")
    yield "make_test_seconds", Measured(test.wall_seconds, _spent(test), _unless_failed(test))
    yield "branch_coverage_percent", _branches(bench, clone)


def _make(bench: Workbench, clone: Path, target: str) -> tuple[Finished, str]:
    """Run a target of the clone, and return its last words too; all that one which fails said is shown."""
    caches = {name: str(bench.folder / name.lower()) for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR")}
    log = bench.folder / f"make-{target}.log"
    finished = run(["make", target], log, timeout_seconds=LONGEST_SECONDS, cwd=clone, env=environment(**caches))
    if finished.status:  # the folder is gone at the end, and last words are too few to tell why a test failed
        print(log.read_text(errors="replace")[-SHOWN:], file=sys.stderr)
    return finished, last_words(log)


def _spent(finished: Finished) -> str:
    return f"{finished.cpu_seconds:.0f} s of processor time; exit status {finished.status}"


def _unless_failed(finished: Finished) -> bool | None:
    """Return False for a command that failed: however soon it did, it did not meet its target."""
    return False if finished.status else None


def _branches(bench: Workbench, clone: Path) -> Measured:
    report = bench.folder / "coverage.json"
    command = [str(clone / ".venv" / "bin" / "coverage"), "json", "--quiet", "-o", str(report)]
    run_well(command, bench.folder / "coverage.log", timeout_seconds=LONGEST_SECONDS, cwd=clone)
    totals = json.loads(report.read_text())["totals"]
    lines = f"lines: {100 * totals['covered_lines'] / totals['num_statements']:.1f} %"
    return Measured(100 * totals["covered_branches"] / totals["num_branches"], lines)
