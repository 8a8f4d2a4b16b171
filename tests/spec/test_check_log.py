"""The policy of the log: kept as long as anything looks back on it, and no value that means nothing."""

from typing import Any

import pytest
from attrs import evolve
from test_check import build, sound_parts

import charkha as ck
from charkha.spec.checks.log import log_faults
from charkha.spec.retention import keep_days, least_days


def model() -> ck.Model:
    found = build(sound_parts())
    return evolve(found, monitors=ck.Monitors(window="28d"), label=evolve(found.label, delay="1d"))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (ck.LogPolicy(keep_days=32), "log.keep_days: expected at least 34 days, for labels come late"),
        (ck.LogPolicy(keep_days=True), "log.keep_days: expected a whole number of days, got True"),
        (ck.LogPolicy(keep_days=1.5), "log.keep_days: expected a whole number of days, got 1.5"),  # type: ignore[arg-type]
        (ck.LogPolicy(on_full_disk="wait"), 'log.on_full_disk: expected "refuse" or "serve_unlogged", got \'wait\''),  # type: ignore[arg-type]
        (
            ck.LogPolicy(features_share=0),
            "log.features_share: expected a share of the predictions from 1e-6 to 1, got 0",
        ),
        (ck.LogPolicy(features_share=1.5), "log.features_share: expected a share of the predictions from 1e-6 to 1"),
        (ck.LogPolicy(features_share="all"), "log.features_share: expected a share of the predictions"),  # type: ignore[arg-type]
        ("forever", "log: expected a ck.LogPolicy, got 'forever'"),
    ],
)
def test_a_policy_that_cannot_be_meant(policy: Any, expected: str) -> None:
    (fault,) = log_faults("model 'late'", evolve(model(), log=policy))
    assert str(fault).startswith(f"model 'late', {expected}")


@pytest.mark.parametrize(
    "policy", [ck.LogPolicy(features_share=0.1), ck.LogPolicy(keep_days=34, on_full_disk="serve_unlogged")]
)
def test_a_policy_that_can(policy: ck.LogPolicy) -> None:
    assert list(log_faults("model 'late'", evolve(model(), log=policy))) == []


def test_where_nothing_is_said_late_labels_are_waited_for() -> None:
    late = evolve(model(), label=evolve(model().label, delay="180d"))
    assert (keep_days(model()), keep_days(late)) == (400, least_days(late))
    assert least_days(late) == 1 + 180 + 4 * (7 + 180)
