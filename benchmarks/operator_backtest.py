"""Backtests of policies on real data: does retraining by diagnosis give what the calendar gives, for less?

    python benchmarks/operator_backtest.py [--quick] [--only flights] …

Flights, taxi rides and bank calls live through months of their past under never, weekly, monthly and on_diagnosis;
then once more under on_diagnosis with faults of data and labels put in, of which none may be answered by training. The
models are those of the diagnosis benchmark. It takes about half an hour of one core; `--quick`, without weekly, less.

The last line is JSON, as of every suite.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import Factory, define, evolve, frozen
from claims import Figure, Measured, at_least, at_most, exactly, in_words
from diagnosis_worlds import PROJECTS
from running import REPOSITORY, Progress
from suite import Found, Step, Suite, carry_out, parser_of

import charkha as ck
from charkha.clock import parse_time
from charkha.engines.local import LocalEngine
from charkha.monitoring.performance import Span
from charkha.operations.backtest.backtest import Terms, backtest
from charkha.operations.backtest.faults import DATA_FAULTS, fault_in_words, planned, put_in
from charkha.operations.backtest.history import History, opened_history
from charkha.operations.backtest.policies import variants_of
from charkha.operations.backtest.results import NEAR, Backtest, Retraining, Tried
from charkha.operations.drills.fault import Fault
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.spec.project import load_project

FIXED = ("never", "weekly", "monthly")
# A training so long after a fault may still be because of it: looks go back a week.
AFTER_US = 7 * DAY_US
# A training that is made without faults, too, may be made so much sooner or later with them.
MOVED_US = 3 * DAY_US


@frozen
class Past:
    """What is lived through: a model of a folder, from when until when; changed: how its definition differs here."""

    folder: Path
    model: str
    since: str
    until: str
    changed: Callable[[Model], Model] = lambda model: model


# The calls of the bank have no gates in the diagnosis benchmark, which trains once; and in 2009 there are too few of
# them for a calibration of its own to be anything but noise.
def with_gates(model: Model) -> Model:
    """Return the model of the bank as one would deploy it."""
    return evolve(model, calibrate=None, gates=(ck.beats_champion("log_loss"),), retrain=ck.Retrain(cooldown="28d"))


PASTS: Mapping[str, Past] = {
    "flights": Past(REPOSITORY / "examples/flights", "late_arrival", "2013-04-15", "2014-01-01"),
    "taxi": Past(REPOSITORY / "examples/taxi", "trip_time", "2018-10-01", "2020-01-01"),
    "bank": Past(PROJECTS / "bank", "bank_deposit", "2008-08-30", "2010-12-01", with_gates),
}


@define(eq=False)
class Bench:
    """quick: without weekly, and with looks a week apart. shown: world → its backtest, once it was made."""

    tell: Progress
    quick: bool = False
    shown: dict[str, Backtest] = Factory(dict)

    @property
    def fixed(self) -> Sequence[str]:
        """The fixed policies that are tried."""
        return [name for name in FIXED if not (self.quick and name == "weekly")]

    def lived(self, name: str) -> Backtest:
        """Return the backtest of a world, made once."""
        if name not in self.shown:
            with opened(name) as (history, span):
                self.shown[name] = self.tried(name, history, span, [*self.fixed, "on_diagnosis"])
        return self.shown[name]

    def tried(self, name: str, history: History, span: Span, policies: list[str]) -> Backtest:
        """Return a backtest of some policies, and tell of each."""
        look_us = 7 * DAY_US if self.quick else DAY_US
        terms = Terms(variants=variants_of(history.model, policies, []), span=span, look_every_us=look_us)
        told: set[str] = set()

        def on_progress(done: int, total: int, text: str) -> None:
            month = text.rpartition("-")[0]
            if month not in told:
                told.add(month)
                self.tell.tell(f"    {name}: {text}")

        shown = backtest(name, history, terms, on_progress)
        for each in shown.tried:
            self.tell.tell(f"  {name}: {in_a_line(shown, each)}")
        return shown


def in_a_line(shown: Backtest, tried: Tried) -> str:
    """Return what a policy showed in a line."""
    value = "none" if tried.overall is None else f"{tried.overall:.4f}"
    days = " ".join(each.time[:10] for each in tried.trained) if not tried.fixed else ""
    return (
        f"{tried.policy}: {shown.metric} {value}, {len(tried.trained)} retrainings ({tried.promotions} promoted), "
        f"{len(tried.incidents)} incidents, CPU {tried.train_cpu_seconds:.0f} s of trainings and "
        f"{tried.look_cpu_seconds:.0f} s of looks {days}"
    )


@contextmanager
def opened(name: str) -> Iterator[tuple[History, Span]]:
    """Yield the past of a world and the span of it that is lived through."""
    past = PASTS[name]
    project = load_project(past.folder)
    model = past.changed(project.models[past.model])
    span = Span(parse_time(past.since), parse_time(past.until))
    with opened_history(project, model, None, span, engine=LocalEngine(), on_step=lambda step: None) as history:
        yield history, span


def world_step(name: str) -> Step[Bench]:
    """Return the step that compares the policies on a world."""

    def run(bench: Bench) -> Found:
        began = time.process_time()
        shown = bench.lived(name)
        best = shown.better_of([each for each in shown.tried if each.fixed])
        (diagnosed,) = (each for each in shown.tried if each.policy == "on_diagnosis")
        if best is None:
            raise ValueError(f"{name}: expected months with labels, got none")
        short, trained = shown.shortfall(diagnosed, best), (len(diagnosed.trained), len(best.trained))
        note = f"{diagnosed.overall:.4f} with {trained[0]} beside {best.policy} {best.overall:.4f} with {trained[1]}"
        yield f"backtest_{name}_percent_short_of_best", Measured(100 * (short or 0.0), note)
        yield f"backtest_{name}_share_of_retrainings", Measured(trained[0] / max(1, trained[1]), note)
        yield f"backtest_{name}_cpu_seconds", Measured(time.process_time() - began)

    return Step(name, f"policies on the past of {name}", run)


def faults_step(name: str) -> Step[Bench]:
    """Return the step that puts faults into the past of a world."""

    def run(bench: Bench) -> Found:
        clean = bench.lived(name)
        (without,) = (each for each in clean.tried if each.policy == "on_diagnosis")
        with opened(name) as (history, span):
            faults = planned(history, kinds_for(span), span)
            for fault in faults:
                bench.tell.tell(f"    {name}: put in {fault_in_words(fault)}")
            (bent,) = bench.tried(name, put_in(history, faults, span), span, ["on_diagnosis"]).tried
        wrong = on_faults(bent.trained, without.trained, faults)
        note = f"{len(faults)} faults; {len(bent.trained)} retrainings, {len(without.trained)} without faults"
        note += "".join(f"; {each.time[:10]}: {each.why[:100]}" for each in wrong)
        yield f"backtest_{name}_retrainings_on_faults", Measured(len(wrong), note)

    return Step(f"{name}-faults", f"faults in the past of {name}", run)


def kinds_for(span: Span) -> list[str]:
    """Return as many kinds of fault as a past has room for."""
    room = int((span.days - 24) // 10)
    return list(DATA_FAULTS[:room])


def on_faults(bent: Sequence[Retraining], clean: Sequence[Retraining], faults: Sequence[Fault]) -> list[Retraining]:
    """Return the retrainings during faults, or within a week after, that are not made without faults as well."""
    times = [parse_time(each.time) for each in clean]
    return [
        each
        for each in bent
        if any(fault.since_us <= parse_time(each.time) < (fault.until_us or 0) + AFTER_US for fault in faults)
        and not any(abs(parse_time(each.time) - time_us) <= MOVED_US for time_us in times)
    ]


def _choice(bench: Bench) -> Found:
    held = []
    for name in PASTS:
        shown = bench.lived(name)
        best = shown.better_of([each for each in shown.tried if each.fixed])
        (diagnosed,) = (each for each in shown.tried if each.policy == "on_diagnosis")
        short = shown.shortfall(diagnosed, best) if best else None
        if best and short is not None and short <= NEAR and 2 * len(diagnosed.trained) <= len(best.trained):
            held.append(name)
    note = ", ".join(held) or "none"
    yield "backtest_worlds_where_diagnosis_gives_as_much_for_half", Measured(len(held), note)


STEPS: Sequence[Step[Bench]] = (
    *map(world_step, PASTS),
    Step("choice", "on how many worlds diagnosis gives as much for half", _choice),
    *map(faults_step, PASTS),
)
FIGURES: Sequence[Figure] = (
    *(at_most(name, f"backtest_{name}_percent_short_of_best", 100 * NEAR) for name in PASTS),
    *(at_most(name, f"backtest_{name}_share_of_retrainings", 0.5) for name in PASTS),
    *(in_words(name, f"backtest_{name}_cpu_seconds", "reported") for name in PASTS),
    at_least("choice", "backtest_worlds_where_diagnosis_gives_as_much_for_half", 2),
    *(exactly(f"{name}-faults", f"backtest_{name}_retrainings_on_faults", 0) for name in PASTS),
)
SUITE = Suite("Backtests of policies, on three real data sets.", STEPS, FIGURES, "without weekly, a look a week")


def main() -> int:
    """Run the benchmark and return its exit status."""
    options = parser_of(SUITE, __doc__).parse_args()
    return carry_out(
        SUITE, options, f"quick: {options.quick}", lambda folder, progress: Bench(progress, quick=options.quick)
    )


if __name__ == "__main__":
    sys.exit(main())
