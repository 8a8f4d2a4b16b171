"""Predictions and labels put into a log without a server: what the tests of monitoring share."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import polars as pl
from attrs import frozen

import charkha as ck
from charkha.bundles.encoding import FeatureColumn, FeatureSchema
from charkha.bundles.profile import ProfileShape, learn_shape
from charkha.bundles.store import BundleStore
from charkha.clock import parse_time
from charkha.serving.labels import LabelLog
from charkha.serving.prediction_ids import first_id, format_ids
from charkha.serving.prediction_log import (
    FORMAT,
    FeaturesUsed,
    PredictionBatch,
    PredictionLog,
    Role,
    VersionAnswers,
    pack_first_id,
)
from charkha.spec.model import Model
from charkha.storage.home import Home

MODEL = "late"
START_US = parse_time("2013-04-01")
SCHEMA = FeatureSchema(
    (FeatureColumn("traffic.count_1h", "numeric"), FeatureColumn("plane.maker", "categorical", ("BOEING", "AIRBUS")))
)

FLIGHTS = ck.Source("flights", {"at": str, "carrier": str, "late": bool}, time="at", key=("at",))


def make_model(slices: Sequence[str] = ("carrier",)) -> Model:
    return ck.Model(
        MODEL,
        label=ck.Label(FLIGHTS, pl.col("late"), at="at", delay="1d"),
        request=("carrier",),
        features=(ck.RequestFeatures("asked", carrier=pl.col("carrier")),),
        estimator=ck.Linear(),
        slices=tuple(slices),
        purpose="tests",
        owner="tests",
    )


@frozen
class Manifest:
    schema: FeatureSchema
    shape: ProfileShape


class Bundles:
    """As much of a bundle store as collecting needs; all versions are alike."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        frame = pl.DataFrame({"traffic.count_1h": random.normal(size=500), "plane.maker": ["BOEING", "AIRBUS"] * 250})
        self._manifest = Manifest(SCHEMA, learn_shape(frame, random.random(500)))

    def manifest(self, model: str, version: str) -> Manifest:
        return self._manifest


BUNDLES = cast("BundleStore", Bundles())


@frozen
class Version:
    """One version's answers to a batch."""

    name: str
    role: Role
    scores: Sequence[float]


def predict(home: Home, time_us: int, versions: Sequence[Version], partition: str = "web-0") -> list[str]:
    """Log one batch, which all versions scored; return its ids."""
    count = len(versions[0].scores)
    first = first_id(time_us)
    random = np.random.default_rng(time_us % 1000)
    makers: list[str | None] = [["BOEING", "AIRBUS", "OTHER", None][row % 4] for row in range(count)]
    codes = [{"BOEING": 0.0, "AIRBUS": 1.0}.get(maker or "", np.nan) for maker in makers]
    used = FeaturesUsed(versions[0].name, np.column_stack([random.normal(size=count), codes]).tobytes(), (makers,))
    answers = [VersionAnswers(v.name, v.role, 0, None, np.array(v.scores).tobytes(), None, None) for v in versions]
    batch = PredictionBatch(
        format=FORMAT,
        model=MODEL,
        first_id=pack_first_id(first),
        time_us=time_us,
        latency_us=100,
        fields=("carrier",),
        kinds="s",
        requests=[("AA" if row % 2 else "UA",) for row in range(count)],
        features=(used,),
        answers=tuple(answers),
    )
    log = PredictionLog(home.log, MODEL, partition)
    log.append([batch])
    log.close()
    return format_ids(first, count)


def label(home: Home, ids: Sequence[str], labels: Sequence[float], known_us: int, partition: str = "web-0") -> None:
    """Log labels that became known at a time."""
    log = LabelLog(home.log, MODEL, partition)
    log.append(ids, labels, known_us)
    log.close()
