"""The projects that the serving benchmark serves: raw fields alone, and a fraud path with stored features and rules.

Each is trained for real, of generated data, by 300 trees of 31 leaves. Of the fields' project the peers get the very
model file, and the same rows with their categories as the codes that the model knows.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.encoding import encode
from charkha.bundles.store import BundleStore
from charkha.clock import SystemClock
from charkha.engines.local import LocalEngine
from charkha.features.feed import Feed
from charkha.operations.deploy import promote
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_project
from charkha.storage.ledger import Assignment, Draft
from charkha.training.pipeline import Order, train
from charkha.training.tracking import NoTracker

TREES, LEAVES = 300, 31
NUMBERS = tuple(f"f{i:02d}" for i in range(30))
CATEGORIES = {"merchant": 24, "country": 60}
FIELDS = (*NUMBERS, *CATEGORIES)
STORED = tuple(f"f{i}" for i in range(10))
HISTORY_DAYS = 60
BODIES = 1000
PUSHED_AT_ONCE = 2000

FIELDS_DEFINITION = f"""
from datetime import datetime

import polars as pl

import charkha as ck

FIELDS = {{**dict.fromkeys({NUMBERS}, float), **dict.fromkeys({tuple(CATEGORIES)}, str)}}
payments = ck.Source(
    "payments", {{"payment": int, "at": datetime, "fraud": bool, **FIELDS}}, ck.parquet("payments.parquet"),
    time="at", key="payment",
)
model = ck.Model(
    "fields",
    label=ck.Label(payments, pl.col("fraud"), at="at", delay="1h"),
    request=list(FIELDS),
    features=[ck.RequestFeatures("raw", **{{name: pl.col(name) for name in FIELDS}})],
    estimator=ck.LightGBM(trees={TREES}, leaves={LEAVES}, learning_rate=0.05, early_stopping=None, threads=1),
    gates=[],
    purpose="to measure serving", owner="benchmark",
)
"""

FRAUD_DEFINITION = f"""
from datetime import datetime

import polars as pl

import charkha as ck

