"""The operator: rollouts decided by statistics, retraining by diagnosis, runs that survive, the ledger and its costs.

`make bench-operator` simulates rollouts by the thousand, lives through the pasts of three models under several policies
of retraining, kills operators wherever that could matter, and asks a long ledger questions. It takes about two hours on
two cores, most of it for the pasts; `--quick` says in half an hour that all works.

The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}, `holds` null for what --only left
out. Exit status: 0 when everything was measured, whether its target was met or not; 1 when a step failed; 130 for
Ctrl-C.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import operator_backtest
import operator_ledger
import operator_points
import operator_retraining
import operator_rollout
import operator_runs
from attrs import frozen
from claims import Figure
from running import Progress
from suite import Found, Step, Suite, carry_out, parser_of


@frozen(eq=False)
class Bench:
    """What the parts are given."""

    folder: Path
    quick: bool
    runs: operator_points.Bench
    backtests: operator_backtest.Bench


def rollouts(bench: Bench) -> Found:
    """Simulate rollouts of equal, worse and better versions."""
    yield from operator_rollout.measure(quick=bench.quick).items()


def storms(bench: Bench) -> Found:
    """Let storms of alarms pass over an operator."""
    yield from operator_retraining.measure().items()


def ledger(bench: Bench) -> Found:
    """Ask a long ledger, and meter what metering takes."""
    folder = bench.folder / "ledger"
    folder.mkdir()
    yield from operator_ledger.measure(folder, quick=bench.quick)


def of_runs(step: Step[operator_points.Bench]) -> Step[Bench]:
    """Return a step about runs as one of this benchmark."""
    return Step(step.name, step.what, lambda bench: step.run(bench.runs))


def of_backtests(step: Step[operator_backtest.Bench]) -> Step[Bench]:
    """Return a step about policies as one of this benchmark."""
    return Step(step.name, step.what, lambda bench: step.run(bench.backtests))


STEPS: Sequence[Step[Bench]] = (
    Step(operator_rollout.STEP, "rollouts of versions that are equal, worse and better", rollouts),
    Step(operator_retraining.STEP, "storms of 50 alarms", storms),
    *map(of_runs, operator_runs.STEPS),
    Step(operator_ledger.STEP, "questions to a long ledger, and meters", ledger),
    *map(of_backtests, operator_backtest.STEPS),
)
FIGURES: Sequence[Figure] = (
    *operator_rollout.FIGURES,
    *operator_retraining.FIGURES,
    *operator_runs.FIGURES,
    *operator_ledger.FIGURES,
    *operator_backtest.FIGURES,
)
SUITE = Suite("The operator.", STEPS, FIGURES, "fewer rollouts, points and policies")


def main() -> int:
    """Run the benchmark and return its exit status."""
    options: Any = parser_of(SUITE, __doc__).parse_args()

    def bench(folder: Path, progress: Progress) -> Bench:
        runs = operator_points.Bench(folder, options.quick, progress.tell)
        return Bench(folder, options.quick, runs, operator_backtest.Bench(progress, quick=options.quick))

    return carry_out(SUITE, options, "quick" if options.quick else "whole", bench)


if __name__ == "__main__":
    sys.exit(main())
