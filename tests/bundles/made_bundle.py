"""A small model, fitted and described: what the tests of bundles share."""

from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl

from charkha.bundles.calibration import Calibration
from charkha.bundles.encoding import encode, learn_schema
from charkha.bundles.estimators import LightGBM
from charkha.bundles.manifest import Estimate, EstimatorSpec, GateResult, Lineage, Manifest, RuleSpec, parameters_of
from charkha.bundles.profile import learn_shape, profile_of
from charkha.features.expressions import expression_to_json
from charkha.features.plan import plan_features
from charkha.spec.model import FloatArray, Label, Lesson, Model
from charkha.spec.sources import Entity, Source
from charkha.spec.views import FeatureView, RequestFeatures
from charkha.spec.windowed import mean

ESTIMATOR = LightGBM(trees=20, threads=1)
NAMES = ("congestion.mean_delay_6h", "schedule.carrier", "schedule.long_haul")


class Made(NamedTuple):
    manifest: Manifest
    state: bytes
    features: pl.DataFrame
    labels: FloatArray


def declared() -> Model:
    fields = {"origin": str, "carrier": str, "distance": float, "delay": float}
    flights = Source("flights", {**fields}, time="at", known="landed_at")
    congestion = FeatureView("congestion", Entity("origin"), flights, windows=[mean("delay", over="6h")])
    schedule = RequestFeatures("schedule", carrier=pl.col("carrier"), long_haul=pl.col("distance") > 1500)
    label = Label(flights, pl.col("delay") > 15, at="at", delay="1d")
    return Model(
        "late",
        label=label,
        request=["origin", "carrier", "distance"],
        features=[congestion, schedule],
        estimator=ESTIMATOR,
        purpose="operations",
        owner="eta-team",
    )


@cache
def make() -> Made:
    rng = np.random.default_rng(0)
    delay = pl.Series(rng.normal(10, 20, 1000)).set(pl.Series(rng.random(1000) < 0.1), None)
    carriers = rng.choice(["AA", "UA", "B6"], 1000)
    features = pl.DataFrame(dict(zip(NAMES, (delay, carriers, rng.random(1000) < 0.2), strict=True)))
    labels = (np.nan_to_num(delay.to_numpy()) + 10 * (carriers == "AA") + rng.normal(0, 5, 1000) > 15).astype(float)
    schema = learn_schema(features, NAMES)
    train = (encode(schema, features), labels)
    state = ESTIMATOR.fit(Lesson("binary", train, train, schema.categorical, 1))
    shape = learn_shape(features, labels)
    half = Estimate(0.5, 0.4, 0.6, 1000)
    manifest = Manifest(
        model="late",
        version="v1",
        task="binary",
        created_us=1_364_774_400_000_000,
        as_of_us=1_364_774_400_000_000,
        estimator=EstimatorSpec("lightgbm", parameters_of(ESTIMATOR)),
        plan_json=plan_features(declared()).to_json(),
        schema=schema,
        calibration=Calibration.isotonic(np.array([0.0, 0.5, 1.0]), np.array([0.1, 0.4, 0.9])),
        threshold=0.5,
        rules=(
            RuleSpec("strike", expression_to_json(pl.col("carrier") == "ZZ"), True, "no aircraft leaves"),
            RuleSpec("short", expression_to_json(pl.col("distance") < 100), False, "a hop is never late"),
        ),
        metrics={"test": {"roc_auc": half}},
        slices={"carrier": {"AA": {"roc_auc": half}}},
        gates=(GateResult("at_least(roc_auc)", True, half, 0.4, "0.5 is at least 0.4"),),
        reference=profile_of(shape, features, labels),
        shape=shape,
        lineage=Lineage(
            fingerprint="f1",
            rows=1000,
            definition_digest="d1",
            as_of_us=1_364_774_400_000_000,
            seed=1,
            versions={"lightgbm": "4"},
            source_rows={"flights": 1000},
        ),
        purpose="operations",
        owner="eta-team",
        positive_share=0.3,
    )
    return Made(manifest, state, features, labels)
