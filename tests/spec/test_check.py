"""Planted faults: a sound definition with any set of independent mistakes in it reports exactly those."""

import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

import charkha as ck
from charkha.spec.check import check
from charkha.spec.faults import Fault
from charkha.spec.model import Task

Parts = dict[str, dict[str, Any]]
Change = Callable[[Parts], object]


@frozen
class PatientLearner:
    """An estimator that is never asked to learn."""

    tasks: tuple[Task, ...] = ("binary", "regression")
    kind: str = "patient"

    def fit(self, *_: object, **__: object) -> bytes:
        return b""


def sound_parts() -> Parts:
    """Return the arguments of every part of a definition without faults."""
    return {
        "flights": {
            "name": "flights",
            "fields": {
                "flight": int,
                "origin": str,
                "carrier": str,
                "distance": int,
                "scheduled_at": datetime,
                "departed_at": datetime,
                "landed_at": datetime,
                "delay": float,
            },
            "data": ck.parquet("flights.parquet"),
            "time": "departed_at",
            "known": "landed_at",
            "key": ["flight"],
        },
        "weather": {
            "name": "weather",
            "fields": {"origin": str, "observed_at": datetime, "wind": float, "sky": str},
            "data": ck.csv("weather.csv"),
            "time": "observed_at",
        },
        "planes": {
            "name": "planes",
            "fields": {"carrier": str, "seats": int},
            "data": ck.csv("p.csv"),
            "static": True,
        },
        "airport": {"name": "airport", "keys": ["origin"]},
        "airline": {"name": "airline", "keys": "carrier"},
        "congestion": {
            "name": "congestion",
            "windows": [
                ck.mean("delay", over=["1h", "7d"]),
                ck.count(over="24h"),
                ck.max("delay", over="3h", hop="30m"),
            ],
        },
        "conditions": {"name": "conditions", "latest": ["wind", "sky"], "max_age": "3h"},
        "fleet": {"name": "fleet", "latest": ["seats"]},
        "schedule": {
            "hour": pl.col("scheduled_at").dt.hour(),
            "far": pl.col("distance") > 1500,
            "windy_far": pl.col("schedule.far") & (pl.col("conditions.wind") > 20),
        },
        "label": {"truth": pl.col("delay") > 15, "at": "scheduled_at", "delay": "12h"},
        "model": {
            "name": "late",
            "request": ["flight", "origin", "carrier", "distance"],
            "estimator": PatientLearner(),
            "calibrate": "isotonic",
            "costs": ck.Costs(false_negative=5),
            "metrics": ["roc_auc", "log_loss"],
            "slices": ["carrier", "origin"],
            "gates": [ck.at_least("roc_auc", 0.6), ck.beats_rules("log_loss"), ck.calibrated(0.05)],
            "rules": [ck.Rule("storm", pl.col("conditions.wind") > 60, reason="storm")],
            "rollout": ck.shadow("7d") >> ck.compare("log_loss"),
            "monitors": ck.Monitors(max_source_age={"weather": "6h"}),
            "retrain": ck.Retrain(every="30d"),
            "purpose": "operations",
            "owner": "eta-team",
        },
    }


def build(parts: Parts) -> ck.Model:
    """Return the model made of these parts; the same parts give equal sources and views."""
    flights = ck.Source(**parts["flights"])
    airport, airline = ck.Entity(**parts["airport"]), ck.Entity(**parts["airline"])
    views = [
        ck.FeatureView(entity=airport, source=flights, **parts["congestion"]),
        ck.FeatureView(entity=airport, source=ck.Source(**parts["weather"]), **parts["conditions"]),
        ck.FeatureView(entity=airline, source=ck.Source(**parts["planes"]), **parts["fleet"]),
    ]
    features = [*views, ck.RequestFeatures("schedule", **parts["schedule"])]
    return ck.Model(**{"label": ck.Label(flights, **parts["label"]), "features": features, **parts["model"]})


def faults_of(change: Change) -> list[Fault]:
    parts = sound_parts()
    change(parts)
    return check([build(parts)])


def put(part: str, **values: object) -> Change:
    return lambda parts: parts[part].update(values)


def only(part: str, **values: object) -> Change:
    """Like `put`, with everything left out of the definition that leans on what is changed."""

    def change(parts: Parts) -> None:
        for parameter in ("rules", "gates", "monitors", "slices"):
            parts["model"].pop(parameter)
        parts["schedule"].pop("hour")
        parts[part].update(values)

    return change


def add_field(part: str, name: str, kind: object) -> Change:
    return lambda parts: parts[part]["fields"].update({name: kind})


