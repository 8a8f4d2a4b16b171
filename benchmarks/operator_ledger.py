"""The ledger and the meters: what a question costs of a ledger with 100,000 decisions, and what metering costs.

    python benchmarks/operator_ledger.py [--quick]

Figures are in processor time of this process; those of metering are medians of some rounds.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from claims import Claim, Figure, Measured, at_most, below, claim_lines, claims_json, in_words, judge
from running import Progress
from sqlalchemy import insert

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.governance.audit import export_ledger, verify_export, verify_ledger
from charkha.operations.hindsight.explain import explain
from charkha.operations.hindsight.standing import standing_at
from charkha.serving.observer import Stages
from charkha.serving.vitals import ModelVitals, Vitals
from charkha.spec.model import Model
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Draft, Ledger, Usage
from charkha.storage.ledger.anchors import anchor_of
from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.decisions import FIRST_PREVIOUS_HASH, chain_hash
from charkha.storage.ledger.schema import DECISIONS
from charkha.storage.metering import Meter

MANY, FEW = 100_000, 5_000
EVERY = 50  # so many decisions are about one version
ROUNDS = 5
STEP = "ledger"
FIGURES: tuple[Figure, ...] = (
    below(STEP, "ledger_verify_seconds", 10),
    below(STEP, "ledger_verify_export_seconds", 10),
    below(STEP, "ledger_explain_seconds", 5),
    below(STEP, "ledger_at_a_date_seconds", 5),
    in_words(STEP, "ledger_export_megabytes", "reported"),
    below(STEP, "metering_milliseconds_a_stage", 20),
    at_most(STEP, "metering_microseconds_an_answered_batch", 5),
    at_most(STEP, "metering_of_a_worker_share_of_a_core", 0.001),
)


def seconds_of(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median processor time of a piece of work (s)."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return median(taken)


def model_of_the_benchmark() -> Model:
    """Return a model about which the decisions are."""
    from datetime import datetime

    import polars as pl

    rides = ck.Source("rides", {"km": float, "at": datetime, "late": bool}, ck.parquet("rides.parquet"), time="at")
    return ck.Model(
        "late",
        label=ck.Label(rides, pl.col("late"), at="at", delay="1d"),
        request=("km",),
        features=(ck.RequestFeatures("asked", km=pl.col("km")),),
        estimator=ck.Linear(),
        purpose="a benchmark",
        owner="benchmarks",
    )


def fill(ledger: Ledger, model: str, count: int) -> None:
    """Write decisions as a busy operator's of many years; in one transaction, which is what makes it quick."""
    loss = {"value": 0.43, "low": 0.42, "high": 0.44, "n": 5412}
    for number in range(10):
        draft = Draft(f"promote {number}", number, model, "operator", "promote", "better", {"version": f"v{number}"})
        ledger.decide(draft, deploy=[Assignment(f"v{number}", "champion")])
    rows, head = [], ledger.head()
    previous = head.hash if head else FIRST_PREVIOUS_HASH
    for number in range(10, count):
        evidence = {"version": f"v{number // EVERY}", "metric": "log_loss", "challenger_loss": loss, "labels": 5412}
        content = {
            "key": f"{model}/reject/{number}",
            "time_us": number * 1000,
            "model": model,
            "actor": "operator",
            "action": "reject",
            "reason": "not shown to be better",
            "evidence": evidence,
            "sequence": number + 1,
            "generation": None,
        }
        own = chain_hash(previous, content)
        rows.append({**content, "evidence": canonical_json(evidence), "previous_hash": previous, "hash": own})
        previous = own
    with ledger._database.writing() as connection:
        connection.execute(insert(DECISIONS), rows)


def questions(home: Home, count: int) -> Iterator[tuple[str, Measured]]:
    """Yield what questions to a long ledger take."""
    model = model_of_the_benchmark()
    fill(home.ledger, model.name, count)
    head = home.ledger.head()
    assert head is not None
    anchors = [anchor_of("benchmark", head, 0)]
    note = f"{count:,} decisions"
    yield "ledger_verify_seconds", Measured(seconds_of(lambda: verify_ledger(home.ledger, anchors), 1), note)
    stream = io.StringIO()
    export_ledger(home.ledger, stream)
    lines = stream.getvalue().splitlines()
    yield "ledger_export_megabytes", Measured(len(stream.getvalue()) / 1e6, note)
    yield "ledger_verify_export_seconds", Measured(seconds_of(lambda: verify_export(lines, anchors), 1), note)
    middle = home.ledger.decision(count // 2)
    took = seconds_of(lambda: explain(home, model, middle, count * 1000), 1)
    yield "ledger_explain_seconds", Measured(took, f"{note}, all of one model")
    took = seconds_of(lambda: standing_at(home.ledger, model.name, count * 500), 1)
    yield "ledger_at_a_date_seconds", Measured(took, f"{note}, all of one model")


def metering(home: Home, batches: int) -> Iterator[tuple[str, Measured]]:
    """Yield what metering adds: to a stage of a run, to a batch that is answered, and to a worker that is idle."""

    def keep(usage: Usage) -> None:
        home.ledger.record_usage([usage])

    clock = SimulatedClock(0)

    def stage(number: int) -> None:
        meter = Meter(kind="training", run=f"run {number}", model="late", team="b", clock=clock, on_usage=keep)
        with meter.stage("fit"):
            pass

    taken = median(seconds_of(partial(stage, number), 1) for number in range(100))
    yield "metering_milliseconds_a_stage", Measured(taken * 1e3, "counters read twice, and one row in the ledger")

    stages = Stages(0, 1_000, 3_000, 6_000, 10_000)
    vitals_of_one = ModelVitals(home.log, "late", "w0", "w0", clock)

    def answer() -> None:
        for _ in range(batches):
            vitals_of_one.answered(0, 1, stages)

    taken = seconds_of(answer) / batches * 1e6
    yield "metering_microseconds_an_answered_batch", Measured(taken, "with all else that is counted of a batch")

    models = {name: ModelVitals(home.log, name, "w", "w", clock) for name in ("a", "b", "c")}
    vitals = Vitals(models, cpu_ns=time.process_time_ns)
    looks = 2_000

    def share() -> None:
        for _ in range(looks):
            vitals._share_cpu()

    taken = seconds_of(share) / looks
    note = f"3 models, {taken * 1e6:.1f} µs 4 times a second"
    yield "metering_of_a_worker_share_of_a_core", Measured(4 * taken, note)


def measure(folder: Path, *, quick: bool = False) -> Iterator[tuple[str, Measured]]:
    """Yield every figure of the ledger and the meters."""
    with open_home(folder / "home") as home:
        yield from questions(home, FEW if quick else MANY)
        yield from metering(home, 20_000 if quick else 200_000)


def claims(folder: Path, *, quick: bool = False) -> list[Claim]:
    """Return the claims of the ledger and the meters."""
    progress, found = Progress(), dict[str, Measured]()
    for name, measured in measure(folder, quick=quick):
        progress.tell(f"{name} {measured.value:,.4g}")
        found[name] = measured
    return judge(found, {STEP: "not measured"}, FIGURES)


def main() -> int:
    """Print the figures, as a table and as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{FEW:,} decisions")
    quick = parser.parse_args().quick
    with TemporaryDirectory() as folder:
        found = claims(Path(folder), quick=quick)
    for line in claim_lines(found):
        print(line)
    print(claims_json(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
