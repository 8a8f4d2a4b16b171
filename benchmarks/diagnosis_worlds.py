"""Recorded traffic of real data sets, on which diagnosis is tested: trained by Charkha, served by its own kernels.

    python benchmarks/diagnosis_worlds.py [NAME …]     builds worlds, and says what is in them

A model is trained on what was known at an early moment. Every later question is answered as the server would have: the
features by the offline kernel at its own time, the score by the bundle; without HTTP, and all at once. What the data do
not have is made up by chance from a fixed seed, and is healthy: which replica answered, how long it took, its clock.
"""

import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from attrs import frozen
from running import REPOSITORY, Progress

from charkha.bundles.encoding import FeatureSchema
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock, parse_time
from charkha.engines.local import LocalEngine
from charkha.features.reading import Readings, opened_readings
from charkha.features.spine import label_spine
from charkha.monitoring.performance import Span
from charkha.monitoring.recorded import arrivals
from charkha.monitoring.traffic import AGE_PREFIX, ARRIVALS, LABELS, PREDICTIONS, VITALS, Traffic
from charkha.operations.backtest.ages import ages_of
from charkha.operations.drills.rescoring import BundleRescore
from charkha.spec.model import FloatArray, Model
from charkha.spec.project import load_project
from charkha.storage.home import Home, open_home
from charkha.training.dataset import features_of, label_rows, sources_of, without_truth_ahead
from charkha.training.pipeline import Order, dataset_and_parts, train
from charkha.training.tracking import NoTracker

BUILD = REPOSITORY / "build" / "worlds"
PROJECTS = Path(__file__).parent / "diagnosis_projects"
REPLICAS = 4
SAMPLE = 20_000
MINUTE_US = 60_000_000
SEED = 11
FRAMES = ("predictions", "labels", "arrivals", "vitals", "recomputed")


@frozen
class Recipe:
    """How a world is made: a project's folder, one of its models, the day of its training, the end of the traffic."""

    folder: Path
    model: str
    as_of: str
    until: str


WORLDS: Mapping[str, Recipe] = {
    "flights": Recipe(REPOSITORY / "examples/flights", "late_arrival", "2013-04-15", "2013-11-01"),
    "taxi": Recipe(REPOSITORY / "examples/taxi", "trip_time", "2018-10-01", "2019-10-01"),
    "bank": Recipe(PROJECTS / "bank", "bank_deposit", "2008-07-07", "2009-01-15"),
    "loans": Recipe(PROJECTS / "loans", "loan_default", "2004-10-15", "2005-02-01"),
}


@frozen(eq=False)
class World:
    """Healthy traffic, the model that served it, and what it learnt from.

    training: one row per labelled occasion it was made of, with `part` ("train", "validation", "test"), `_at_us`, the
    request fields and features as in `Traffic.predictions`, `score` and `label`.
    """

    traffic: Traffic
    rescore: BundleRescore
    definition: Model
    training: pl.DataFrame

    @property
    def registered(self) -> dict[str, str]:
        """Version → digest of the bundle that the registry holds."""
        return {name: sha256(bundle.state).hexdigest() for name, bundle in self.rescore.bundles.items()}


def world(name: str, build: Path = BUILD) -> World:
    """Return a world by name, from the cache if nothing it is made of has changed. Raises KeyError."""
    recipe = WORLDS[name]
    _prepare(recipe)
    project = load_project(recipe.folder)
    model, folder = project.models[recipe.model], build / name
    with open_home(folder / f"home-{_stamp(recipe)}") as home:
        version = _trained(model, recipe, home)
        bundle = BundleStore(home.bundles).read(model.name, version)
        cache = home.folder / "world"
        if not (cache / "span.json").is_file():
            cache.mkdir(exist_ok=True)
            _write(cache, *_made(model, recipe, home, BundleRescore({version: bundle})))
        traffic, training = _read(cache, model.name)
        return World(traffic, BundleRescore({version: bundle}), model, training)


