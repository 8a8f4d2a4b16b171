"""Diagnosis on real data: what is found of incidents and of nothing, under which name, how soon, beside other tools.

`make bench-diagnosis` puts every kind of incident of the catalogue into recorded weeks of four models (flights, taxi
rides, bank calls, loans) and looks at them hour by hour, as it looks at weeks into which nothing was put. The worlds
are made first, once, in build/worlds. It takes about an hour on two cores; `--quick`, with a few weeks, some minutes.

The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}, `holds` null for what --only left
out. Exit status: 0 when everything was measured, whether its target was met or not; 1 when a step failed; 130 for
Ctrl-C.
"""

import sys
from pathlib import Path

from diagnosis_bench import QUICK, Bench, Extent
from diagnosis_figures import FIGURES
from diagnosis_steps import STEPS
from running import REPOSITORY, Progress
from suite import Suite, carry_out, parser_of

SUITE = Suite("Diagnosis, on four real data sets.", STEPS, FIGURES, "few weeks, one size")


def main() -> int:
    """Run the benchmark and return its exit status."""
    options = parser_of(SUITE, __doc__).parse_args()
    extent = QUICK if options.quick else Extent()

    def bench(folder: Path, progress: Progress) -> Bench:
        return Bench(folder, REPOSITORY / "build", extent, tell=progress.tell)

    return carry_out(SUITE, options, str(extent), bench)


if __name__ == "__main__":
    sys.exit(main())
