"""A project small enough to read, its bundles written by hand: serving is tested without training anything."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.bundles.encoding import FeatureColumn, FeatureSchema
from charkha.bundles.linear_runtime import LinearState
from charkha.bundles.manifest import EstimatorSpec, Lineage, Manifest, RuleSpec
from charkha.bundles.profile import learn_shape, profile_of
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock, parse_time
from charkha.features.expressions import expression_to_json
from charkha.features.feed import Feed
from charkha.features.plan import plan_features
from charkha.serving.observer import Observer
from charkha.serving.service import Service
from charkha.spec.business import Better
from charkha.spec.model import Model
from charkha.spec.policies import Fallback, LogPolicy
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Decision, Draft

NOW_US = parse_time("2013-04-01T12:00:00Z")
HOUR_US = 3_600_000_000
MODEL = "late_trip"

SETTINGS = '[project]\nname = "trips"\n'
DEFINITION = """
from datetime import datetime

import polars as pl

import charkha as ck
from charkha.bundles.estimators.linear import Linear

trips = ck.Source(
    "trips",
    {
        "trip": int, "city": str, "driver": str, "km": float, "stops": int, "pooled": bool,
        "asked_at": datetime, "ended_at": datetime, "late": bool,
    },
    time="ended_at",
    key=["trip"],
)
weather = ck.Source(
    "weather", {"city": str, "rain": float, "seen_at": datetime}, ck.csv("weather.csv"), time="seen_at"
)