def _prepare(recipe: Recipe) -> None:
    if not (recipe.folder / "data").is_dir():
        subprocess.run([sys.executable, "prepare.py"], cwd=recipe.folder, check=True, stdout=subprocess.DEVNULL)


def _stamp(recipe: Recipe) -> str:
    """Return what tells whether a world must be made anew: its recipe, its definition, this file."""
    code = [Path(__file__), *sorted(recipe.folder.glob("*.py"))]
    return sha256(b"".join(path.read_bytes() for path in code) + str(recipe).encode()).hexdigest()[:12]


def _order(model: Model, recipe: Recipe) -> Order:
    return Order(model, recipe.folder, parse_time(recipe.as_of), f"world/{model.name}")


def _trained(model: Model, recipe: Recipe, home: Home) -> str:
    """Return the version of the training; a gate that it does not pass is no matter here."""
    clock = SimulatedClock(parse_time(recipe.as_of))
    return train(_order(model, recipe), home, clock, LocalEngine(1), NoTracker()).version


def _made(model: Model, recipe: Recipe, home: Home, rescore: BundleRescore) -> tuple[Traffic, pl.DataFrame]:
    span = Span(parse_time(recipe.as_of), parse_time(recipe.until))
    order, sources = _order(model, recipe), sources_of(model, recipe.folder, None)
    with opened_readings(sources, model.views, LocalEngine(1)) as readings:
        training = _training(order, readings, rescore)
        spine = label_spine(model.label, model.request, label_rows(model, readings, 1 << 60))
        within = (pl.col("_at_us") >= span.since_us) & (pl.col("_at_us") < span.until_us)
        asked = without_truth_ahead(model, spine.filter(within))
        features = features_of(rescore.plan, asked, readings)
    predictions = _predictions(model, asked, features, rescore, ages_of(model, recipe.folder, None, asked))
    of_features = [name for name in predictions.columns if name in features.columns]
    labels = asked.select(predictions["id"], label="_label", _label_known_us="_label_known_us").drop_nulls()
    came = [arrivals(source, recipe.folder, None, span) for source in model.sources]
    recomputed = predictions.select("id", "version", *of_features)
    traffic = Traffic(
        model=model.name,
        span=span,
        predictions=predictions,
        labels=labels.select(LABELS.names()).cast(LABELS).sort("_label_known_us", maintain_order=True),
        arrivals=pl.concat([pl.DataFrame(schema=ARRIVALS), *came]),
        vitals=_vitals(predictions),
        recomputed=recomputed.sample(min(SAMPLE, recomputed.height // 10), seed=SEED),
    )
    return traffic, training


def _training(order: Order, readings: Readings, rescore: BundleRescore) -> pl.DataFrame:
    dataset, parts = dataset_and_parts(order, readings)
    rows = _served(order.model, dataset.spine, dataset.features, rescore)
    rows = rows.with_columns(dataset.spine["_label"].alias("label"))
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return pl.concat([rows[part].with_columns(part=pl.lit(name)) for name, part in named.items()])


def _served(model: Model, asked: pl.DataFrame, features: pl.DataFrame, rescore: BundleRescore) -> pl.DataFrame:
    """Return questions as they are logged: version, request fields, features, score and decision."""
    (version,) = rescore.bundles
    request = asked.select("_at_us", **{f"request.{name}": pl.col(name) for name in model.request})
    logged = _logged(rescore.bundles[version].manifest.schema, features)
    rows = request.hstack(logged).with_columns(version=pl.lit(version))
    scores, decisions = rescore(rows)
    decision = pl.Series("decision", decisions if decisions is not None else [None] * rows.height, dtype=pl.Boolean)
    return rows.with_columns(pl.Series("score", scores, nan_to_null=True), decision)


def _logged(schema: FeatureSchema, features: pl.DataFrame) -> pl.DataFrame:
    """Return features in the types of the log: text, or numbers that are never NaN."""
    return features.select(
        pl.col(column.name).cast(pl.String)
        if column.kind == "categorical"
        else pl.col(column.name).cast(pl.Float64).fill_nan(None)
        for column in schema.columns
    )


def _predictions(
    model: Model, asked: pl.DataFrame, features: pl.DataFrame, rescore: BundleRescore, ages: Mapping[str, pl.Series]
) -> pl.DataFrame:
    random, count = np.random.default_rng(SEED), asked.height
    rows = _served(model, asked, features, rescore)
    digest = sha256(rescore.bundles[rows["version"][0]].state).hexdigest()
    rows = rows.with_columns(
        pl.Series("id", [f"{model.name}-{number:07d}" for number in range(count)], dtype=pl.String),
        pl.Series("replica", [f"replica-{number}" for number in random.integers(0, REPLICAS, count)]),
        pl.Series("latency_us", _latencies(random, count)),
        role=pl.lit("champion"),
        bundle=pl.lit(digest),
        fallback=pl.lit(None, pl.String),
        features_logged=pl.lit(value=True),
        **{AGE_PREFIX + view: seconds for view, seconds in ages.items()},
    )
    request, own = [f"request.{name}" for name in model.request], [AGE_PREFIX + view for view in ages]
    return rows.select(*PREDICTIONS, *request, *features.columns, *own)


def _latencies(random: np.random.Generator, count: int) -> FloatArray:
    """Return latencies in µs such as a server has: about 2 ms, one in a hundred much slower."""
    slow = np.where(random.random(count) < 0.01, random.uniform(3, 10, count), 1.0)
    return (random.lognormal(np.log(2_000), 0.25, count) * slow).astype(np.int64)


def _vitals(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return what healthy replicas would tell of the minutes in which they answered."""
    minute = (pl.col("_at_us") // MINUTE_US * MINUTE_US).alias("_minute_us")
    milliseconds = pl.col("latency_us") / 1000
    counted = (
        predictions.group_by(minute, "replica")
        .agg(
            requests=pl.len().cast(pl.Int64),
            latency_ms_p50=milliseconds.median(),
            latency_ms_p95=milliseconds.quantile(0.95),
        )
        .sort("_minute_us", "replica")
    )
    random = np.random.default_rng(SEED)
    none = {name: pl.lit(0, pl.Int64) for name in ("errors", "sheds", "timeouts")}
    clock = pl.Series("clock_ahead_us", random.normal(0, 2_000, counted.height).astype(np.int64))
    return counted.with_columns(clock, **none).select(VITALS.names())


def _write(cache: Path, traffic: Traffic, training: pl.DataFrame) -> None:
    for name in FRAMES:
        getattr(traffic, name).write_parquet(cache / f"{name}.parquet")
    training.write_parquet(cache / "training.parquet")
    (cache / "span.json").write_bytes(msgspec.json.encode([traffic.span.since_us, traffic.span.until_us]))


def _read(cache: Path, model: str) -> tuple[Traffic, pl.DataFrame]:
    frames = {name: pl.read_parquet(cache / f"{name}.parquet") for name in FRAMES}
    since_us, until_us = msgspec.json.decode((cache / "span.json").read_bytes(), type=tuple[int, int])
    return Traffic(model, Span(since_us, until_us), **frames, changes=(), total=None), pl.read_parquet(
        cache / "training.parquet"
    )


def main() -> None:
    progress = Progress()
    for name in sys.argv[1:] or WORLDS:
        made = world(name)
        traffic = made.traffic
        labelled = traffic.labels["id"].n_unique()
        progress.tell(
            f"{name}: {traffic.predictions.height:,} predictions of {len(traffic.features)} features over "
            f"{traffic.span.days:.0f} days, {labelled:,} labels, {traffic.vitals.height:,} minutes of vitals; "
            f"trained on {made.training.height:,} rows"
        )


if __name__ == "__main__":
    main()
