"""The operator in a storm of alarms: fifty within an hour, through its real ledger, and what it trains.

    python benchmarks/operator_retraining.py

Nine storms, each in a home of its own, over a small world of visits whose champion was trained thirty days before.
After every alarm the operator looks, decides and acts until there is nothing to do; trainings are carried out.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from attrs import field, frozen
from claims import Claim, Figure, Measured, at_most, claim_lines, claims_json, exactly, judge

import charkha as ck
from charkha.bundles.estimators.linear import Linear
from charkha.clock import SimulatedClock, parse_time
from charkha.engines.local import LocalEngine
from charkha.monitoring.diagnosis.incident import ALLOWED, Culprit, DiagnosedCause, Diagnosis, Remedy
from charkha.monitoring.diagnosis.incidents import observe
from charkha.monitoring.performance import Span
from charkha.operations.operator import Operator
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.fields import TIME
from charkha.spec.model import Model
from charkha.spec.policies import Retrain
from charkha.spec.project import Project
from charkha.storage.home import open_home
from charkha.training.pipeline import train
from charkha.training.tracking import NoTracker

ALARMS = 50
NAME = "visit"
DAYS, PER_DAY = 64, 80
START_US = parse_time("2013-01-01")
FIRST_US, STORM_US = START_US + 30 * DAY_US, START_US + 60 * DAY_US
FIELDS = {"id": str, "at": datetime, "known_at": datetime, "x": float, "z": float, "kind": str, "y": bool}

STEP = "retraining"
FIGURES: tuple[Figure, ...] = (
    at_most(STEP, "trainings_of_a_storm_of_50_alarms", 1),
    exactly(STEP, "trainings_of_a_storm_of_one_view_at_fault", 1),
    exactly(STEP, "trainings_of_a_storm_of_prior_shift", 1),
    exactly(STEP, "trainings_of_remedies_beyond_the_budget", 0),
    exactly(STEP, "written_refusals_of_remedies_beyond_the_budget", 2),
    exactly(STEP, "trainings_of_a_storm_beyond_its_budget", 0),
    exactly(STEP, "written_refusals_of_a_storm_beyond_its_budget", 1),
    exactly(STEP, "trainings_of_a_storm_within_the_cooldown", 0),
    exactly(STEP, "trainings_of_a_storm_beside_broken_data", 0),
    exactly(STEP, "trainings_of_50_drifts_that_harm_nobody", 0),
)


@frozen
class Storm:
    """What alarms come: fifty of one cause, an hour long.

    broken: a source is at fault at the same time. remedies: remedies are carried out, a view is at fault in place of a
    segment where the cause is a source.
    """

    retrain: Retrain = field(factory=lambda: Retrain(on_fall=False, cooldown="14d"))
    cause: DiagnosedCause = "population"
    broken: bool = False
    remedies: bool = False


SPENT = Retrain(on_fall=False, cooldown="14d", budget_trainings=1, budget_period="31d")
STORMS: Mapping[str, Storm] = {
    "plain": Storm(),
    "budget": Storm(SPENT),
    "cooldown": Storm(Retrain(on_fall=False, cooldown="31d")),
    "broken": Storm(broken=True),
    "benign": Storm(cause="benign"),
    "view": Storm(cause="source", remedies=True),
    "prior": Storm(cause="prior", remedies=True),
    "view, spent": Storm(SPENT, cause="source", remedies=True),
    "prior, spent": Storm(SPENT, cause="prior", remedies=True),
}


def measure() -> dict[str, Measured]:
    """Return the figures of all storms."""
    found = {}
    for name, storm in STORMS.items():
        began = time.process_time()
        with tempfile.TemporaryDirectory(prefix="charkha-storm-") as folder:
            found[name] = ride(storm, Path(folder))
        took = time.process_time() - began
        print(f"{name:<10}{dict(found[name])}, {took:.1f} s of processor time", flush=True)
    trainings = {name: Measured(counts["train"]) for name, counts in found.items()}
    return {
        "trainings_of_a_storm_of_50_alarms": trainings["plain"],
        "trainings_of_a_storm_of_one_view_at_fault": trainings["view"],
        "trainings_of_a_storm_of_prior_shift": trainings["prior"],
        "trainings_of_remedies_beyond_the_budget": Measured(
            found["view, spent"]["train"] + found["prior, spent"]["train"]
        ),
        "written_refusals_of_remedies_beyond_the_budget": Measured(
            found["view, spent"]["train_refused"] + found["prior, spent"]["train_refused"]
        ),
        "trainings_of_a_storm_beyond_its_budget": trainings["budget"],
        "written_refusals_of_a_storm_beyond_its_budget": Measured(found["budget"]["train_refused"]),
        "trainings_of_a_storm_within_the_cooldown": trainings["cooldown"],
        "trainings_of_a_storm_beside_broken_data": trainings["broken"],
        "trainings_of_50_drifts_that_harm_nobody": trainings["benign"],
    }


def ride(storm: Storm, folder: Path) -> Counter[str]:
    """Return how often the operator did what in the hour of a storm, by action, and how many incidents there were."""
    visits(DAYS).write_parquet(folder / "visits.parquet")
    model = make_model(storm)
    project = Project(name="storm", root=folder, home=folder / ".charkha", models={NAME: model})
    clock = SimulatedClock(FIRST_US)
    with open_home(project.home) as home:
        operator = Operator(
            project,
            home,
            clock,
            lambda order: train(order, home, clock, LocalEngine(1), NoTracker()),
            NoTracker(),
            daily_skew=False,
            keeps_log=False,
        )
        operator.tick(NAME)
        before = len(home.ledger.decisions())
        for number in range(ALARMS):
            clock.advance_to(STORM_US + number * HOUR_US // ALARMS)
            observe(home.ledger, alarm(storm.cause, f"kind=s{number}", clock.now(), storm.remedies))
            if storm.broken and number == 0:
                observe(home.ledger, alarm("source", "visits", clock.now() + 1))
            operator.tick(NAME)
        counts = Counter(each.action for each in home.ledger.decisions(after=before))
        counts["incidents"] = len(home.ledger.incidents(NAME))
        home.ledger.verify()
    return counts


def alarm(cause: DiagnosedCause, culprit: str, now_us: int, of_view: bool = False) -> Diagnosis:
    """Return a diagnosis of what began twenty-nine days ago; of_view: a source's, of a feature for a day."""
    of_view = of_view and cause == "source"
    began_us = STORM_US - (1 if of_view else 29) * DAY_US
    named = Culprit(sources=culprit) if cause == "source" else Culprit(segments=culprit)
    if of_view:
        named = Culprit(sources="visits", features="lately.mean_z_2d", segments=culprit)
    return Diagnosis(
        model=NAME,
        watched=Span(now_us - 7 * DAY_US, now_us),
        healthy=Span(now_us - 35 * DAY_US, now_us - 7 * DAY_US),
        cause=cause,
        kind=f"drift of {culprit}",
        culprit=named,
        began_us=began_us,
        earliest_us=began_us,
        latest_us=began_us,
        remedy=Remedy(action=ALLOWED[cause][0]),
    )