late = ck.Model(
    "late_trip",
    label=ck.Label(trips, pl.col("late"), at="asked_at", delay="1h"),
    request=["city", "km", "stops", "pooled"],
    features=[
        ck.FeatureView(
            "traffic", ck.Entity("city"), trips,
            windows=[ck.count(over="1h"), ck.mean("km", over="6h")], latest=["driver"],
        ),
        ck.FeatureView("sky", ck.Entity("city"), weather, latest=["rain"]),
        ck.RequestFeatures("ask", per_stop=pl.col("km") / pl.col("stops"), hour=pl.col("asked_at").dt.hour()),
    ],
    estimator=Linear(),
    purpose="operations",
    owner="trips-team",
)
how_far = ck.Model(
    "how_far",
    label=ck.Label(trips, pl.col("km"), at="asked_at", delay="1h"),
    request=["city", "stops"],
    features=[ck.FeatureView("crowd", ck.Entity("city"), trips, windows=[ck.count(over="1h")])],
    estimator=Linear(),
    task="regression",
    purpose="operations",
    owner="trips-team",
)
"""
WEATHER = "city,rain,seen_at\nPune,2.5,2013-04-01T11:00:00\n"
KINDS = {"traffic.driver": "categorical"}
DRIVERS = ("ann", "bob")


def write_project(folder: Path) -> Project:
    """Write the project into a folder and load it; its weather comes in a file and cannot be pushed."""
    (folder / "charkha.toml").write_text(SETTINGS)
    (folder / "definition.py").write_text(DEFINITION)
    (folder / "weather.csv").write_text(WEATHER)
    return load_project(folder)


def schema_of(model: Model) -> FeatureSchema:
    names = plan_features(model).names
    return FeatureSchema(
        tuple(
            FeatureColumn(name, "categorical", DRIVERS) if name in KINDS else FeatureColumn(name, "numeric")
            for name in names
        )
    )


def write_bundle(
    project: Project,
    home: Home,
    version: str,
    intercept: float = -1.0,
    rules: Sequence[RuleSpec] = (),
    name: str = "late_trip",
) -> str:
    """Write a version whose log-odds (or value) are the intercept plus half the trips of the last hour."""
    model = project.models[name]
    schema = schema_of(model)
    frame = pl.DataFrame({c.name: ["ann", None] if c.vocabulary else [0.0, 1.0] for c in schema.columns})
    scores = np.array([0.25, 0.75])
    shape = learn_shape(frame, scores)
    manifest = Manifest(
        model=name,
        version=version,
        task=model.task,
        created_us=NOW_US,
        as_of_us=NOW_US,
        estimator=EstimatorSpec("linear"),
        plan_json=plan_features(model).to_json(),
        schema=schema,
        threshold=0.5 if model.task == "binary" else None,
        rules=tuple(rules),
        reference=profile_of(shape, frame, scores),
        shape=shape,
        lineage=Lineage(
            fingerprint="0", rows=2, definition_digest="0", as_of_us=NOW_US, seed=7, versions={}, source_rows={}
        ),
        purpose=model.purpose,
        owner=model.owner,
        positive_share=0.5,
    )
    return BundleStore(home.bundles).write(manifest, linear_state(model, schema, intercept), "# A card")


def linear_state(model: Model, schema: FeatureSchema, intercept: float) -> bytes:
    numeric = tuple(place for place, column in enumerate(schema.columns) if column.kind == "numeric")
    weights = tuple(0.5 if schema.columns[place].name.endswith("count_1h") else 0.0 for place in numeric)
    zeros = (0.0,) * len(numeric)
    state = LinearState(
        task=model.task,
        columns=len(schema.columns),
        intercept=intercept,
        clip=1000.0,
        numeric=numeric,
        centres=zeros,
        scales=(1.0,) * len(numeric),
        weights=weights,
        null_weights=zeros,
        categorical=schema.categorical,
        tables=tuple((0.25, -0.25) for _ in schema.categorical),
    )
    return msgspec.json.encode(state)


def rule(name: str, when: pl.Expr, *, decide: bool = True, shadow: bool = False) -> RuleSpec:
    return RuleSpec(name, expression_to_json(when), decide, shadow=shadow)


def deploy(home: Home, *assignments: Assignment, model: str = "late_trip") -> Decision:
    """Make the next generation of a deployment."""
    generation = home.ledger.deployment(model).generation
    draft = Draft(f"test-{model}-{generation + 1}", NOW_US, model, "test", "deploy", "for a test", {})
    return home.ledger.decide(draft, deploy=assignments, expect_generation=generation)


def champion(version: str) -> Assignment:
    return Assignment(version, "champion", 1.0)


@frozen(eq=False)
class Stage:
    """An open project with a champion "v1", a clock that stands still, and a service that has refreshed."""

    project: Project
    home: Home
    clock: SimulatedClock
    service: Service


@contextmanager
def open_stage(
    folder: Path,
    observer: Observer | None = None,
    fallback: Fallback | None = None,
    rules: Sequence[RuleSpec] = (),
    log: LogPolicy | None = None,
    business: Mapping[str, Better] | None = None,
) -> Iterator[Stage]:
    project = write_project(folder)
    late = evolve(project.models["late_trip"], fallback=fallback, log=log or LogPolicy(), business=business or {})
    project = evolve(project, models={**project.models, "late_trip": late})
    with open_home(project.home) as home:
        clock = SimulatedClock(NOW_US)
        Feed(project.sources, project.views, home.log, home.online, clock).materialise(project.root, NOW_US)
        write_bundle(project, home, "v1", rules=rules)
        deploy(home, champion("v1"))
        service = Service(project, home, clock, "w0", observer)
        service.refresh()
        yield Stage(project, home, clock, service)
        service.close()


def trip(number: int, city: str = "Pune", *, late: bool | None = False, ended_us: int = NOW_US) -> tuple[object, ...]:
    """Return a pushed row, values in the order of the source's fields."""
    return (number, city, "ann", 4.0, 2, False, ended_us - HOUR_US, ended_us, late)


def requests(*cities: str | None) -> pl.DataFrame:
    schema = {"city": pl.String, "km": pl.Float64, "stops": pl.Int64, "pooled": pl.Boolean}
    rows = [(city, 6.0, 2, True) for city in cities]
    return pl.DataFrame(rows, schema=schema, orient="row")
