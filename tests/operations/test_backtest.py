"""Backtests on a small world whose truth turns round halfway: what is known when, who retrains, and what that gives."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import operator_world as world
import polars as pl
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.features.reading import opened_readings
from charkha.monitoring.performance import Span
from charkha.operations.backtest.backtest import Terms, backtest
from charkha.operations.backtest.faults import DATA_FAULTS, Misfit, planned, put_in
from charkha.operations.backtest.history import History, as_logged, opened_history
from charkha.operations.backtest.months import overall
from charkha.operations.backtest.policies import UnknownPolicy, policy_of, variants_of, window_name, windowed
from charkha.operations.backtest.results import Backtest, MonthScore, Tried
from charkha.operations.backtest.trainings import Trainings
from charkha.operations.drills.fault import Fault
from charkha.operations.replay_summary import Interval
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.spec.policies import Retrain
from charkha.spec.project import Project
from charkha.storage.home import open_home
from charkha.training.dataset import build_dataset, sources_of
from charkha.training.pipeline import Order, train
from charkha.training.tracking import NoTracker

SPAN = Span(world.midnight(world.FIRST_DAY), world.midnight(world.DAYS))
MODEL = world.make_model()


def ignore(done: int, total: int, text: str) -> None:
    """Tell nobody of the progress."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return world.make_project(tmp_path_factory.mktemp("turning"))


@pytest.fixture(scope="module")
def turning(project: Project) -> Iterator[History]:
    """A past whose truth turns round on day TURN."""
    with opened(project, SPAN) as history:
        yield history


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A past in which nothing happens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "TURN", world.DAYS)
        project = world.make_project(tmp_path_factory.mktemp("steady"))
    with opened(project, SPAN) as history:
        yield history


def opened(project: Project, span: Span, model: Model = MODEL):  # type: ignore[no-untyped-def]
    return opened_history(project, model, None, span, engine=LocalEngine(1), on_step=lambda step: None)


def tried(history: History, *policies: str, windows: tuple[str, ...] = (), span: Span = SPAN) -> Backtest:
    variants = variants_of(history.model, list(policies), list(windows))
    return backtest(
        "world", history, Terms(variants=variants, span=span, look_every_us=3 * DAY_US, price=3_600.0), ignore
    )


def days_of(one: Tried) -> list[str]:
    return [each.time[:10] for each in one.retrainings]


@pytest.mark.parametrize("day", [24, 40, 63])
def test_what_could_be_learnt_from_is_what_production_would_have_built(
    project: Project, turning: History, day: int
) -> None:
    with opened_readings(sources_of(MODEL, project.root, None), MODEL.views) as readings:
        built = build_dataset(MODEL, readings, world.midnight(day))
    chosen = turning.dataset(world.midnight(day))
    assert chosen.features.equals(as_logged(built.features))
    assert chosen.spine.select(built.spine.columns).equals(built.spine)


def test_a_training_gives_what_production_would_have_trained(
    project: Project, turning: History, tmp_path: Path
) -> None:
    as_of_us = world.midnight(world.FIRST_DAY)
    with open_home(tmp_path / "home") as home:
        order = Order(MODEL, project.root, as_of_us, "world/1")
        made = train(order, home, SimulatedClock(as_of_us), LocalEngine(1), NoTracker())
    version = Trainings(turning).train(Order(MODEL, project.root, as_of_us, "world/2"), "v1", None)
    assert version.bundle.manifest.metrics == made.metrics
    assert version.passed == made.passed


def test_the_calendar_finds_the_turn_and_never_does_not(turning: History) -> None:
    shown = tried(turning, "never", "weekly", "every:20d")
    never, weekly, twenty = shown.tried
    assert (len(never.retrainings), len(weekly.retrainings), len(twenty.retrainings)) == (0, 5, 1)
    assert never.overall is not None
    assert weekly.overall is not None
    assert weekly.overall < 0.9 * never.overall, "log loss, lower is better"
    assert shown.best is weekly
    assert never.train_cpu_seconds == 0
    assert weekly.money == pytest.approx(weekly.train_cpu_seconds)
    assert sum(month.metric.n for month in never.months) == shown.labels == (world.DAYS - world.FIRST_DAY) * 120


