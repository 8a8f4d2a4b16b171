"""Feature plans survive the way through a bundle, and carry no code."""

from typing import Any

import polars as pl
import pytest
from attrs import evolve

import charkha as ck
from charkha.features.expressions import UnsafeExpression, expression_from_json, expression_to_json
from charkha.features.plan import FeaturePlan, in_order_of_use, plan_features
from charkha.features.request import frame_of, request_columns
from charkha.features.request import with_request_features as features_of

FLIGHTS = ck.Source("flights", {"id": int, "origin": str, "dest": str, "delay": float}, time="id", key=["id"])


def plan() -> FeaturePlan:
    routes = ck.FeatureView(
        "route",
        ck.Entity("route", ["origin", "dest"]),
        FLIGHTS,
        windows=[ck.mean("delay", over=["1h", "7d"]), ck.count(over="2h", hop="1h")],
        latest=["delay"],
        max_age="3h",
    )
    hour = pl.col("at").dt.convert_time_zone("America/New_York").dt.hour()
    expressions = {"s.hour": hour, "s.rush": pl.col("s.hour").is_in([7, 8, 17]) & (pl.col("route.mean_delay_1h") > 3)}
    return FeaturePlan((routes,), {"origin": str, "dest": str}, "at", expressions, ("route.delay", "s.hour", "s.rush"))


def test_a_plan_is_the_same_after_json() -> None:
    again = FeaturePlan.from_json(plan().to_json())
    assert again.to_json() == plan().to_json()
    assert again.views == plan().views
    columns = {"at": [0], "route.mean_delay_1h": [4.0], "route.delay": [1.0]}
    frame = pl.DataFrame(columns, schema_overrides={"at": pl.Datetime("us", "UTC")})
    expected = features_of(plan(), frame)
    assert features_of(again, frame).equals(expected)
    assert expected["s.hour"].to_list() == [19]


def test_defaults_are_the_same_after_json_and_older_plans_have_none() -> None:
    assert "defaults" not in plan().to_json()  # as plans were written before there were any
    assert FeaturePlan.from_json(plan().to_json()).defaults == {}
    defaults: dict[str, str | float | bool] = {"s.hour": 12, "s.share": 12.0, "s.text": "none", "s.rush": False}
    again = FeaturePlan.from_json(evolve(plan(), defaults=defaults).to_json()).defaults
    assert repr(again) == repr(defaults)


def test_the_plan_of_a_model_has_the_defaults_by_full_name() -> None:
    asked = ck.RequestFeatures("asked", code=pl.col("origin").cast(pl.Int64), defaults={"code": -1})
    model = ck.Model(
        "late", label=ck.Label(FLIGHTS, pl.col("delay") > 3, at="id", delay="1h"), request=["origin"], features=[asked],
        estimator=ck.Linear(), purpose="tests", owner="tests",
    )  # fmt: skip
    assert plan_features(model).defaults == {"asked.code": -1}


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("a").map_batches(lambda s: s),
        pl.col("a") + pl.col("b").map_batches(abs),
        pl.lit(object(), allow_object=True),
    ],
    ids=["function", "nested", "object"],
)
def test_expressions_with_code_are_refused(expression: Any) -> None:
    with pytest.raises((UnsafeExpression, pl.exceptions.PolarsError)):
        expression_to_json(expression)


def test_a_planted_pickle_is_refused_before_it_is_read() -> None:
    harmless = expression_to_json(pl.col("a") + 1)
    planted = harmless.replace('"Column"', '"AnonymousFunction"')
    with pytest.raises(UnsafeExpression, match="map_elements"):
        expression_from_json(planted)


def test_the_word_python_in_a_literal_is_only_text() -> None:
    text = expression_to_json(pl.col("language") == "python plugin")
    frame = pl.DataFrame({"language": ["python plugin", "c"]})
    assert frame.select(expression_from_json(text)).to_series().to_list() == [True, False]


def test_expressions_come_after_those_they_use() -> None:
    expressions = {"c": pl.col("b") + 1, "b": pl.col("a") + 1, "d": pl.col("a") * pl.col("c")}
    assert list(in_order_of_use(expressions)) == ["b", "c", "d"]
    plan = FeaturePlan((), {"a": int}, "at", in_order_of_use(expressions), ("a", "b", "c", "d"))
    assert features_of(plan, pl.DataFrame({"a": [1]})).row(0, named=True) == {"a": 1, "b": 2, "c": 3, "d": 3}


def test_a_circle_is_said_by_name() -> None:
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        in_order_of_use({"a": pl.col("b"), "b": pl.col("a")})


def test_an_expression_that_reads_nothing_has_a_value_for_every_request() -> None:
    plan = FeaturePlan((), {"a": int}, "at", {"g.always": pl.lit(7)}, ("a", "g.always"))
    columns = request_columns(plan, {"a": [1, 2, None], "at": [0, 0, 0]})
    assert frame_of(plan, columns).rows() == [(1, 7), (2, 7), (None, 7)]