STORED = {STORED}
card = ck.Entity("card")
cards, devices = (
    ck.Source(
        name, {{"card": int, "at": datetime, **dict.fromkeys(STORED, float)}}, ck.parquet(f"{{name}}.parquet"),
        time="at", key=["card", "at"],
    )
    for name in ("cards", "devices")
)
payments = ck.Source(
    "payments", {{"payment": int, "card": int, "at": datetime, "amount": float, "fraud": bool}},
    ck.parquet("payments.parquet"), time="at", key="payment", lag="1s",
)
spent = ck.FeatureView(
    "spent", card, payments,
    windows=[
        ck.sum("amount", over=["10m", "1h", "24h"]), ck.count(over=["10m", "1h", "24h"]),
        ck.max("amount", over=["1h", "24h"]), ck.mean("amount", over=["1h", "24h"]),
    ],
)
model = ck.Model(
    "fraud",
    label=ck.Label(payments, pl.col("fraud"), at="at", delay="1h"),
    request=["card", "amount"],
    features=[
        ck.FeatureView("profile", card, cards, latest=STORED),
        ck.FeatureView("device", card, devices, latest=STORED),
        spent,
        ck.RequestFeatures("asked", jump=pl.col("amount") / (1 + pl.col("spent.mean_amount_24h"))),
    ],
    estimator=ck.LightGBM(trees={TREES}, leaves={LEAVES}, learning_rate=0.05, early_stopping=None, threads=1),
    rules=[ck.Rule(f"rule_{{i}}", (pl.col("amount") > 900 + i) & (pl.col("spent.count_1h") > i)) for i in range(10)],
    gates=[],
    purpose="to measure serving", owner="benchmark",
)
"""

# What "v2" is of: other windows, so a state of its own; one more feature of the request; other rules; other trees.
_SHARE = 'ck.RequestFeatures("part", share=pl.col("amount") / (1 + pl.col("spent.sum_amount_24h"))),'
NEXT_DEFINITION = (
    FRAUD_DEFINITION.replace('"10m"', '"30m"')
    .replace("        ck.RequestFeatures(", f"        {_SHARE}\n        ck.RequestFeatures(")
    .replace("> 900 + i", "> 800 + i")
    .replace("learning_rate=0.05", "learning_rate=0.06")
)


@frozen
class Sizes:
    """How much is made. rows: to train on. cards: with stored features."""

    rows: int
    cards: int

    @classmethod
    def at(cls, scale: float) -> "Sizes":
        """Return the full sizes times a scale."""
        return cls(round(100_000 * scale), round(20_000 * scale))


def make_fields(folder: str, rows: int) -> dict[str, float]:
    """Make the project of raw fields in a folder, its champion deployed, and what the peers are given beside it.

    model.txt: the trainer's own file. bodies.jsonl: requests as Charkha takes them. coded.jsonl: the same rows with the
    codes of their categories. expected.json: the trainer's own scores of them.
    """
    root, dice = Path(folder), np.random.default_rng(20240117)
    columns, fraud = _payments(dice, rows)
    frame = pl.DataFrame(columns)
    times = {"at": _times(dice, rows), "payment": np.arange(rows), "fraud": fraud}
    _write(root, "fields", FIELDS_DEFINITION, {"payments": frame.with_columns(**_series(times))})
    project = load_project(root)
    with open_project(project) as home:
        _promote(project, home, _train(project, home))
        bundle = BundleStore(home.bundles).read("fields", "v1")
        state = (BundleStore(home.bundles).path("fields", "v1") / "estimator.bin").read_bytes()
    asked = frame.sample(BODIES, seed=7, with_replacement=rows < BODIES)
    matrix = encode(bundle.manifest.schema, asked.rename({name: f"raw.{name}" for name in FIELDS}))
    order = [name.removeprefix("raw.") for name in bundle.manifest.schema.names]
    coded = pl.DataFrame(matrix, schema=order).with_columns(pl.col(*CATEGORIES).cast(pl.Int64))
    _write_lines(root / "bodies.jsonl", asked.to_dicts())
    _write_lines(root / "coded.jsonl", coded.to_dicts())
    (root / "model.txt").write_bytes(state)
    booster = lightgbm.Booster(model_str=state.decode())
    (root / "expected.json").write_text(json.dumps(np.asarray(booster.predict(matrix)).tolist()))
    return {"trees": booster.num_trees()}


def make_fraud(folder: str, rows: int, cards: int) -> dict[str, float]:
    """Make the fraud project in a folder, its champion deployed, its state filled, and that of a second version too.

    The second has another plan, other rules and trees of its own, as the next version of a model has.
    bodies.jsonl: requests of cards that are there.
    """
    root, dice = Path(folder), np.random.default_rng(20240118)
    stored = {name: _stored(dice, cards, 2) for name in ("cards", "devices")}
    risk = stored["cards"]["f0"].to_numpy()[:cards] + stored["devices"]["f1"].to_numpy()[:cards]
    card, amount = dice.integers(0, cards, rows), np.exp(dice.normal(3.5, 1, rows)).round(2)
    fraud = risk[card] + np.log(amount) / 2 + dice.normal(size=rows) > 3
    payments = {"payment": np.arange(rows), "card": card, "at": _times(dice, rows), "amount": amount, "fraud": fraud}
    _write(root, "fraud", FRAUD_DEFINITION, {**stored, "payments": pl.DataFrame(_series(payments))})
    project = load_project(root)
    with open_project(project) as home:
        _promote(project, home, _train(project, home))
        _next_version(root, home)
        fill_state(project, home, dice, cards)
    asked = [
        {"card": int(card), "amount": float(amount)}
        for card, amount in zip(dice.integers(0, cards, BODIES), np.exp(dice.normal(3.5, 1, BODIES)), strict=True)
    ]
    _write_lines(root / "bodies.jsonl", [{**row, "amount": round(row["amount"], 2)} for row in asked])
    return {}


def deploy_with_shadow(home: Home, model: str) -> None:
    """Put "v2" in the shadow of "v1"."""
    now_us, generation = SystemClock().now(), home.ledger.deployment(model).generation
    draft = Draft(f"shadow-{generation}", now_us, model, "benchmark", "deploy", "to measure a shadow", {})
    roles = [Assignment("v1", "champion"), Assignment("v2", "shadow")]
    home.ledger.decide(draft, deploy=roles, expect_generation=generation)


def fill_state(project: Project, home: Home, dice: np.random.Generator, cards: int) -> None:
    """Read the history into the online state, and push what happened to every card just now."""
    clock = SystemClock()
    feed = Feed(project.sources, project.views, home.log, home.online, clock)
    feed.follow(project.root)
    feed.materialise(project.root, clock.now())
    now_us = clock.now() - 1_000_000
    for low in range(0, cards, PUSHED_AT_ONCE):
        some = range(low, min(low + PUSHED_AT_ONCE, cards))
        for name in ("cards", "devices"):
            feed.push(name, [(card, now_us, *dice.normal(size=len(STORED)).tolist()) for card in some])
        amounts = zip(some, np.exp(dice.normal(3.5, 1, len(some))).tolist(), strict=True)
        feed.push("payments", [(10**9 + card, card, now_us, amount, False) for card, amount in amounts])


def _train(project: Project, home: Home, run: str = "benchmark") -> str:
    """Train a version, and return its name. run: names the training; the same one is not done twice."""
    (model,) = project.models.values()
    as_of_us = SystemClock().now() - DAY_US
    order = Order(model, project.root, as_of_us, run)
    return train(order, home, SystemClock(), LocalEngine(), NoTracker()).version


def _promote(project: Project, home: Home, version: str) -> None:
    (name,) = project.models
    promote(home, SystemClock(), name, version, actor="benchmark", reason="the first", force=True)


def _next_version(root: Path, home: Home) -> None:
    """Train a version of the changed definition, and build the state that it reads; the definition stays as it was."""
    (root / "definition.py").write_text(NEXT_DEFINITION)
    project = load_project(root)
    _train(project, home, "benchmark/next")
    Feed(project.sources, project.views, home.log, home.online, SystemClock()).materialise(root, SystemClock().now())
    (root / "definition.py").write_text(FRAUD_DEFINITION)


def _payments(dice: np.random.Generator, rows: int) -> tuple[dict[str, Any], Any]:
    """Return the fields' columns, and which rows are fraud."""
    numbers = dice.normal(size=(rows, len(NUMBERS))).round(4)
    numbers[:, 0] = np.exp(numbers[:, 0] + 3.5).round(2)
    codes = {name: dice.integers(0, count, rows) for name, count in CATEGORIES.items()}
    effects = sum(dice.normal(0, 0.7, count)[codes[name]] for name, count in CATEGORIES.items())
    signal = np.log(numbers[:, 0]) * (numbers[:, 6] > 0.4) / 2 + numbers[:, 8] * numbers[:, 9] + np.abs(numbers[:, 11])
    fraud = signal + np.sin(2 * numbers[:, 10]) + effects + dice.normal(size=rows) > 3
    texts = {name: [f"{name[0]}{code:02d}" for code in codes[name].tolist()] for name in CATEGORIES}
    return {**{name: numbers[:, i] for i, name in enumerate(NUMBERS)}, **texts}, fraud