def add_feature(**expressions: object) -> Change:
    return put("schedule", **expressions)


def add_to(part: str, parameter: str, value: object) -> Change:
    return lambda parts: parts[part][parameter].append(value)


def known_too_early(parts: Parts) -> None:
    parts["flights"]["known"] = "departed_at"
    parts["label"]["known"] = "landed_at"


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    PYTHON_INSIDE = pl.col("distance").map_elements(lambda value: value + 1, return_dtype=pl.Int64)

# Each: one change of one parameter that no other touches, and the text of the fault it must give.
INDEPENDENT: dict[str, tuple[Change, str]] = {
    "source without times": (
        put("weather", time=None),
        "source 'weather', time: expected an event time, or static=True, got neither",
    ),
    "no files, no key": (
        put("planes", data=None),
        "source 'planes', data: expected data, or a key to push rows by, got neither",
    ),
    "unknown column of a source's key": (
        put("flights", key=["flight", "fligth"]),
        "source 'flights', key: expected a field of source 'flights', got 'fligth'. Did you mean 'flight'?",
    ),
    "field of a type that is none": (
        add_field("flights", "tail", "str"),
        "source 'flights', fields: expected one of str, int, float, bool, datetime, got 'str' for 'tail'",
    ),
    "field of a reserved name": (
        add_field("flights", "_label", float),
        "source 'flights', fields: expected a name that does not begin with _, got '_label'",
    ),
    "bad name of an entity": (
        put("airline", name="air line"),
        "entity 'air line': expected a name such as 'late_arrival', got 'air line'",
    ),
    "mean over text": (
        add_to("congestion", "windows", ck.mean("carrier", over="1h")),
        "view 'congestion', mean('carrier'): expected a field of type int or float or bool, "
        "got 'carrier', which is str",
    ),
    "unknown column of a window": (
        add_to("congestion", "windows", ck.sum("dely", over="1h")),
        "view 'congestion', sum('dely'): expected a field of source 'flights', got 'dely'. Did you mean 'delay'?",
    ),
    "window that is no whole number of hops": (
        add_to("congestion", "windows", ck.sum("delay", over="50m", hop="15m")),
        "view 'congestion', sum('delay'), over: expected a whole number of hops of 15m, got '50m'. "
        'Choose another window, or a hop that divides it, such as hop="750s".',
    ),
    "one window, written twice": (
        add_to("congestion", "windows", ck.sum("delay", over=["48h", "7d", "2d"])),
        "view 'congestion', sum('delay'), over: expected each window once, got '2d', which is as long as '48h'",
    ),
    "bad duration of a window": (
        add_to("congestion", "windows", ck.last("delay", over="six hours")),
        "view 'congestion', last('delay'), over: expected a duration such as",
    ),
    "frequencies of text": (
        add_to("congestion", "windows", ck.top_k("carrier", k=3, over="7d")),
        "view 'congestion', top_k('carrier'): expected a field of type int or float or bool, got 'carrier', which is",
    ),
    "more values than a state holds": (
        add_to("congestion", "windows", ck.last_k("delay", k=33, over="7d")),
        "view 'congestion', last_k('delay'), k: expected a whole number from 1 to 32, got 33",
    ),
    "a quantile beyond 1": (
        add_to("congestion", "windows", ck.quantile("delay", q=[0.5, 95], over="7d")),
        "view 'congestion', quantile('delay'), q: expected a quantile from 0 to 1, got 95",
    ),
    "a quantile that is no number": (
        add_to("congestion", "windows", ck.quantile("delay", q=["half"], over="6d")),  # type: ignore[list-item]
        "view 'congestion', quantile('delay'), q: expected a quantile from 0 to 1, got 'half'",
    ),
    "one quantile twice": (
        add_to("congestion", "windows", ck.quantile("delay", q=[0.5, 0.5], over="7d")),
        "view 'congestion', quantile('delay'), q: expected each quantile once, got 0.5 twice",
    ),
    "no quantile": (
        add_to("congestion", "windows", ck.quantile("delay", q=[], over="7d")),
        "view 'congestion', quantile('delay'), q: expected at least one quantile, got none",
    ),
    "bad half-life": (
        add_to("congestion", "windows", ck.decayed_sum("delay", half_life="1 h")),
        "view 'congestion', decayed_sum('delay'), half_life: expected a duration such as",
    ),
    "a filter that is no boolean": (
        add_to("congestion", "windows", ck.count(over="1h", where=pl.col("delay") * 2, name="twice")),
        "view 'congestion', count(), where: expected a boolean, got Float64",
    ),
    "a filter over other rows": (
        add_to("congestion", "windows", ck.count(over="1h", where=pl.col("delay") > pl.col("delay").mean(), name="x")),
        "view 'congestion', count(), where: expected a value made from its own row alone",
    ),
    "a filter over a field that is not the row's": (
        add_to("congestion", "windows", ck.count(over="1h", where=pl.col("winds") > 3, name="y")),
        "view 'congestion', count(), where: expected a known column, got 'winds'",
    ),
    "a filter with Python inside": (
        add_to("congestion", "windows", ck.count(over="1h", where=PYTHON_INSIDE > 3, name="z")),
        "view 'congestion', count(), where: expected no Python function",
    ),
    "a filter without a name": (
        add_to("congestion", "windows", ck.count(over="3h", where=pl.col("delay") > 3)),
        "view 'congestion', count(), name: expected a name beside where=, got none. Say what the filtered rows are",
    ),
    "a name that cannot be part of a feature's": (
        add_to("congestion", "windows", ck.count(over="3h", name="late flights")),
        "view 'congestion', count(), name: expected a name such as 'late_arrival', got 'late flights'",
    ),
    "a window of too many hops": (
        add_to("congestion", "windows", ck.sum("delay", over="30d", hop="5m")),
        "view 'congestion', sum('delay'), over: expected a window of at most 1000 hops, got '30d', which is 8640 hops "
        'of 5m. Let its tail move in longer steps, such as hop="2592s", or take the whole history: over="all".',
    ),
    "a ratio of several windows": (
        add_to("congestion", "windows", ck.ratio(ck.count(over=["1h", "2h"]), ck.count(over="7d"), name="busy")),
        "view 'congestion', ratio, numerator: expected an aggregate that gives one feature, got one that gives 2",
    ),
    "a ratio of something else": (
        add_to("congestion", "windows", ck.ratio(ck.count(over="1h"), "count_7d")),  # type: ignore[arg-type]
        "view 'congestion', ratio, denominator: expected an aggregate, got 'count_7d'. Write ck.ratio(",
    ),
    "a side of a ratio that cannot be": (
        add_to("congestion", "windows", ck.ratio(ck.sum("carrier", over="1h"), ck.count(over="1h"))),
        "view 'congestion', ratio, sum('carrier'): expected a field of type int or float or bool",
    ),
    "bad age": (put("conditions", max_age="3 h"), "view 'conditions', max_age: expected a duration such as"),
    "age without anything that ages": (
        put("fleet", max_age="1d"),
        "view 'fleet', max_age: expected a source with time, got the static source 'planes'",
    ),
    "a time as a latest value": (
        put("conditions", latest=["wind", "sky", "observed_at"]),
        "view 'conditions', latest: expected a field of type int or float or bool or str, got 'observed_at'",
    ),
    "two features of one name": (
        add_to("congestion", "windows", ck.count(over="24h")),
        "model 'late', features: expected each feature name once, got two features 'congestion.count_24h'",
    ),
    "bad delay": (put("label", delay="soon"), "model 'late', label.delay: expected a duration such as"),
    "unknown column of a request feature": (
        add_feature(near=pl.col("distanse") < 300),
        "model 'late', feature 'schedule.near': expected a known column, got 'distanse'. Did you mean 'distance'?",
    ),
    "unknown feature of a view": (
        add_feature(beside=pl.col("conditions.quarterly")),
        "model 'late', feature 'schedule.beside': expected a known column, got 'conditions.quarterly'. "
        "Features of 'conditions': ",
    ),
    "types that do not fit": (
        add_feature(nonsense=pl.col("carrier").dt.hour()),
        "model 'late', feature 'schedule.nonsense': expected an expression that fits its columns, got `hour` operation",
    ),
    "a feature that is a time": (
        add_feature(moment=pl.col("scheduled_at")),
        "model 'late', feature 'schedule.moment': expected a number, a boolean or text, got Datetime",
    ),
    "a Python function": (
        add_feature(python=PYTHON_INSIDE),
        "model 'late', feature 'schedule.python': expected no Python function, got map_elements",
    ),
    "a feature that is no expression": (
        add_feature(number=3),
        "model 'late', feature 'schedule.number': expected a Polars expression, got 3",
    ),
    "a figure over other rows": (
        add_feature(above=pl.col("distance") > pl.col("distance").mean()),
        "model 'late', feature 'schedule.above': expected a value made from its own row alone",
    ),
    "an aggregation hidden where Polars does not see it": (
        add_feature(hidden=pl.col("distance").fill_null(pl.col("distance").mean())),
        "model 'late', feature 'schedule.hidden': expected a value made from its own row alone",
    ),
    "several columns at once": (
        add_feature(many=pl.all()),
        "model 'late', feature 'schedule.many': expected one value for each row, got an expression over several",
    ),
    "a rule that is no boolean": (
        add_to("model", "rules", ck.Rule("number", pl.col("distance") * 2)),
        "model 'late', rule 'number', when: expected a boolean, got Int64. Compare it",
    ),
    "a rule that is no boolean by the score": (
        add_to("model", "rules", ck.Rule("number", ck.score() * 2)),
        "model 'late', rule 'number', when: expected a boolean, got Float64. Compare it",
    ),
    "a rule that is neither in shadow nor not": (
        add_to("model", "rules", ck.Rule("odd", ck.score() > 0.9, shadow="yes")),  # type: ignore[arg-type]
        "model 'late', rule 'odd', shadow: expected True or False, got 'yes'. Write shadow=True",
    ),
    "a feature of the score": (
        add_feature(likely=ck.score() > 0.5),
        "model 'late', feature 'schedule.likely': expected a known column, got '_score'. Only rules may read the score",
    ),
    "a rule over an unknown column": (
        add_to("model", "rules", ck.Rule("typo", pl.col("conditions.wnd") > 1)),
        "model 'late', rule 'typo', when: expected a known column, got 'conditions.wnd'. "
        "Did you mean 'conditions.wind'?",
    ),
    "a metric the task has not": (
        add_to("model", "metrics", "rmse"),
        "model 'late', metrics: expected a metric of binary, got 'rmse'",
    ),
    "a gate on a metric the task has not": (
        add_to("model", "gates", ck.beats_champion("auc")),
        "model 'late', gate BeatsChampion: expected a metric of binary, got 'auc'",
    ),
    "a gate that no error can pass": (
        add_to("model", "gates", ck.calibrated(5)),
        "model 'late', gate Calibrated: expected an error between 0 and 1, got 5",
    ),
    "a drill with a share that cannot be": (
        add_to("model", "gates", ck.survives_drill("unit_change", share=95)),
        "model 'late', gate SurvivesDrill, share: expected a share between 0 and 1, got 95",
    ),
    "a drill of nothing": (
        add_to("model", "gates", ck.survives_drill()),
        "model 'late', gate SurvivesDrill: expected at least one kind of incident, got none",
    ),
    "a drill that is never made": (
        add_to("model", "gates", ck.survives_drill("unit_change", times=0)),
        "model 'late', gate SurvivesDrill, times: expected a whole number from 1 to 100, got 0",
    ),
    "a slice that the request has not": (
        add_to("model", "slices", "carier"),
        "model 'late', slices: expected a request field, got 'carier'. Did you mean 'carrier'?",
    ),
    "costs that reward mistakes": (
        put("model", costs=ck.Costs(false_positive=-1)),
        "model 'late', costs: expected false_positive to cost more than true_negative, got -1 against 0",
    ),
    "an unknown calibration": (
        put("model", calibrate="platt"),
        "model 'late', calibrate: expected 'isotonic', 'sigmoid' or None, got 'platt'",
    ),
    "a loss the task has not": (
        put("model", rollout=ck.shadow("7d") >> ck.compare("roc_auc")),
        "model 'late', rollout.compare: expected a loss of single rows of binary, got 'roc_auc'",
    ),
    "a monitor of an unknown source": (
        put("model", monitors=ck.Monitors(max_source_age={"wether": "6h"})),
        "model 'late', monitors.max_source_age: expected a source that the model reads, got 'wether'. "
        "Did you mean 'weather'?",
    ),
    "a bad cooldown": (
        put("model", retrain=ck.Retrain(cooldown="often")),
        "model 'late', retrain.cooldown: expected a duration",
    ),
    "a bad split": (
        put("model", split=ck.Split(test="0d")),
        "model 'late', split.test: expected a duration",
    ),
    "a budget of nothing": (
        put("model", budget=ck.Budget(train_minutes=0)),
        "model 'late', budget.train_minutes: expected minutes above 0, got 0",
    ),
    "an estimator without its brackets": (
        put("model", estimator=PatientLearner),
        "model 'late', estimator: expected an estimator, got <class",
    ),
    "no purpose": (put("model", purpose=" "), "model 'late', purpose: expected a text"),
    "no owner": (put("model", owner=""), "model 'late', owner: expected a text"),
}


