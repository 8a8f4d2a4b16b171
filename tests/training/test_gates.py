import re
from typing import get_args

import attrs
import numpy as np
import polars as pl
import pytest

from charkha.spec.gates import AtLeast, BeatsChampion, BeatsRules, BeatsTrivial, Calibrated, NoSliceWorse, TestedGate
from charkha.spec.model import FloatArray
from charkha.spec.rules import Rule
from charkha.training.baselines import first_rules, rules_scores, trivial_scores
from charkha.training.champion import Champion
from charkha.training.gates import _NAMES, Evidence, check_gate

RNG = np.random.default_rng(0)
TRUTH = RNG.beta(1, 2, 2000)
LABELS = (RNG.random(2000) < TRUTH).astype(np.float64)
NOISE = RNG.random(2000)


def blurred(amount: float) -> FloatArray:
    return np.asarray((1 - amount) * TRUTH + amount * NOISE)


GOOD = Evidence(
    labels=LABELS,
    scores=TRUTH,
    clusters=np.repeat(np.arange(20), 100),
    champion=Champion("v3", blurred(0.05)),
    rules=np.where(TRUTH > 0.8, 0.75, 0.25),
    trivial=np.full(2000, LABELS.mean()),
    slices={"city": pl.Series(["Pune", "Agra"] * 1000), "pooled": pl.Series([True, None] * 1000)},
)
BAD = attrs.evolve(GOOD, scores=NOISE)


@pytest.mark.parametrize(
    ("gate", "passing", "failing"),
    [
        (AtLeast("roc_auc", 0.7), "roc_auc is 0.7", r"roc_auc is 0\.\d+ \(0.* to 0.*, 2,000 test rows\); at least 0.7"),
        (AtLeast("log_loss", 0.6), "at most 0.6 is asked for", "at most 0.6 is asked for"),
        (Calibrated(0.05), "calibration error is 0.0", "calibration error is 0.2.*; at most 0.05 is asked for"),
        (
            BeatsChampion("log_loss"),
            "not significantly worse than the champion v3",
            "significantly worse than the champ",
        ),
        (BeatsChampion("roc_auc"), "not significantly worse", "significantly worse than the champion v3: roc_auc is"),
        (BeatsRules("brier"), "significantly better than the rules alone", "not significantly better than the rules"),
        (
            NoSliceWorse("log_loss"),
            "in no slice significantly worse than the champion v3: .* least so of 3",
            "worse where",
        ),
        (BeatsTrivial("roc_auc"), "significantly better than always answering the mean", "not significantly better"),
    ],
)
def test_a_good_model_passes_and_noise_does_not(gate: TestedGate, passing: str, failing: str) -> None:
    good, bad = check_gate(gate, GOOD), check_gate(gate, BAD)
    assert (good.passed, bad.passed) == (True, False)
    for result, reason in ((good, passing), (bad, failing)):
        assert re.search(reason, result.reason)


def test_a_slice_that_pays_for_the_others_is_named() -> None:
    scores = np.where(np.arange(2000) % 40 == 0, 1 - TRUTH, TRUTH)
    rare = pl.Series(["rare" if number % 40 == 0 else "usual" for number in range(2000)])
    evidence = attrs.evolve(GOOD, scores=scores, champion=Champion("v3", blurred(0.4)), slices={"kind": rare})
    assert check_gate(BeatsChampion("log_loss"), evidence).passed
    found = check_gate(NoSliceWorse("log_loss"), evidence)
    assert not found.passed
    assert found.reason.startswith("significantly worse where kind=rare than the champion v3")
    unsliced = check_gate(NoSliceWorse("log_loss"), attrs.evolve(evidence, slices={}))
    assert (unsliced.passed, unsliced.reason[:18]) == (False, "cannot be measured")
    assert check_gate(NoSliceWorse("log_loss"), attrs.evolve(evidence, champion=None)).passed


def test_every_gate_has_a_check_and_a_name() -> None:
    assert set(_NAMES) == set(get_args(TestedGate))
    assert check_gate(BeatsChampion("roc_auc"), GOOD).name == "beats_champion roc_auc"
    assert check_gate(Calibrated(0.1), GOOD).name == "calibrated"


def test_the_first_model_needs_no_champion() -> None:
    result = check_gate(BeatsChampion("roc_auc"), attrs.evolve(BAD, champion=None))
    assert (result.passed, result.value, result.reason) == (True, None, "there is no champion yet")


def test_a_champion_that_cannot_be_scored_lets_nobody_through() -> None:
    blind = attrs.evolve(GOOD, champion=Champion("v3", None, "the champion v3 needs the request field 'gate'"))
    result = check_gate(BeatsChampion("roc_auc"), blind)
    assert not result.passed
    assert result.reason.startswith("cannot be compared: the champion v3 needs the request field 'gate'. Keep them, or")


def test_a_model_a_little_worse_is_let_through_and_a_little_better_is_not_enough() -> None:
    """The champion's gate asks for no significant harm, the baselines' for significant gain: equals show both."""
    equal = attrs.evolve(GOOD, scores=GOOD.rules, champion=Champion("v1", GOOD.rules))
    assert check_gate(BeatsChampion("brier"), equal).passed
    assert not check_gate(BeatsRules("brier"), equal).passed


def test_what_cannot_be_measured_is_not_passed() -> None:
    result = check_gate(AtLeast("roc_auc", 0.1), attrs.evolve(GOOD, labels=np.zeros(2000)))
    assert not result.passed
    assert result.reason.startswith("cannot be measured: roc_auc needs at least two rows of each class")


def test_a_stranger_is_no_gate() -> None:
    with pytest.raises(TypeError, match=r"expected a gate of charkha\.spec\.gates, got str"):
        check_gate("roc_auc", GOOD)  # type: ignore[arg-type]


RULES = (Rule("night", pl.col("hour") > 20), Rule("far", pl.col("km") > 100, decide=False))


def test_the_first_rule_that_holds_decides_and_null_holds_not() -> None:
    rows = pl.DataFrame({"hour": [23, 23, 3, 3, None], "km": [200, 1, 200, 1, None]})
    assert first_rules(RULES, rows).tolist() == [0, 0, 1, 2, 2]
    assert first_rules((), rows).tolist() == [0] * 5


def test_the_rules_alone_say_the_mean_of_what_they_decided() -> None:
    train_labels = np.array([1.0, 1, 0, 0, 0, 0])
    scores = rules_scores(np.array([0, 0, 1, 2, 2, 2]), train_labels, np.array([2, 0, 1, 0]))
    mean = 1 / 3
    expected = [mean / 4, (2 + mean) / 3, mean / 2, (2 + mean) / 3]
    np.testing.assert_allclose(scores, expected)
    np.testing.assert_allclose(trivial_scores(train_labels, 2), [mean, mean])
