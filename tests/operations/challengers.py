"""A project in which every model was changed, one of them well, the others each in a way that is truly bad.

All models are asked the same: whether a visit buys, of which x says much and w more, and of the kind "b" the opposite.
Those who visit are alike from one visit to the next, and their diary, a source of its own, says so. Each model's
champion was trained by the definition of before (`FORMER`), which knew x alone; its challenger by the one of now.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

import charkha as ck
from charkha.bundles.estimators.linear import Linear
from charkha.clock import parse_time
from charkha.spec.durations import DAY_US, HOUR_US, MICROS
from charkha.spec.fields import TIME
from charkha.spec.gates import Gate
from charkha.spec.model import Model
from charkha.spec.views import FeatureView, RequestFeatures

START_US = parse_time("2013-01-01")
TRAINED, LASTS = 21, 6  # days of history to train on, and of traffic behind it
BEFORE, PER_DAY, USERS = 400, 1500, 1200  # visits a day, of history and of traffic

FIELDS = {
    "visit": str,
    "at": datetime,
    "known_at": datetime,
    "user": str,
    "x": float,
    "w": float,
    "kind": str,
    "buys": bool,
}
VISITS = ck.Source("visits", FIELDS, ck.parquet("visits.parquet"), time="at", known="known_at", key=("visit",))
DIARY = ck.Source(
    "diary",
    {"user": str, "at": datetime, "mood": float, "level": float},
    ck.parquet("diary.parquet"),
    time="at",
)
# Its rows are written when the visit is over, with a time before it began.
RECEIPTS = ck.Source(
    "receipts",
    {"visit": str, "booked_at": datetime, "paid": float},
    ck.parquet("receipts/*.parquet"),
    time="booked_at",
)

IS_B = pl.col("kind") == "b"
X, W = pl.col("x"), pl.col("w")
X_OF_B, W_OF_B = (pl.when(IS_B).then(each).otherwise(0.0) for each in (X, W))
# Text that is looked through again with every call.
SLOW = pl.lit("ab").str.pad_end(1_000_000, "c").str.replace_all("c[cd]", "x").str.len_chars().cast(pl.Float64)

ROLLOUT = (
    ck.shadow("1d")
    >> ck.canary(0.4, period="2d", min_requests=100)
    >> ck.compare("log_loss", mde=0.1, share=0.5, within="8d")
)
GATES: tuple[Gate, ...] = (ck.beats_trivial("log_loss"), ck.beats_champion("log_loss"))


FORMER = (ck.RequestFeatures("asked", x=X, x_of_b=X_OF_B),)
GOOD = ck.RequestFeatures("asked", x=X, w=W, x_of_b=X_OF_B, w_of_b=W_OF_B)
WITHOUT_B = ck.RequestFeatures("asked", x=X, w=W)
DIARIES = ck.FeatureView(
    "diary", ck.Entity("user"), DIARY, windows=[ck.mean("mood", over="3d"), ck.mean("level", over="3d")]
)
PAID = ck.FeatureView("receipt", ck.Entity("visit"), RECEIPTS, latest=["paid"])

Features = tuple[FeatureView | RequestFeatures, ...]
# Model → what its definition became.
CHANGED: Mapping[str, Features] = {
    "good": (GOOD,),
    "swapped": (GOOD,),
    "constant": (DIARIES,),
    "flat": (ck.RequestFeatures("asked", nothing=X * 0),),
    "leaky": (PAID, GOOD),
    "slow": (GOOD, ck.RequestFeatures("text", found=SLOW)),
    "unseen_slow": (GOOD, ck.RequestFeatures("text", found=SLOW)),
    "biased": (WITHOUT_B,),
    "narrow": (WITHOUT_B,),
}
# Users meet it at once: no shadow is declared.
AT_ONCE = ck.canary(0.4, period="2d", min_requests=50) >> ck.compare("log_loss")
STRICTER: Mapping[str, tuple[Gate, ...]] = {"narrow": (*GATES, ck.no_slice_worse("log_loss"))}


def make_model(name: str, features: Features) -> Model:
    """Return a model whose labels come within a day, and which nobody retrains."""
    return Model(
        name,
        label=ck.Label(VISITS, pl.col("buys"), at="at", delay="1d"),
        request=("visit", "user", "x", "w", "kind"),
        features=features,
        estimator=Linear(),
        split=ck.Split(validation="4d", test="5d"),
        metrics=("log_loss", "roc_auc"),
        slices=("kind",),
        gates=STRICTER.get(name, GATES),
        rollout=AT_ONCE if name == "unseen_slow" else ROLLOUT,
        retrain=ck.Retrain(cooldown="90d"),
        stick_to=ck.Entity("user"),
        purpose="tests",
        owner="tests",
    )


def changed_models() -> list[Model]:
    """Return the models as the definition has them now."""
    return [make_model(name, features) for name, features in CHANGED.items()]


def visits(first_day: int, days: int, per_day: int) -> pl.DataFrame:
    """Return the visits of some days, in their order: from 8:00 on one a second, known at 20:00."""
    random, count = np.random.default_rng(first_day), days * per_day
    user = random.integers(0, USERS, count)
    x, w = (0.9 * trait[user] + 0.45 * random.normal(size=count) for trait in traits())
    is_b = random.random(count) < 0.2
    odds = np.where(is_b, -1.5 * x, x + 2.5 * w)
    day_us = START_US + np.repeat(first_day + np.arange(days), per_day) * DAY_US
    columns = {
        "visit": [f"visit-{first_day}-{number}" for number in range(count)],
        "at": pl.Series(day_us + 8 * HOUR_US + np.tile(np.arange(per_day), days) * MICROS["s"]).cast(TIME),
        "known_at": pl.Series(day_us + 20 * HOUR_US).cast(TIME),
        "user": [f"user-{number}" for number in user],
        "x": x,
        "w": w,
        "kind": np.where(is_b, "b", "a"),
        "buys": random.random(count) < 1 / (1 + np.exp(-odds)),
    }
    return pl.DataFrame(columns).select(list(FIELDS))


def traits() -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return what users are like from one visit to the next: what lies behind their x and their w."""
    random = np.random.default_rng(3)
    return random.normal(size=USERS), random.normal(size=USERS)


def write_files(root: Path) -> None:
    """Write what is known when the models are trained: visits, the diary until then, and all receipts of these."""
    past = visits(0, TRAINED, BEFORE)
    past.write_parquet(root / "visits.parquet")
    diary().write_parquet(root / "diary.parquet")
    (root / "receipts").mkdir()
    write_receipts(root, past, "past")


def diary() -> pl.DataFrame:
    """Return a row of each user every other midnight; the diary ends where training does, and nobody notices."""
    level, mood = traits()
    entries = len(range(0, TRAINED, 2))
    days = np.repeat(np.arange(0, TRAINED, 2), USERS)
    columns = {
        "user": [f"user-{number}" for number in range(USERS)] * entries,
        "at": pl.Series(START_US + days * DAY_US).cast(TIME),
        "mood": np.tile(mood, entries),
        "level": np.tile(level, entries),
    }
    return pl.DataFrame(columns)


def write_receipts(root: Path, rows: pl.DataFrame, name: str) -> None:
    """Write the receipts of visits: who bought has paid, and it is said to have been so a minute before the visit."""
    written = rows.select(
        "visit", booked_at=pl.col("at") - pl.duration(minutes=1), paid=pl.col("buys").cast(pl.Float64)
    )
    written.write_parquet(root / "receipts" / f"{name}.parquet")