def _stored(dice: np.random.Generator, cards: int, times: int) -> pl.DataFrame:
    """Return so many rows of every card, card by card within a time."""
    count = cards * times
    oldest = SystemClock().now() - (HISTORY_DAYS + 2) * DAY_US
    at = oldest + np.repeat(np.arange(times), cards) * HOUR_US
    return pl.DataFrame(
        _series({"card": np.tile(np.arange(cards), times), "at": at})
        | {name: pl.Series(dice.normal(size=count)) for name in STORED}
    )


def _times(dice: np.random.Generator, rows: int) -> Any:
    """Return times of the past sixty days but one, ascending, int64 µs."""
    until_us = SystemClock().now() - DAY_US
    return np.sort(until_us - (dice.random(rows) * HISTORY_DAYS * DAY_US).astype(np.int64))


def _series(columns: dict[str, Any]) -> dict[str, pl.Series]:
    series = {name: pl.Series(values) for name, values in columns.items()}
    return {**series, "at": series["at"].cast(pl.Datetime("us", "UTC"))}


def _write(root: Path, name: str, definition: str, tables: dict[str, pl.DataFrame]) -> None:
    root.mkdir(parents=True)
    (root / "charkha.toml").write_text(f'[project]\nname = "{name}"\n')
    (root / "definition.py").write_text(definition)
    for table, frame in tables.items():
        frame.write_parquet(root / f"{table}.parquet")


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
