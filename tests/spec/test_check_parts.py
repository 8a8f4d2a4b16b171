"""Faults of single parts that leave others without ground to stand on, so that each is tested alone."""

from typing import Any

import polars as pl
import pytest
from test_check import Parts, build, sound_parts

import charkha as ck
from charkha.spec.check import check
from charkha.spec.checks.policies import monitor_faults

MORE = "ck.csv(…), ck.arrow(…), ck.delta(…), ck.iceberg(…) or ck.sql(…)"


def texts(model: ck.Model) -> list[str]:
    return [str(fault) for fault in check([model])]


def bare(parts: Parts) -> Parts:
    """Leave out of a model all that leans on its views and request features."""
    for parameter in ("rules", "gates", "monitors", "slices"):
        parts["model"].pop(parameter)
    parts["conditions"].pop("max_age")
    parts["schedule"].clear()
    parts["schedule"]["far"] = pl.col("distance") > 1500
    return parts


@pytest.mark.parametrize(
    ("part", "values", "expected"),
    [
        ("conditions", {"latest": [], "max_age": None}, "view 'conditions': expected windows, latest values or both"),
        ("congestion", {"max_age": "1d"}, "view 'congestion', max_age: expected latest values that can age, got none"),
        (
            "fleet",
            {"windows": [ck.count(over="1h")]},
            "view 'fleet', windows: expected a source with time, got the static",
        ),
        (
            "congestion",
            {"windows": ["mean"]},
            "view 'congestion', windows: expected an aggregate, got 'mean'. Use ck.count",
        ),
        (
            "congestion",
            {"windows": [ck.sum("delay", over=[])]},
            "view 'congestion', sum('delay'), over: expected at least",
        ),
        (
            "weather",
            {"data": "weather.csv"},
            f"source 'weather', data: expected ck.parquet(…), {MORE}, got 'weather.csv'",
        ),
        (
            "weather",
            {"data": 3},
            f"source 'weather', data: expected ck.parquet(…), {MORE}, got 3.",
        ),
        ("weather", {"data": ck.csv("")}, "source 'weather', data: expected a text that is not empty, got ''"),
        (
            "weather",
            {"data": ck.sql(" ", "sqlite:///x.db")},
            "source 'weather', data: expected a query, got ' '. Write",
        ),
        ("weather", {"data": ck.sql("select 1")}, "source 'weather', data, url: expected the address of a database"),
        (
            "weather",
            {"data": ck.sql("select 1", "warehouse")},
            "source 'weather', data, url: expected the address of a database, or a ${VARIABLE}, got 'warehouse'",
        ),
        (
            "weather",
            {"data": ck.sql("select 1", "postgresql://me:hunter2@host/db")},
            "source 'weather', data, url: expected no password written out, got one. Take it out, change it,",
        ),
        ("weather", {"static": True}, "source 'weather', static: expected either times or static=True, got both"),
        ("weather", {"static": "yes"}, "source 'weather', static: expected True or False, got 'yes'"),
        (
            "flights",
            {"key": ["flight", "flight"]},
            "source 'flights', key: expected each column once, got 'flight' twice",
        ),
        (
            "model",
            {"slices": ["distance", "distance"]},
            "model 'late', slices: expected each slice once, got 'distance' twice",
        ),
        (
            "model",
            {"metrics": ["brier", "brier"]},
            "model 'late', metrics: expected each metric once, got 'brier' twice",
        ),
        ("model", {"rules": ["late"]}, "model 'late', rules: expected a ck.Rule, got 'late'"),
        ("model", {"features": [3]}, "model 'late', features: expected a ck.FeatureView or ck.RequestFeatures, got 3"),
    ],
)
def test_a_fault_of_a_part_is_found_alone(part: str, values: dict[str, Any], expected: str) -> None:
    parts = bare(sound_parts())
    parts[part].update(values)
    (found,) = texts(build(parts))
    assert found.startswith(expected)


def test_a_rule_says_true_or_false_once() -> None:
    parts = sound_parts()
    twice = ck.Rule("storm", pl.col("distance") > 1, decide="yes")  # type: ignore[arg-type]
    parts["model"]["rules"].append(twice)
    assert [text.split(", got")[0] for text in texts(build(parts))] == [
        "model 'late', rule 'storm', decide: expected True or False",
        "model 'late', rules: expected each rule name once",
    ]


def test_a_group_without_features_is_none() -> None:
    parts = bare(sound_parts())
    parts["schedule"].clear()
    (found,) = texts(build(parts))
    assert found.startswith("model 'late', request features 'schedule': expected at least one expression, got none")


