"""Faults that show only between parts: names that clash, keys that do not meet, features in a circle, tasks."""

import warnings
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from attrs import evolve
from test_check import PatientLearner, build, sound_parts

import charkha as ck
from charkha.spec.check import check


def texts(*models: ck.Model) -> list[str]:
    return [str(fault) for fault in check(models)]


def test_models_that_share_parts_are_sound() -> None:
    first, second = sound_parts(), sound_parts()
    second["model"]["name"] = "very_late"
    assert texts(build(first), build(second)) == []


def test_one_name_for_two_different_parts_is_a_fault_of_each_word() -> None:
    first, second = sound_parts(), sound_parts()
    second["weather"]["data"] = ck.parquet("other.parquet")
    found = texts(build(first), build(second))
    assert [text.split(":")[0] for text in found] == ["source 'weather'", "view 'conditions'", "model 'late'"]
    assert "expected one definition under this name, got 2 different ones" in found[0]


def test_a_shared_fault_is_reported_once() -> None:
    first, second = sound_parts(), sound_parts()
    second["model"]["name"] = "very_late"
    for parts in (first, second):
        parts["weather"]["time"] = "observd_at"
    (found,) = texts(build(first), build(second))
    assert found.startswith("source 'weather', time: expected a field of source 'weather', got 'observd_at'")


def test_an_entity_key_must_be_in_the_request() -> None:
    parts = sound_parts()
    parts["model"].update(request=["flight", "carrier", "distance"], slices=["carrier"])
    found = texts(build(parts))
    expected = "expected entity key 'origin' in the request, got request fields flight, carrier, distance"
    assert [text.split(". ")[0] for text in found] == [
        f"model 'late', view 'congestion': {expected}",
        f"model 'late', view 'conditions': {expected}",
    ]


def test_an_entity_key_must_be_in_the_source_of_the_view() -> None:
    parts = sound_parts()
    parts["weather"]["fields"] = {"station": str, "observed_at": str, "wind": float, "sky": str}
    found = texts(build(parts))
    assert [text.split(". ")[0] for text in found] == [
        "source 'weather', time: expected a field of type datetime, got 'observed_at', which is str",
        "view 'conditions', entity 'airport': expected a field of source 'weather', got 'origin'",
    ]


def test_an_entity_key_has_one_type() -> None:
    parts = sound_parts()
    parts["weather"]["fields"]["origin"] = int
    (found,) = texts(build(parts))
    assert "expected key 'origin' of one type, got int in source 'weather', str in the request" in found


@pytest.mark.parametrize(
    ("change", "since"),
    [
        ({"known": "departed_at"}, "known from 'departed_at'"),
        ({"known": "scheduled_at"}, "known from 'scheduled_at', the time of the prediction"),
        ({"known": "departed_at", "data": ck.parquet("./fl*.parquet")}, "known from 'departed_at'"),
        ({"time": None, "known": None, "static": True}, "known since always (static)"),
    ],
)
def test_a_second_source_over_the_files_of_the_label_is_no_way_to_the_truth(
    change: dict[str, object], since: str
) -> None:
    parts = sound_parts()
    model = build(parts)
    again = ck.Source(**{**parts["flights"], "name": "flights2", **change})
    last = ck.FeatureView("last", ck.Entity("airport", "origin"), again, latest=["delay"])
    (found,) = texts(evolve(model, features=[*model.features, last]))
    assert found.startswith("model 'late', view 'last': expected 'delay', a column of the truth, to be seen only after")
    assert f"got source 'flights2' {since}. Declare known='landed_at' on the source" in found


@pytest.mark.parametrize(
    "change", [{}, {"known": "departed_at", "data": ck.parquet("others/flights.parquet")}, {"data": None}]
)
def test_a_second_source_that_knows_no_more_than_the_label_may_be_read(change: dict[str, object]) -> None:
    parts = sound_parts()
    model = build(parts)
    again = ck.Source(**{**parts["flights"], "name": "flights2", **change})
    last = ck.FeatureView("last", ck.Entity("airport", "origin"), again, latest=["delay"])
    assert texts(evolve(model, features=[*model.features, last])) == []


ONE = "select * from Shop.Flights where landed_at is not null"


