"""The outlook: what is waited for, in words."""

from attrs import evolve
from situations import NOW_US, START_US, contest, deployed, health, model, reference, waiting

from charkha.monitoring.freshness import freshness_findings
from charkha.operations.decide import decide
from charkha.operations.outlook import outlook
from charkha.operations.situation import Situation
from charkha.spec.durations import DAY_US

QUIET = Situation(
    now_us=NOW_US,
    deployment=deployed(),
    since_us=START_US,
    versions=("v1",),
    last_trained_us=NOW_US - 10 * DAY_US,
    reference=reference(0.741, 0.06),
    health=health(0.738, 0.07),
)


def said(situation: Situation) -> str:
    assert decide(situation, model()) is None
    return outlook(situation, model())


def test_a_shadow_that_is_not_judged_yet() -> None:
    shadowed = evolve(
        QUIET,
        deployment=deployed("v1", "v2"),
        since_us=NOW_US - 5 * DAY_US,
        contest=contest(-0.02, -0.01, labels=1_312),
        versions=("v1", "v2", "v3"),
    )
    assert said(shadowed) == "v2 scores unseen beside v1: 5 days of 7 days, 1,312 of 200 labels matured"
    assert said(evolve(shadowed, waiting=(waiting("v3"),))).endswith("; v3 waits for its turn")


def test_a_stale_source() -> None:
    stale = tuple(freshness_findings("late", {"weather": "3h"}, {}, NOW_US))
    assert said(evolve(QUIET, findings=stale)) == "nothing is trained while a source is stale: weather"


def test_no_champion_yet() -> None:
    alone = evolve(QUIET, deployment=deployed(None, generation=0), health=None, reference=None)
    assert said(alone) == "there is no champion; the next training may begin at 2013-04-15 00:00 UTC"


def test_a_champion_as_it_was_tested() -> None:
    assert said(QUIET) == (
        "ROC-AUC 0.738 (95 % 0.668 to 0.808) on 12,034 matured labels, 0.741 (95 % 0.681 to 0.801) when tested: "
        "nothing that calls for a training"
    )


def test_a_champion_that_has_fallen_during_the_cooldown() -> None:
    fallen = evolve(QUIET, health=health(0.6, 0.07), written={"late/train/1/refused/cooldown": NOW_US})
    assert said(fallen).endswith("when tested: fallen, and the next training may begin at 2013-04-15 00:00 UTC")
    few = evolve(QUIET, health=health(0.6, 0.07, labels=30))
    assert said(few).endswith("when tested: to say that it has fallen takes 200 labels")


def test_a_champion_without_labels() -> None:
    assert said(evolve(QUIET, health=None)) == "the champion cannot be judged yet: too few labels have matured"