def test_a_sound_definition_has_no_fault() -> None:
    assert check([build(sound_parts())]) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(chosen=st.sets(st.sampled_from(sorted(INDEPENDENT)), max_size=8))
def test_any_set_of_planted_faults_is_reported_exactly(chosen: set[str]) -> None:
    parts = sound_parts()
    for name in sorted(chosen):
        INDEPENDENT[name][0](parts)
    found = [str(fault) for fault in check([build(parts)])]
    expected = [INDEPENDENT[name][1] for name in chosen]
    matched = [[text for text in expected if fault.startswith(text)] for fault in found]
    assert all(len(texts) == 1 for texts in matched), (found, expected)
    assert sorted(text for texts in matched for text in texts) == sorted(expected)


@pytest.mark.parametrize("name", sorted(INDEPENDENT))
def test_each_planted_fault_is_reported_alone(name: str) -> None:
    change, expected = INDEPENDENT[name]
    (fault,) = faults_of(change)
    assert str(fault).startswith(expected)
    assert fault.remedy.endswith((".", "?"))


REQUEST = ["flight", "origin", "carrier", "distance"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put("model", request=[*REQUEST, "delay"]), "request: expected fields known before the truth, got 'delay', a"),
        (
            put("model", request=[*REQUEST, "landed_at"]),
            "request: expected fields known before the truth, got 'landed_",
        ),
        (put("model", request=[*REQUEST, "scheduled_at"]), "request: expected fields beside the time of prediction"),
        (put("model", request=[*REQUEST, "distnce"]), "request: expected a field of source 'flights', got 'distnce'"),
        (put("model", request=[*REQUEST, "origin"]), "request: expected each field once, got 'origin' twice"),
        (
            known_too_early,
            "view 'congestion': expected 'delay', a column of the truth, to be seen",
        ),
        (
            put("flights", known="scheduled_at"),
            "view 'congestion': expected 'delay', a column of the truth, to be seen",
        ),
        (put("label", truth="delay > 15"), "label.truth: expected a Polars expression, got 'delay > 15'"),
        (put("label", truth=pl.col("delay") * 2), "label.truth: expected a boolean, got Float64"),
        (only("label", at="scheduled"), "label.at: expected a field of source 'flights', got 'scheduled'"),
        (only("label", at="origin"), "label.at: expected a field of type datetime, got 'origin', which is str"),
        (put("label", known="delay"), "label.known: expected a field of type datetime, got 'delay', which is float"),
        (put("model", rules=[]), "gate BeatsRules: expected a model with rules, got no rules"),
        (
            put("model", rules=[ck.Rule("sure", ck.score() > 0.9), ck.Rule("far", pl.lit(True), shadow=True)]),
            "gate BeatsRules: expected rules that decide without the model, got none of its rules",
        ),
        (put("model", task="multiclass"), "task: expected one of binary, regression, got 'multiclass'"),
        (
            put("model", estimator=PatientLearner(tasks=("regression",))),
            "estimator: expected an estimator that can learn",
        ),
        (only("model", features=[]), "features: expected at least one view or group of request features, got none"),
        (put("model", rollout=ck.shadow("7d")), "rollout: expected a shadow stage, then a comparison, got Shadow("),
        (put("model", metrics=[]), "metrics: expected at least one metric, got none"),
        (put("model", gates=["roc_auc > 0.6"]), "gates: expected a gate, got 'roc_auc > 0.6'"),
        (put("model", costs={"false_positive": 3}), "costs: expected a ck.Costs, got {'false_positive': 3}"),
        (put("model", business={"margin": "up"}), "business['margin']: expected 'higher' or 'lower', got 'up'"),
        (
            put("model", business=["margin"]),
            "business: expected a dict of names and 'higher' or 'lower', got ['margin']",
        ),
        (
            put("model", business={"margin": "higher"}, rollout=ck.shadow("7d") >> ck.compare("margin")),
            "rollout.compare: expected an A/B test, for 'margin' tells what answers led to, got a comparison on the",
        ),
        (only("model", label=None), "label: expected a ck.Label, got None"),
    ],
)
def test_a_fault_of_the_model_is_found(change: Change, expected: str) -> None:
    faults = [str(fault) for fault in faults_of(change)]
    assert [fault.startswith(f"model 'late', {expected}") for fault in faults] == [True], faults


def test_a_leak_is_told_with_the_way_out() -> None:
    (fault,) = faults_of(known_too_early)
    assert fault.remedy == "Declare known='landed_at' on the source, or leave the column out of the view."
    assert "known from 'departed_at'" in fault.found
