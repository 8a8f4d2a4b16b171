"""Feature kernels beside Feast and beside the floors: point-in-time joins, windows, online reads, writes, sizes.

`make bench-features` runs all of it on data of its own, in some twenty minutes; `--quick` at a twentieth of the sizes,
in a few minutes: then the ratios say something, and the targets, which are for full sizes, less. Every measurement has
a process of its own. Feast is installed from PyPI into build/feast-venv; where it cannot be, its figures are null.
Costs are processor time, in which a noisy neighbour counts least.

The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}, `holds` null for what --only left
out. Exit status: 0 when everything was measured, whether its target was met or not; 1 when a step failed; 130 for
Ctrl-C.
"""

import sys
from pathlib import Path

from features_data import Sizes
from features_figures import FIGURES
from features_steps import STEPS, Bench
from running import REPOSITORY, Progress
from suite import Suite, carry_out, parser_of

QUICK = 1 / 20
SUITE = Suite("Feature kernels, beside Feast and the floors.", STEPS, FIGURES, "a twentieth of all sizes")


def main() -> int:
    """Run the benchmark and return its exit status."""
    options = parser_of(SUITE, __doc__).parse_args()
    sizes = Sizes.at(QUICK if options.quick else 1)

    def bench(folder: Path, progress: Progress) -> Bench:
        return Bench(folder, REPOSITORY / "build", sizes, tell=progress.tell)

    return carry_out(SUITE, options, str(sizes), bench)


if __name__ == "__main__":
    sys.exit(main())
