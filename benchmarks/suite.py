"""A benchmark of steps: it runs those that were asked for, and says for every figure what was found or why nothing was.

The last line that it prints is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}, `holds` null for what
--only left out. Exit status: 0 when everything was measured, whether its target was met or not; 1 when a step failed;
130 for Ctrl-C.
"""

import argparse
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from attrs import Factory, define, evolve, frozen
from claims import Claim, Figure, Measured, claim_lines, claims_json, judge
from measuring import header_lines
from running import INTERRUPTED, Progress, commit

B = TypeVar("B")


class PeerMissing(Exception):
    """Something to compare with cannot be had here; says why."""


@frozen
class Compared:
    """A piece of work, what it shows here, and what it shows beside: in the same run, on the same data."""

    work: str
    unit: str
    ours: float
    beside: str
    theirs: float

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.ours / self.theirs


Found = Iterator[Compared | tuple[str, Measured]]


@frozen
class Step(Generic[B]):
    """A part of a benchmark."""

    name: str
    what: str
    run: Callable[[B], Found]


@frozen
class Suite(Generic[B]):
    """A benchmark. quick: what --quick makes of it, in words."""

    title: str
    steps: Sequence[Step[B]]
    figures: Sequence[Figure]
    quick: str


@define
class Results:
    """What was found so far of the figures that are wanted.

    remark: of all figures. unmeasured: step → why not all of it was. left_out: the steps that were not asked for.
    failed: a step broke.
    """

    wanted: Sequence[Figure]
    remark: str = ""
    compared: list[Compared] = Factory(list)
    figures: dict[str, Measured] = Factory(dict)
    unmeasured: dict[str, str] = Factory(dict)
    left_out: frozenset[str] = frozenset()
    failed: bool = False

    def add(self, found: Compared | tuple[str, Measured]) -> str:
        """Keep one result; return it in words."""
        if isinstance(found, Compared):
            self.compared.append(found)
            return f"{found.work}: {found.ours:,.4g} {found.unit}, {found.beside} {found.theirs:,.4g}"
        name, measured = found
        self.figures[name] = evolve(measured, note=self.remark + measured.note)
        return f"{name} {measured.value:,.4g}"

    def claims(self) -> list[Claim]:
        """Return a claim for every figure."""
        return judge(self.figures, self.unmeasured, self.wanted, self.left_out)


def measure(chosen: Sequence[Step[B]], bench: B, progress: Progress, results: Results) -> None:
    """Run steps one after the other; one that fails does not keep the others from being run."""
    for step in chosen:
        progress.tell(f"{step.name}: {step.what}")
        try:
            for found in step.run(bench):
                progress.tell(f"  {results.add(found)}")
        except PeerMissing as error:
            progress.tell(f"  {error}")
            results.unmeasured[step.name] = str(error)
        except Exception as error:
            traceback.print_exc()
            results.failed = True
            results.unmeasured[step.name] = f"not measured, the step failed: {type(error).__name__}: {error}"


def compared_lines(compared: Sequence[Compared]) -> Iterator[str]:
    """Yield a table of ratios, line by line."""
    yield f"{'work':<40}{'unit':<8}{'charkha':>12}{'beside it':>12}{'ratio':>10}  beside"
    for each in compared:
        figures = f"{each.ours:>12,.2f}{each.theirs:>12,.2f}{each.ratio:>10,.3f}"
        yield f"{each.work:<40}{each.unit:<8}{figures}  {each.beside}"


def parser_of(suite: Suite[B], description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options that every suite has."""
    names = [step.name for step in suite.steps]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=suite.quick)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the claims to a file")
    return parser


def carry_out(suite: Suite[B], options: argparse.Namespace, sizes: str, bench: Callable[[Path, Progress], B]) -> int:
    """Run a suite and return its exit status. bench: makes what steps are given, for a temporary folder."""
    progress = Progress()
    results = Results(suite.figures, f"{suite.quick}; " if options.quick else "")
    chosen = [step for step in suite.steps if not options.only or step.name in options.only]
    results.left_out = frozenset(step.name for step in suite.steps if step not in chosen)
    results.unmeasured |= {step.name: "not measured" for step in suite.steps}
    results.unmeasured |= dict.fromkeys(results.left_out, "left out by --only")
    for sign in (signal.SIGINT, signal.SIGTERM):  # a shell that runs this in the background lets it ignore the first
        signal.signal(sign, signal.default_int_handler)
    print(*header_lines(commit(), suite.title), f"sizes      {sizes}", sep="\n", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="charkha-benchmark-") as folder:
            measure(chosen, bench(Path(folder), progress), progress, results)
    except KeyboardInterrupt:
        print("stopped; what was running and its files are gone", file=sys.stderr)
        return INTERRUPTED
    claims = results.claims()
    for line in ("", *compared_lines(results.compared), "", *claim_lines(claims), "", claims_json(claims)):
        print(line)
    if options.json:
        options.json.write_text(claims_json(claims) + "\n", "utf-8")
    return 1 if results.failed else 0