@pytest.mark.parametrize(
    ("label", "again", "is_found"),
    [
        (ck.sql(ONE, "${DB}"), ck.sql('select x from gates g JOIN "shop".flights f using (id)', "${DB}"), True),
        (ck.sql(ONE, "${DB}"), ck.sql("select * from shop.landings", "${DB}"), False),
        (ck.sql(ONE, "${DB}"), ck.sql(ONE, "${OTHER}"), False),
        (ck.sql("exec flights", "${DB}"), ck.sql("EXEC  flights", "${DB}"), True),
        (ck.delta("data/flights"), ck.parquet("data/flights/*.parquet"), True),
        (ck.parquet("data/fl*/day=1/x.parquet"), ck.iceberg("data/flights"), True),
        (ck.delta("data/flights"), ck.delta("data/landings"), False),
        (ck.delta("data/flights"), ck.sql(ONE, "${DB}"), False),
        (ck.parquet("data/flights"), ck.parquet("data/flights/*.parquet"), False),
    ],
)
def test_tables_and_queries_of_the_label_are_no_way_to_the_truth_either(
    label: object, again: object, is_found: bool
) -> None:
    parts = sound_parts()
    parts["flights"]["data"] = label
    model = build(parts)
    second = ck.Source(**{**parts["flights"], "name": "flights2", "known": "departed_at", "data": again})
    last = ck.FeatureView("last", ck.Entity("airport", "origin"), second, latest=["delay"])
    found = texts(evolve(model, features=[*model.features, last]))
    assert [text.split(":")[0] for text in found] == ["model 'late', view 'last'"] * is_found


def test_request_features_in_a_circle_are_told_as_a_ring() -> None:
    parts = sound_parts()
    parts["schedule"].update(
        one=pl.col("schedule.two") + 1, two=pl.col("schedule.three"), three=pl.col("schedule.one") * 2
    )
    (found,) = texts(build(parts))
    assert found.startswith("model 'late': expected request features that can be computed in turn, got schedule.")
    assert found.count("→") == 3


def test_what_rests_on_a_faulty_feature_is_not_blamed() -> None:
    parts = sound_parts()
    parts["schedule"].update(wrong=pl.col("distanse") + 1, above=pl.col("schedule.wrong") > 2)
    parts["model"]["rules"].append(ck.Rule("tall", pl.col("schedule.above")))
    (found,) = texts(build(parts))
    assert "feature 'schedule.wrong'" in found


def with_group(*groups: ck.RequestFeatures) -> list[str]:
    parts = sound_parts()
    parts["model"]["features"] = [*build(parts).features, *groups]
    return texts(build(parts))


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ({"far": 3, "text": "x", "share": 1, "odd": False}, None),
        ({"far": 127, "share": -0.5}, None),
        ({"fra": 3}, "expected a feature of 'extra', got 'fra'. Did you mean 'far'?"),
        ({"far": 128}, "'far': expected a value of type Int8, got 128"),
        ({"far": 3.0}, "'far': expected a value of type Int8, got 3.0"),
        ({"far": True}, "'far': expected a value of type Int8, got True"),
        ({"far": None}, "'far': expected a value of type Int8, got None"),
        ({"share": "1"}, "'share': expected a value of type Float64, got '1'"),
        ({"share": float("nan")}, "'share': expected a value of type Float64, got nan"),
        ({"odd": 0}, "'odd': expected a value of type Boolean, got 0"),
        ({"text": 7}, "'text': expected a value of type String, got 7"),
        (["far"], "defaults: expected a dictionary of values by feature, got ['far']"),
    ],
)
def test_a_default_is_a_value_of_a_feature_of_its_type(defaults: Any, expected: str | None) -> None:
    group = ck.RequestFeatures(
        "extra",
        defaults=defaults,
        far=pl.col("distance").cast(pl.Int8),
        share=pl.col("distance") / 2.5,
        text=pl.col("carrier") + "!",
        odd=pl.col("distance") > 5,
    )
    found = with_group(group)
    assert len(found) == (expected is not None)
    assert all("request features 'extra', defaults" in text and str(expected) in text for text in found)