def make_model(storm: Storm) -> Model:
    """Return a model whose labels come within a day; where remedies are, one with a view and a calibration."""
    source = ck.Source("visits", FIELDS, ck.parquet("visits.parquet"), time="at", known="known_at", key=("id",))
    view = ck.FeatureView("lately", ck.Entity("kind"), source, windows=[ck.mean("z", over="2d")])
    views = (view,) if storm.remedies else ()
    return Model(
        NAME,
        label=ck.Label(source, pl.col("y"), at="at", delay="1d"),
        request=("x", "z", "kind"),
        features=(*views, ck.RequestFeatures("asked", x=pl.col("x"), z=pl.col("z"))),
        estimator=Linear(),
        split=ck.Split(validation="4d", test="5d"),
        metrics=("log_loss", "roc_auc"),
        retrain=storm.retrain,
        calibrate="sigmoid" if storm.remedies else None,
        autonomy=ck.Autonomy("act") if storm.remedies else ck.Autonomy(),
        purpose="benchmark",
        owner="benchmark",
    )


def visits(days: int) -> pl.DataFrame:
    """Return visits, so many a day, each known the next day."""
    random, count = np.random.default_rng(11), days * PER_DAY
    day = np.repeat(np.arange(days), PER_DAY)
    x, z = random.normal(size=count), random.normal(size=count)
    columns = {
        "id": [str(number) for number in range(count)],
        "at": pl.Series(START_US + day * DAY_US + 8 * HOUR_US).cast(TIME),
        "known_at": pl.Series(START_US + (day + 1) * DAY_US + HOUR_US).cast(TIME),
        "x": x,
        "z": z,
        "kind": ["a"] * count,
        "y": random.random(count) < 1 / (1 + np.exp(-2 * x - 0.5 * z)),
    }
    return pl.DataFrame(columns).select(list(FIELDS))


def claims() -> list[Claim]:
    """Ride all storms and return their claims."""
    return judge(measure(), {}, FIGURES)


def main() -> int:
    """Print the table of claims, and them as JSON."""
    found = claims()
    print(*claim_lines(found), sep="\n")
    print(claims_json(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