def test_a_slice_has_values_that_repeat() -> None:
    parts = sound_parts()
    parts["flights"]["fields"]["weight"] = float
    parts["model"].update(request=[*parts["model"]["request"], "weight"], slices=["weight"])
    (found,) = texts(build(parts))
    assert found.startswith(
        "model 'late', slices: expected a field of type str, int or bool, got 'weight', which is float"
    )


def test_a_view_holds_the_objects_themselves() -> None:
    parts = bare(sound_parts())
    model = build(parts)
    strings: Any = ("airport", "flights")
    views = [
        ck.FeatureView("a", strings[0], model.label.source, windows=[ck.count(over="1h")]),
        ck.FeatureView("b", ck.Entity("origin"), strings[1], windows=[ck.count(over="1h")]),
        ck.FeatureView("c", ck.Entity("nothing", keys=[]), model.label.source, windows=[ck.count(over="1h")]),
    ]
    parts["model"]["features"] = views
    assert [text.split(". ")[0] for text in texts(build(parts))] == [
        "entity 'nothing', keys: expected at least one column, got none",
        "view 'a', entity: expected a ck.Entity, got 'airport'",
        "view 'b', source: expected a ck.Source, got 'flights'",
    ]


def test_a_truth_has_its_time() -> None:
    table = ck.Source("table", {"id": int, "at": str, "good": bool}, ck.csv("table.csv"), static=True)
    model = ck.Model(
        "good",
        label=ck.Label(table, pl.col("good"), at="at", delay="1d"),
        request="id",
        features=[ck.RequestFeatures("group", even=pl.col("id") % 2)],
        estimator=ck.Linear(),
        purpose="test",
        owner="us",
    )
    assert [text.split(". ")[0] for text in texts(model)] == [
        "model 'good', label.at: expected a field of type datetime, got 'at', which is str",
        "model 'good', label.source: expected a source with time, got the static source 'table'",
    ]


@pytest.mark.parametrize(
    ("sample", "expected"), [(-1, "0 or more, got -1"), (0.5, "a whole number, got 0.5"), (True, "a whole number, got")]
)
def test_a_sample_is_a_number_of_predictions(sample: Any, expected: str) -> None:
    (fault,) = monitor_faults("model 'late'", ck.Monitors(skew_sample=sample), [])
    assert str(fault).startswith(f"model 'late', monitors.skew_sample: expected {expected}")
    assert list(monitor_faults("model 'late'", ck.Monitors(skew_sample=0), [])) == []


@pytest.mark.parametrize(
    ("retrain", "prices", "expected"),
    [
        (
            ck.Retrain(inr_per_cpu_hour=12),
            ck.Prices(cpu_hour=3.5),
            "model 'late', retrain.inr_per_cpu_hour: expected 3.5, as in prices.cpu_hour, got 12",
        ),
        (
            ck.Retrain(budget_inr=5),
            ck.Prices(cpu_hour=3.5, currency="USD"),
            "model 'late', retrain.budget_inr: expected a price of what is bounded, got none",
        ),
        (
            ck.Retrain(budget_inr=5),
            None,
            "model 'late', retrain.budget_inr: expected a price of what is bounded, got none",
        ),
        (ck.Retrain(budget_inr=5), ck.Prices(cpu_hour=3.5), None),
        (ck.Retrain(budget_inr=5, inr_per_cpu_hour=3.5), ck.Prices(cpu_hour=3.5), None),
        (ck.Retrain(budget_inr=5, inr_per_cpu_hour=12), ck.Prices(cpu_hour=3.5, currency="USD"), None),
    ],
)
def test_an_hour_of_a_processor_has_one_price(
    retrain: ck.Retrain, prices: ck.Prices | None, expected: str | None
) -> None:
    parts = sound_parts()
    parts["model"] |= {"retrain": retrain, "prices": prices}
    found = [each for each in texts(build(parts)) if "retrain" in each]
    assert [each.split(". ")[0] for each in found] == ([] if expected is None else [expected])


def test_the_price_of_the_table_is_that_of_trainings() -> None:
    parts = sound_parts()
    parts["model"] |= {"retrain": ck.Retrain(budget_inr=5), "prices": ck.Prices(cpu_hour=3.5)}
    model = build(parts)
    assert (model.retrain.inr_per_cpu_hour, model.priced_retrain.inr_per_cpu_hour) == (None, 3.5)