def test_what_is_wrong_with_a_function_is_told_with_the_other_faults() -> None:
    def extra(distance: pl.Expr) -> Any:
        return {"far": 1 if distance > 5 else 0}

    group = ck.RequestFeatures.of("extra", extra, defaults={"far": 0})

    def more(distance: pl.Expr, row: Any) -> dict[str, Any]:
        return {"far": row["distanse"], "near": 3, "at": distance}

    other = ck.RequestFeatures.of("more", more)
    found = with_group(group, other)
    assert [text.split(": ")[0] for text in found] == [
        "model 'late', request features 'extra', function extra",
        "model 'late', feature 'more.far'",
        "model 'late', feature 'more.near'",
    ]
    assert "pl.when(…).then(…).otherwise(…) for if" in found[0]
    assert with_group(ck.RequestFeatures.of("none", lambda row: {}))[0].count("at least one expression") == 1


def test_a_function_on_values_is_refused_wherever_it_is_hidden() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = ck.RequestFeatures.of("extra", lambda distance: {"far": distance.map_batches(lambda values: values)})
    (found,) = with_group(group)
    assert "feature 'extra.far': expected no Python function" in found


def test_two_groups_of_one_name() -> None:
    parts = sound_parts()
    model = build(parts)
    parts["model"]["features"] = [*model.features, ck.RequestFeatures("schedule", other=pl.col("distance"))]
    (found,) = texts(build(parts))
    assert "features: expected each view or group once, got two named 'schedule'" in found


@pytest.mark.parametrize("name", ["request", "age"])
def test_a_group_may_not_be_called_as_columns_of_predictions_are(name: str) -> None:
    parts = sound_parts()
    parts["model"]["features"] = [*build(parts).features, ck.RequestFeatures(name, far=pl.col("distance"))]
    (found,) = texts(build(parts))
    assert f"features: expected a name that is not reserved, got {name!r}" in found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"calibrate": "sigmoid"}, "calibrate: expected a task with probabilities to calibrate (binary)"),
        ({"costs": ck.Costs(false_negative=3)}, "costs: expected a task with decisions that cost (binary)"),
        ({"gates": [ck.calibrated(0.1)]}, "gate Calibrated: expected a task with probabilities to calibrate (binary)"),
        ({"gates": [ck.at_least("roc_auc", 0.7)]}, "gate AtLeast: expected a metric of regression, got 'roc_auc'"),
        ({"metrics": ["log_loss"]}, "metrics: expected a metric of regression, got 'log_loss'"),
        ({"rollout": ck.shadow("1d") >> ck.compare("brier")}, "rollout.compare: expected a loss of single rows"),
        (
            {"estimator": PatientLearner(tasks=("binary",))},
            "estimator: expected an estimator that can learn regression",
        ),
    ],
)
def test_what_only_a_binary_model_can_promise(change: dict[str, object], expected: str) -> None:
    parts = sound_parts()
    parts["label"]["truth"] = pl.col("delay")
    parts["model"] = {name: parts["model"][name] for name in ("name", "request", "purpose", "owner", "estimator")}
    parts["model"] |= {"task": "regression"}
    assert texts(build(parts)) == []
    parts["model"] |= change
    (found,) = texts(build(parts))
    assert found.startswith(f"model 'late', {expected}")


def test_beats_rules_needs_decisions_to_compare_with() -> None:
    parts = sound_parts()
    parts["label"]["truth"] = pl.col("delay")
    parts["model"] = {name: parts["model"][name] for name in ("name", "request", "purpose", "owner", "estimator")}
    parts["model"] |= {"task": "regression", "gates": [ck.beats_rules("rmse")]}
    found = texts(build(parts))
    assert [text.split(", got")[0] for text in found] == [
        "model 'late', gate BeatsRules: expected a task with decisions of rules to compare with (binary)",
        "model 'late', gate BeatsRules: expected a model with rules",
    ]


STRANGE: list[Callable[[], object]] = [
    lambda: None,
    lambda: 3,
    lambda: "x",
    lambda: pl.col("x"),
    lambda: [1],
    lambda: {},
]


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize(
    ("part", "parameter"),
    [
        (part, parameter)
        for part, arguments in sound_parts().items()
        for parameter in (*arguments, "source", "entity", "features", "split", "budget", "static", "task", "hop")
        if part not in ("schedule",)
    ],
)
def test_no_value_whatever_makes_the_check_itself_fail(
    part: str, parameter: str, strange: Callable[[], object]
) -> None:
    parts = sound_parts()
    parts[part][parameter] = strange()
    try:
        model = build(parts)
    except (TypeError, AttributeError, ValueError):
        return  # Python refused it when it was written: the loader reports that with its line.
    faults = check([model])
    assert all(str(fault) and fault.remedy for fault in faults)
