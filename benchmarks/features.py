"""Feature kernels beside Feast and beside the floors: point-in-time joins, windows, online reads, writes, sizes.

`make bench-features` runs all of it on data of its own, in some twenty minutes; `--quick` at a twentieth of the sizes,
in a few minutes: then the ratios say something, and the targets, which are for full sizes, less. Every measurement has
a process of its own. Feast is installed from PyPI into build/feast-venv; where it cannot be, its figures are null.
Costs are processor time, in which a noisy neighbour counts least.

The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}, `holds` null for what --only left
out. Exit status: 0 when everything was measured, whether its target was met or not; 1 when a step failed; 130 for
Ctrl-C.
"""

import argparse
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import Factory, define, evolve
from claims import Claim, Measured, claim_lines, claims_json, judge
from features_data import Sizes
from features_feast import FeastMissing
from features_figures import FIGURES
from features_steps import STEPS, Bench, Compared, Step
from measuring import header_lines
from running import INTERRUPTED, REPOSITORY, Progress, commit

QUICK = 1 / 20
TITLE = "Feature kernels, beside Feast and the floors."


@define
class Results:
    """What was found so far. remark: of all figures. unmeasured: step → why not all of it was. failed: a step broke.

    left_out: the steps that were not asked for.
    """

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
        return judge(self.figures, self.unmeasured, FIGURES, self.left_out)


def measure(chosen: Sequence[Step], bench: Bench, progress: Progress, results: Results) -> None:
    """Run steps one after the other; one that fails does not keep the others from being run."""
    for step in chosen:
        progress.tell(f"{step.name}: {step.what}")
        try:
            for found in step.run(bench):
                progress.tell(f"  {results.add(found)}")
        except FeastMissing as error:
            progress.tell(f"  {error}")
            results.unmeasured[step.name] = str(error)
        except Exception as error:
            traceback.print_exc()
            results.failed = True
            results.unmeasured[step.name] = f"not measured, the step failed: {type(error).__name__}: {error}"


def compared_lines(compared: Sequence[Compared]) -> Iterator[str]:
    """Yield a table of ratios, line by line."""
    yield f"{'work':<40}{'unit':<8}{'charkha':>12}{'beside it':>12}{'ratio':>8}  beside"
    for each in compared:
        figures = f"{each.ours:>12,.2f}{each.theirs:>12,.2f}{each.ratio:>8.3f}"
        yield f"{each.work:<40}{each.unit:<8}{figures}  {each.beside}"


def arguments(names: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of all sizes")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the claims to a file")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark and return its exit status."""
    progress, options = Progress(), arguments([step.name for step in STEPS])
    results = Results("a twentieth of all sizes; " if options.quick else "")
    chosen = [step for step in STEPS if not options.only or step.name in options.only]
    results.left_out = frozenset(step.name for step in STEPS if step not in chosen)
    results.unmeasured |= {step.name: "not measured" for step in STEPS}
    results.unmeasured |= dict.fromkeys(results.left_out, "left out by --only")
    for sign in (signal.SIGINT, signal.SIGTERM):  # a shell that runs this in the background lets it ignore the first
        signal.signal(sign, signal.default_int_handler)
    sizes = Sizes.at(QUICK if options.quick else 1)
    print(*header_lines(commit(), TITLE), f"sizes      {sizes}", sep="\n", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="charkha-features-") as folder:
            measure(chosen, Bench(Path(folder), REPOSITORY / "build", sizes, tell=progress.tell), progress, results)
    except KeyboardInterrupt:
        print("stopped; what was running and its files are gone", file=sys.stderr)
        return INTERRUPTED
    claims = results.claims()
    for line in ("", *compared_lines(results.compared), "", *claim_lines(claims), "", claims_json(claims)):
        print(line)
    if options.json:
        options.json.write_text(claims_json(claims) + "\n", "utf-8")
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
