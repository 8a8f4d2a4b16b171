"""Rollouts: which stages may follow which, and that every figure that cannot be is named."""

import pytest

import charkha as ck
from charkha.spec.checks.business import business_faults
from charkha.spec.checks.rollout import rollout_faults
from charkha.spec.rollout import Rollout

WHOLE = ck.shadow("2d") >> ck.canary(0.05, 0.25) >> ck.compare("log_loss", mde=0.01) >> ck.approval()


def texts(rollout: object) -> list[str]:
    return [str(fault) for fault in rollout_faults("model 'late'", rollout, "binary")]


@pytest.mark.parametrize(
    ("rollout", "live", "shares"),
    [
        (ck.shadow("7d") >> ck.compare("log_loss"), False, (0.5,)),
        (ck.shadow("7d") >> ck.compare("log_loss", share=0.2, alpha=0.1), True, (0.2,)),
        (ck.canary(0.1) >> ck.compare("brier"), True, (0.1, 0.5)),
        (WHOLE, True, (0.05, 0.25, 0.5)),
    ],
)
def test_stages_that_may_be(rollout: Rollout, live: bool, shares: tuple[float, ...]) -> None:
    assert texts(rollout) == []
    assert (rollout.live, rollout.shares) == (live, shares)


def test_defaults_are_said_once() -> None:
    assert (WHOLE.mde, WHOLE.share, WHOLE.power, WHOLE.approval) == (0.01, 0.5, 0.8, ck.approval())
    assert WHOLE.alpha == pytest.approx(0.05)
    assert WHOLE.guardrails is WHOLE.canary
    assert (ck.canary(0.1) >> ck.compare("log_loss")).unseen is None


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        (ck.shadow("7d"), "rollout: expected a shadow stage, then a comparison, got Shadow("),
        (ck.shadow("7d") >> ck.canary(0.1), "rollout: expected a shadow stage, then a comparison, got Beginning("),
        (ck.canary() >> ck.compare("log_loss"), "rollout.canary: expected at least one share of the entities"),
        (ck.canary(0.3, 0.1) >> ck.compare("log_loss"), "canary, shares: expected ever larger shares, got 0.3, 0.1"),
        (ck.canary(5) >> ck.compare("log_loss"), "canary, shares: expected shares above 0 and below 1, got 5"),
        (ck.canary(0.1, period="soon") >> ck.compare("log_loss"), "canary, period: expected a duration"),
        (ck.canary(0.1, max_failures=0.5) >> ck.compare("log_loss"), "max_failures: expected a factor from 1 on"),
        (
            ck.canary(0.6) >> ck.compare("log_loss"),
            "compare, share: expected at least the share of the canary's last step, got 0.5 after a canary of 0.6",
        ),
        (
            ck.shadow("7d") >> ck.compare("log_loss", mde=0.02),
            "compare, mde: expected an A/B test, which it plans, got a comparison on the shadow",
        ),
        (ck.shadow("7d") >> ck.compare("log_loss", share=1.0), "compare, share: expected a share of the entities"),
        (ck.canary(0.1) >> ck.compare("log_loss", mde=2), "compare, mde: expected a share of the champion's mean"),
        (ck.canary(0.1) >> ck.compare("log_loss", power=0.2), "compare, power: expected a probability from 0.5"),
        (ck.canary(0.1) >> ck.compare("log_loss", within="?"), "compare, within: expected a duration"),
        (
            ck.canary(0.1) >> ck.compare("log_loss", unclear="promote"),  # type: ignore[arg-type]
            "compare, unclear: expected 'keep' or 'ask', got 'promote'",
        ),
        (ck.shadow("7d", max_failures=0) >> ck.compare("log_loss"), "shadow, max_failures: expected a share above 0"),
        (WHOLE >> ck.approval(two_persons=2), "approval, two_persons: expected True or False, got 2"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_said(rollout: object, expected: str) -> None:
    (found,) = texts(rollout)
    assert expected in found


def test_a_cost_decides_binary_models_on_a_shadow_and_as_a_test() -> None:
    assert texts(ck.shadow("7d") >> ck.compare("cost")) == []
    assert texts(ck.canary(0.1) >> ck.compare("cost", mde=0.05)) == []
    (found,) = [
        str(each) for each in rollout_faults("model 'late'", ck.canary(0.1) >> ck.compare("cost"), "regression")
    ]
    assert "expected a loss of single rows of regression, got 'cost'" in found


def business(rollout: Rollout, *names: str) -> list[str]:
    return [str(each) for each in rollout_faults("model 'late'", rollout, "binary", dict.fromkeys(names, "higher"))]


def test_a_declared_business_metric_decides_what_users_met() -> None:
    assert business(ck.canary(0.1) >> ck.compare("margin", mde=0.1), "margin") == []
    assert business(ck.shadow("2d") >> ck.compare("margin", share=0.5), "margin") == []
    (unheard,) = business(ck.shadow("7d") >> ck.compare("margin"), "margin")
    assert "expected an A/B test, for 'margin' tells what answers led to, got a comparison on the shadow" in unheard
    (unknown,) = business(ck.canary(0.1) >> ck.compare("margins"), "margin", "complaints")
    assert unknown.endswith("expected a loss of single rows of binary, got 'margins'. Did you mean 'margin'?")
    (other,) = business(ck.canary(0.1) >> ck.compare("sales"), "margin", "complaints")
    assert other.endswith("Binary models have: log_loss, brier, cost, margin, complaints.")
    (undeclared,) = texts(ck.canary(0.1) >> ck.compare("margin"))
    assert 'A business metric is declared with the model: business={"margin": "higher"}.' in undeclared


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("margin", "business: expected a dict of names and 'higher' or 'lower', got 'margin'"),
        ({"margin": "up"}, "business['margin']: expected 'higher' or 'lower', got 'up'"),
        ({"margin": True}, "business['margin']: expected 'higher' or 'lower', got True"),
        ({"gross margin": "higher"}, "business: expected a name such as 'late_arrival', got 'gross margin'"),
        ({5: "higher"}, "business: expected a name such as"),
        ({"m" * 65: "higher"}, "business: expected names of at most 64 characters"),
        ({"log_loss": "lower"}, "business: expected a name that no metric of a model has, got 'log_loss'"),
        ({"cost": "lower"}, "business: expected a name that no metric of a model has, got 'cost'"),
        ({f"m{place}": "higher" for place in range(17)}, "business: expected at most 16 business metrics, got 17"),
    ],
)
def test_what_is_no_business_metric(declared: object, expected: str) -> None:
    (found,) = [str(each) for each in business_faults("model 'late'", declared)]
    assert expected in found
    assert list(business_faults("model 'late'", {"margin": "higher", "complaints": "lower"})) == []
