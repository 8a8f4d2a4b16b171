"""A small world for the operator: a project whose truth turns round halfway, its traffic, and its operator."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from attrs import evolve

import charkha as ck
from charkha.bundles.estimators.linear import Linear
from charkha.clock import SimulatedClock, parse_time
from charkha.engines.local import LocalEngine
from charkha.operations.operator import Operator
from charkha.serving.service import Service
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.fields import TIME
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Decision
from charkha.training.pipeline import Candidate, Order, train
from charkha.training.tracking import NoTracker, Tracker

START_US = parse_time("2013-01-01")
FIRST_DAY = 24  # what lies before is history to train on
DAYS = 64
TURN = 36  # from this day on, what was likely is unlikely
ROWS_PER_DAY = 120
NAME = "visit"

FIELDS = {"id": str, "at": datetime, "known_at": datetime, "x": float, "z": float, "kind": str, "y": bool}
VISITS = ck.Source("visits", FIELDS, ck.parquet("visits.parquet"), time="at", known="known_at", key=("id",))


def make_model(**changes: object) -> Model:
    """Return a model whose labels come within a day and whose shadows run for 4 days."""
    settings: dict[str, object] = {
        "label": ck.Label(VISITS, pl.col("y"), at="at", delay="1d"),
        "request": ("x", "z", "kind"),
        "features": (ck.RequestFeatures("asked", x=pl.col("x"), z=pl.col("z"), kind=pl.col("kind")),),
        "estimator": Linear(),
        "split": ck.Split(validation="4d", test="5d"),
        "metrics": ("log_loss", "roc_auc"),
        "slices": ("kind",),
        "gates": (ck.beats_champion("log_loss"),),
        "rollout": ck.shadow("4d", min_labels=100) >> ck.compare("log_loss"),
        "retrain": ck.Retrain(cooldown="6d", window="21d"),
        "monitors": ck.Monitors(window="7d"),
        "purpose": "tests",
        "owner": "tests",
        **changes,
    }
    return Model(NAME, **settings)  # type: ignore[arg-type]


def make_project(folder: Path, **changes: object) -> Project:
    """Write the history and return the project; the same every time."""
    folder.mkdir(parents=True, exist_ok=True)
    history().write_parquet(folder / "visits.parquet")
    return project_in(folder, **changes)


def project_in(folder: Path, **changes: object) -> Project:
    """Return the project of a folder whose history was written."""
    return Project(name="world", root=folder, home=folder / ".charkha", models={NAME: make_model(**changes)})


def history() -> pl.DataFrame:
    """Return all visits: ROWS_PER_DAY a day, half at 8:00 and half at 16:00, each known at 1:00 the next day."""
    random = np.random.default_rng(11)
    count = DAYS * ROWS_PER_DAY
    days = np.repeat(np.arange(DAYS), ROWS_PER_DAY)
    hours = np.tile(np.repeat([8, 16], ROWS_PER_DAY // 2), DAYS)
    x, z = random.normal(size=count), random.normal(size=count)
    slope = np.where(days < TURN, 2.0, -2.0)
    columns = {
        "id": [str(number) for number in range(count)],
        "at": pl.Series(START_US + days * DAY_US + hours * HOUR_US).cast(TIME),
        "known_at": pl.Series(START_US + (days + 1) * DAY_US + HOUR_US).cast(TIME),
        "x": x,
        "z": z,
        "kind": random.choice(["a", "b"], count),
        "y": random.random(count) < 1 / (1 + np.exp(-slope * x - 0.5 * z)),
    }
    return pl.DataFrame(columns).select(list(FIELDS))


def trainer(home: Home, clock: SimulatedClock, tracker: Tracker) -> Callable[[Order], Candidate]:
    """Return a function that trains in this process."""
    return lambda order: train(order, home, clock, LocalEngine(1), tracker)


def make_operator(project: Project, home: Home, clock: SimulatedClock, *, tracker: Tracker | None = None) -> Operator:
    """Return an operator that trains in this process and tells `tracker`, or nobody."""
    told = tracker or NoTracker()
    return Operator(project, home, clock, trainer(home, clock, told), told)


def midnight(day: int) -> int:
    """Return when a day begins, which is when the operator looks (µs)."""
    return START_US + day * DAY_US


class Traffic:
    """Asks for predictions and tells labels, a day at a time, as the history has them."""

    def __init__(self, project: Project, home: Home, clock: SimulatedClock) -> None:
        self._service = Service(project, home, clock, partition="web-0")
        self._clock = clock
        self._visits = history()
        self._asked: dict[int, list[str]] = {}

    def day(self, day: int) -> None:
        """Tell the labels of the day before at 1:00, then ask for those of this day at 8:00 and at 16:00."""
        self._service.refresh()
        self._clock.advance_to(midnight(day) + HOUR_US)
        if day - 1 in self._asked:
            truth = self._of(day - 1).get_column("y").cast(pl.Float64).to_list()
            self._service.label(NAME, self._asked[day - 1], truth)
        visits = self._of(day).select("x", "z", "kind")
        half = ROWS_PER_DAY // 2
        self._asked[day] = self._ask(day, 8, visits[:half]) + self._ask(day, 16, visits[half:])

    def _ask(self, day: int, hour: int, visits: pl.DataFrame) -> list[str]:
        self._clock.advance_to(midnight(day) + hour * HOUR_US)
        return self._service.predict(NAME, visits).ids

    def _of(self, day: int) -> pl.DataFrame:
        return self._visits[day * ROWS_PER_DAY : (day + 1) * ROWS_PER_DAY]


def operate(folder: Path, told: Connection) -> None:
    """Be a process that is an operator: say so, then tick at every time that is told, and answer when it is done."""
    project = project_in(folder)
    with open_home(project.home) as home:
        told.send("ready")
        while True:
            now_us = told.recv()
            make_operator(project, home, SimulatedClock(now_us)).tick(NAME)
            told.send(now_us)


class Killed(BaseException):
    """The process is gone."""


class Mortal:
    """A store whose owner is killed at one of the calls that change it, before the change or after it."""

    CHANGES = ("write", "delete", "decide", "begin_run", "finish_run", "record_version", "set_checkpoint")

    def __init__(self, store: Any, calls: Iterator[None], *, after: bool) -> None:
        self._store, self._calls, self._after = store, calls, after

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._store, name)
        return self._mortal(known) if name in self.CHANGES else known

    def _mortal(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            dies = next(self._calls, self) is self
            if dies and not self._after:
                raise Killed
            result = change(*arguments, **named)
            if dies:
                raise Killed
            return result

        return call


def mortal(home: Home, deaths: int, *, after: bool) -> Home:
    """Return a home in which the `deaths`-th change of tables or ledger is the last."""
    calls = iter([None] * (deaths - 1))
    tables: Any = Mortal(home.tables, calls, after=after)
    ledger: Any = Mortal(home.ledger, calls, after=after)
    return evolve(home, tables=tables, ledger=ledger)


def _without_measures(result: Mapping[str, object]) -> dict[str, object]:
    """Return a run's result without what it took, which is never the same twice."""
    return {name: value for name, value in result.items() if not name.endswith("_seconds")}


def _without_cost(decision: Decision) -> Decision:
    """Return a decision without what trainings have taken, on which it tells its cost, and without its hashes."""
    reason = re.sub(r"Expected cost .*", "", decision.reason)
    evidence = {name: value for name, value in decision.evidence.items() if name not in {"cost", "spent"}}
    return evolve(decision, reason=reason, evidence=evidence, hash="", previous_hash="")


def memory(home: Home) -> dict[str, object]:
    """Return all that the ledger says of the world: two runs that did the same are equal in it."""
    ledger = home.ledger
    return {
        "decisions": [_without_cost(decision) for decision in ledger.decisions(NAME)],
        "deployments": ledger.deployments(NAME),
        "versions": ledger.versions(NAME),
        "runs": [evolve(run, result=_without_measures(run.result)) for run in ledger.runs(NAME)],
        "chain": ledger.verify(),
    }
