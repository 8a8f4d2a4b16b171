"""One pass of each joint of the wheel, with its cost per row; and every figure that the wheel has to show.

`make bench-wheel` runs all of it, in about half an hour. Without `--all` what takes a fresh clone with its own
environment is left out. The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}.

Exit status: 0 when everything was measured, whether its target was met or not; 1 when a step failed; 130 for Ctrl-C.
"""

import argparse
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from attrs import Factory, define, frozen
from claims import Measured, claim_lines, claims_json, judge
from demonstration import demo_figures
from fresh_clone import clone_figures
from honesty import honesty_figures
from kills import kill_figures
from live_joints import live_costs
from measuring import Cost, cost_lines, header_lines
from running import INTERRUPTED, REPOSITORY, Progress, commit
from swaps import swap_figures
from training_joints import training_costs
from workbench import Workbench

TITLE = "One pass of each joint of the wheel, on the flights example."

Found = Iterator[Cost | tuple[str, Measured]]


@frozen
class Step:
    """A part of the benchmark. long: left out unless all is asked for."""

    name: str
    what: str
    run: Callable[[Workbench], Found]
    long: bool = False


@define
class Results:
    """What was found so far. unmeasured: step → why not all of it was. failed: whether a step broke."""

    costs: list[Cost] = Factory(list)
    figures: dict[str, Measured] = Factory(dict)
    unmeasured: dict[str, str] = Factory(dict)
    failed: bool = False

    def add(self, found: Cost | tuple[str, Measured]) -> str:
        """Keep one result; return its name."""
        if isinstance(found, Cost):
            self.costs.append(found)
            return found.joint
        name, measured = found
        self.figures[name] = measured
        return name


def steps(progress: Progress) -> tuple[Step, ...]:
    """Return all steps, in the order in which they are run."""
    return (
        Step("live", "the joints that run all the time", live_costs),
        Step("training", "the joints that make a version", training_costs),
        Step("honesty", "shuffled labels and a planted leak", honesty_figures),
        Step("serving", "hot swaps and rollbacks of a live server", swap_figures),
        Step("demo", "the demo, in a home of its own", demo_figures),
        Step("kills", "kill -9 of server and operator", partial(kill_figures, tell=progress.tell)),
        Step("clone", "make demo and make test in a fresh clone", clone_figures, long=True),
    )


def measure(chosen: Sequence[Step], bench: Workbench, progress: Progress, results: Results) -> None:
    """Run steps one after the other; one that fails does not keep the others from being run."""
    for step in chosen:
        progress.tell(f"{step.name}: {step.what}")
        try:
            for found in step.run(bench):
                progress.tell(f"  {results.add(found)}")
        except Exception as error:
            traceback.print_exc()
            results.failed = True
            results.unmeasured[step.name] = f"not measured, the step failed: {type(error).__name__}: {error}"


def print_results(results: Results) -> None:
    """Print the tables, and the claims as the last line."""
    claims = judge(results.figures, results.unmeasured)
    for line in ("", *cost_lines(results.costs), "", *claim_lines(claims), "", claims_json(claims)):
        print(line)


def arguments(names: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="also what needs a fresh clone and its installation")
    parser.add_argument("--only", action="append", choices=names, metavar="STEP", help=f"one of {', '.join(names)}")
    return parser.parse_args()


def choose(every: Sequence[Step], options: argparse.Namespace) -> list[Step]:
    """Return the steps that were asked for."""
    if options.only:
        return [step for step in every if step.name in options.only]
    return [step for step in every if options.all or not step.long]


def main() -> int:
    """Run the benchmark and return its exit status."""
    progress = Progress()
    every = steps(progress)
    options = arguments([step.name for step in every])
    chosen = choose(every, options)
    results = Results()
    left_out = f"not measured in this run: {'left out by --only' if options.only else '--all'}"
    results.unmeasured |= {step.name: left_out for step in every if step not in chosen}
    for sign in (signal.SIGINT, signal.SIGTERM):  # a shell that runs this in the background lets it ignore the first
        signal.signal(sign, signal.default_int_handler)
    print(*header_lines(commit(), TITLE), sep="\n", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="charkha-wheel-") as folder:
            measure(chosen, Workbench(Path(folder), REPOSITORY), progress, results)
    except KeyboardInterrupt:
        print("stopped; what was running and its files are gone", file=sys.stderr)
        return INTERRUPTED
    print_results(results)
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
