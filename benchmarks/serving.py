"""Serving beside other servers and beside the bare stack: throughput, overload, memory, hot swaps and kills.

`make bench-serving` runs all of it, in some forty minutes (`--long`: half an hour more, at capacity for the memory's
sake, which leaves some 15 GB of log in the temporary folder until it ends); `--quick` in a few minutes: then it says
that all works, and little of how fast. wrk makes the load, on the cores that the server runs on: Debian and Ubuntu have
it as a package. Peers are installed from PyPI into build/peers; of those that cannot be, the figures are null.

The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}, `holds` null for what --only left
out. Exit status: 0 when everything was measured, whether its target was met or not; 1 when a step failed; 130 for
Ctrl-C.
"""

import shutil
import sys
from pathlib import Path

from attrs import evolve
from load import WrkMissing
from running import REPOSITORY, Progress
from serving_bench import QUICK, Bench, Lengths
from serving_figures import FIGURES
from serving_steps import STEPS
from serving_work import Sizes
from suite import Suite, carry_out, parser_of

QUICK_SCALE = 1 / 5
LONG_MINUTES = 30.0
SUITE = Suite("Serving, beside other servers and the bare stack.", STEPS, FIGURES, "a fifth of all lengths or less")


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = parser_of(SUITE, __doc__)
    parser.add_argument("--long", action="store_true", help="half an hour for the memory, in place of three minutes")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print(WrkMissing(), file=sys.stderr)
        return 1
    lengths = QUICK if options.quick else Lengths()
    lengths = evolve(lengths, memory_minutes=LONG_MINUTES) if options.long else lengths
    sizes = Sizes.at(QUICK_SCALE if options.quick else 1)

    def bench(folder: Path, progress: Progress) -> Bench:
        return Bench(folder, REPOSITORY / "build" / "peers", sizes, lengths, progress.tell)

    return carry_out(SUITE, options, f"{sizes}, {lengths}", bench)


if __name__ == "__main__":
    sys.exit(main())