def test_nothing_of_the_future_is_known(project: Project, turning: History) -> None:
    """Cut off on day 50, a backtest decides until then what it decides when the past goes on."""
    short = Span(SPAN.since_us, world.midnight(50))
    with opened(project, short) as history:
        cut = tried(history, "weekly", "on_fall", span=short)
    whole = tried(turning, "weekly", "on_fall")
    until = "2013-02-20"
    for before, after in zip(cut.tried, whole.tried, strict=True):
        assert days_of(before) == [day for day in days_of(after) if day < until]
        # What earlier trainings cost is measured, and so differs.
        assert [(each.why.partition(" Expected")[0], each.detail) for each in before.retrainings] == [
            (each.why.partition(" Expected")[0], each.detail) for each in after.retrainings if each.time[:10] < until
        ]
        assert before.months[0] == after.months[0]


def test_on_diagnosis_retrains_for_the_turn_alone_and_is_as_good_as_the_calendar(turning: History) -> None:
    shown = tried(turning, "weekly", "on_diagnosis")
    weekly, diagnosed = shown.tried
    assert 1 <= len(diagnosed.trained) < len(weekly.trained)
    assert diagnosed.looks > 5
    assert days_of(diagnosed)[0] >= "2013-02-05", "nothing had turned before"
    assert weekly.overall is not None
    assert diagnosed.overall is not None
    assert diagnosed.overall < 1.02 * weekly.overall


@pytest.mark.parametrize("kind", ["null_flood", "skew_transform"])
def test_on_diagnosis_does_not_retrain_on_broken_data(steady: History, kind: str) -> None:
    since_us = world.midnight(46)
    subject = {"null_flood": "request.x", "skew_transform": "asked.x"}[kind]
    fault = Fault(kind, since_us, since_us + 4 * DAY_US, subject=subject)
    (diagnosed,) = tried(put_in(steady, [fault], SPAN), "on_diagnosis").tried
    assert diagnosed.retrainings == ()
    assert {each.cause for each in diagnosed.incidents} <= {"source", "skew"}
    assert diagnosed.incidents


def test_what_is_quiet_is_left_alone(steady: History) -> None:
    (diagnosed,) = tried(steady, "on_diagnosis").tried
    assert diagnosed.retrainings == ()


def test_a_source_that_is_broken_is_learnt_from_and_a_skew_is_not(steady: History) -> None:
    since_us, until_us = world.midnight(46), world.midnight(48)
    hit = steady.places(Span(since_us, until_us))
    broken = put_in(steady, [Fault("null_flood", since_us, until_us, subject="request.x")], SPAN)
    skewed = put_in(steady, [Fault("skew_transform", since_us, until_us, subject="asked.x")], SPAN)
    assert broken.features["asked.x"][hit].null_count() == broken.served["asked.x"][hit].null_count() == 240
    assert skewed.features.equals(steady.features)
    for bent in (broken, skewed):
        assert bent.spine.equals(steady.spine)
        for name in steady.served.columns:
            same = bent.served[name].eq_missing(steady.served[name]).to_numpy().copy()
            same[hit] = True
            assert same.all(), name


def test_labels_that_are_wrong_are_told_and_measured_by_what_is_true(steady: History) -> None:
    since_us, until_us = world.midnight(46), world.midnight(48)
    told = put_in(steady, [Fault("label_corruption", since_us, until_us, size=1.0)], SPAN)
    assert np.array_equal(told.truth, steady.truth)
    after = told.dataset(world.midnight(60)).labels
    assert (after != steady.dataset(world.midnight(60)).labels).sum() > 200


def test_incidents_are_spread_over_the_past_and_fit_into_it(steady: History) -> None:
    faults = planned(steady, ["null_flood", "label_outage"], SPAN)
    assert [each.kind for each in faults] == ["null_flood", "label_outage"]
    assert all(SPAN.since_us < each.since_us < (each.until_us or 0) <= SPAN.until_us for each in faults)
    with pytest.raises(Misfit, match="days or more for"):
        planned(steady, list(DATA_FAULTS), SPAN)
    with pytest.raises(Misfit, match="kinds of incident in data"):
        planned(steady, ["concept_sudden"], SPAN)


def test_windows_are_tried_side_by_side(turning: History) -> None:
    shown = tried(turning, "weekly", windows=("all", "10d", "decay:5d"))
    everything, short, decayed = (each.overall or 0.0 for each in shown.tried)
    assert [each.window for each in shown.tried] == ["all", "10d", "decay:5d"]
    assert short < everything, "what was before the turn misleads"
    assert decayed < everything


def test_updates_follow_the_turn_without_another_training(project: Project, turning: History) -> None:
    goes_on = evolve(MODEL, estimator=ck.OnlineLinear(rate=0.2), retrain=Retrain(update_held_out="4d", cooldown="6d"))
    with opened(project, SPAN, goes_on) as history:
        never, update = tried(history, "never", "update").tried
    assert update.fixed
    assert {each.updates for each in update.retrainings} == {True}
    assert (update.overall or 9.0) < 0.8 * (never.overall or 0.0)
    assert update.promotions > 1
    # None learns what another has learnt: what is promoted is where the next one goes on from.
    said = [each.why for each in update.retrainings if each.outcome == "promoted"]
    assert len({why.partition("newest row, of ")[2][:10] for why in said}) == len(said)
    with pytest.raises(
        UnknownPolicy, match=r"go on learning for 'update:1d', such as ck\.OnlineLinear\(\), got 'linear'"
    ):
        policy_of("update:1d", MODEL)


@pytest.mark.parametrize(
    ("name", "hint"), [("weakly", "Did you mean weekly"), ("every:soon", "expected a duration"), ("x", "every:14d")]
)
def test_an_unknown_policy_says_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(UnknownPolicy, match=hint):
        policy_of(name, MODEL)


def test_policies_keep_the_limits_of_the_model() -> None:
    own = evolve(MODEL, retrain=Retrain(every="9d", cooldown="6d", window="21d"))
    for name in ("never", "weekly", "on_fall", "on_diagnosis"):
        assert policy_of(name, own).retrain.window == "21d"
    assert policy_of("declared", own).retrain == own.retrain
    assert (policy_of("never", own).retrain.every, policy_of("on_fall", own).retrain.every) == (None, None)


@given(st.one_of(st.just("all"), st.integers(1, 999).map("{}d".format), st.integers(1, 999).map("decay:{}d".format)))
def test_a_window_is_called_what_it_was_asked_for(window: str) -> None:
    assert window_name(windowed(Retrain(window="3d", half_life="4d"), window)) == window


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 10_000)), min_size=1))
def test_overall_is_the_mean_of_the_months_by_their_labels(months: list[tuple[float, int]]) -> None:
    rows = tuple(MonthScore(month="2013-01", metric=Interval(value, value, value, n)) for value, n in months)
    nothing = MonthScore(month="2013-02", metric=Interval(None, None, None, 9))
    expected = np.average([value for value, _ in months], weights=[n for _, n in months])
    assert overall([*rows, nothing]) == pytest.approx(expected)
    assert overall([nothing]) is None


def test_features_are_learnt_the_same_in_the_types_of_the_log() -> None:
    frame = pl.DataFrame({"a": [True, None], "b": [1, 2], "c": ["x", None], "d": [float("nan"), 1.5]})
    logged = as_logged(frame)
    assert logged.to_dict(as_series=False) == {"a": [1.0, None], "b": [1.0, 2.0], "c": ["x", None], "d": [None, 1.5]}
