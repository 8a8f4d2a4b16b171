"""The rules of a rollout, one situation each: what stops a version at which stage, and with which words."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from situations import NOW_US, deployed, model, waiting

import charkha as ck
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.clusters import ClusterMean
from charkha.operations.approvals import Proposal
from charkha.operations.decide import decide
from charkha.operations.outlook import outlook
from charkha.operations.rollout.features import FeatureChange, FeatureChanges
from charkha.operations.rollout.guards import GUARDS, alpha_of_guard, excesses
from charkha.operations.rollout.live import BINS, Arm, Live, SliceDifference, live_of
from charkha.operations.rollout.plan import Plan, plan_test
from charkha.operations.rollout.progress import Progress
from charkha.operations.rollout.trial import Stage, Trial, find_trial
from charkha.operations.rollout.unseen import Unseen, unseen_of
from charkha.operations.rollout.usual import Usual
from charkha.operations.rollout.words import broken_guards
from charkha.operations.situation import Situation
from charkha.operations.steps import Expose, Note, Promote, Propose, Reject, Retract, StartShadow, Step
from charkha.serving.routing import assign, positions
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.rollout import Rollout
from charkha.storage.ledger import Assignment, Decision, Deployment, Run

STAGES = ck.shadow("2d") >> ck.canary(0.05, 0.25) >> ck.compare("log_loss", mde=0.02)
SPAN = Span(NOW_US - 5 * DAY_US, NOW_US)
USUAL = Usual(mean=ClusterMean(0.45, 0.25 / 40_000, 40_000, 40_000), per_day=40_000 / 28)
MODEL = model(rollout=STAGES)
FEW = Usual(mean=ClusterMean(0.45, 0.01, 60, 60), per_day=2.0)
PLAN = plan_test(STAGES, USUAL, DAY_US)


def trial(stage: Stage, step: int, share: float, days: float = 5, **changes: Any) -> Trial:
    settings: dict[str, object] = {
        "version": "v2",
        "champion": "v1",
        "stage": stage,
        "step": step,
        "share": share,
        "since_us": NOW_US - int(days * DAY_US),
        "began_us": NOW_US - 20 * DAY_US,
        "started_by": "operator",
        "authors": (),
        "plan": PLAN if stage == "ab" else None,
        **changes,
    }
    return Trial(**settings)  # type: ignore[arg-type]


def arm(version: str, share: float, loss: float = 0.45, labels: int = 20_000, **changes: object) -> Arm:
    mean = ClusterMean(loss, 0.25 / max(1, labels), labels, labels)
    entities = round(40_000 * share)
    settings: dict[str, object] = {
        "version": version,
        "share": share,
        "requests": entities,
        "entities": entities,
        "failed": 0,
        "slow": 0,
        "decided": entities // 5,
        "latency_us": 4_000.0,
        "early": mean,
        "matured": mean,
        "predictions": labels,
        **changes,
    }
    return Arm(**settings)  # type: ignore[arg-type]


def live(share: float, slices: tuple[SliceDifference, ...] = (), **mine: object) -> Live:
    champion, challenger = arm("v1", 1 - share), arm("v2", share, **mine)  # type: ignore[arg-type]
    return Live(
        champion=champion,
        challenger=challenger,
        scores=((round(challenger.entities / BINS),) * BINS, (round(champion.entities / BINS),) * BINS),
        slices=slices,
        slow_us=20_000.0,
        span=SPAN,
    )


def unseen(**changes: object) -> Unseen:
    settings: dict[str, object] = {
        "calls": 5_000,
        "missed": 0,
        "requests": 5_000,
        "latency_us": (3_000.0, 4_000.0),
        "slow": 0,
        "slow_us": 10_000.0,
        "spent_us": (3.0, 4.0),
        "decided": 5_000,
        "disagreed": 300,
        "score_difference": 0.02,
        "spread": (0.2, 0.2),
        "span": SPAN,
        **changes,
    }
    return Unseen(**settings)  # type: ignore[arg-type]


def situation(progress: Progress, *, rollout: Rollout = STAGES, **changes: object) -> Situation:
    found = progress.trial
    assignments = [Assignment("v1", "champion", 1.0)]
    if found is not None:
        role = "shadow" if found.stage == "shadow" else "challenger"
        assignments.append(Assignment("v2", role, found.share))  # type: ignore[arg-type]
    deployment = Deployment("late", 3, tuple(assignments), SPAN.since_us)
    settings = {"now_us": NOW_US, "deployment": deployment, "versions": ("v1", "v2"), "progress": progress, **changes}
    return Situation(**settings)  # type: ignore[arg-type]


def at_shadow(**changes: object) -> Situation:
    return situation(Progress(trial=trial("shadow", 0, 1.0), unseen=unseen(**changes), plan=PLAN))


def at_canary(days: float = 5, step: int = 0, plan: Plan | None = PLAN, **mine: Any) -> Situation:
    share = STAGES.shares[step]
    return situation(Progress(trial=trial("canary", step, share, days), live=live(share, **mine), plan=plan))


def planless(found: Situation, usual: Usual) -> Situation:
    """Return a situation in which nothing can be planned by what the champion shows."""
    assert found.progress is not None
    return evolve(found, progress=evolve(found.progress, plan=None, usual=usual))


def at_test(loss: float, labels: int = 20_000, **changes: Any) -> Situation:
    found = trial("ab", 2, 0.5, **changes)
    return situation(Progress(trial=found, live=live(0.5, loss=loss, labels=labels)))


def step(found: Situation, rollout: Rollout = STAGES) -> Step | None:
    return decide(found, model(rollout=rollout))


def test_a_rollout_begins_with_its_first_stage() -> None:
    candidate = Situation(now_us=NOW_US, deployment=deployed(), versions=("v1", "v2"), waiting=(waiting("v2"),))
    began = step(candidate)
    assert isinstance(began, StartShadow)
    assert began.reason.endswith("for at least 2 days")
    exposed = step(candidate, ck.canary(0.1) >> ck.compare("log_loss"))
    assert isinstance(exposed, Expose)
    assert (exposed.stage, exposed.share, exposed.evidence["first"]) == ("canary", 0.1, True)


def test_a_shadow_within_its_limits_goes_on_to_users() -> None:
    further = step(at_shadow())
    assert isinstance(further, Expose)
    assert (further.stage, further.share) == ("canary", 0.05)
    assert further.reason == (
        "v2: it kept its limits as a shadow for 5 days, on 5,000 requests; it answers 5 % of the entities"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"missed": 200}, "it left 200 of 5,000 calls without a score, where 1.0% may be"),
        ({"slow": 4_000, "latency_us": (90_000.0, 4_000.0)}, "it is slow: 95 % of its calls take up to 90 ms"),
        (
            {"spread": (0.0, 0.2)},
            "it answers constants: its scores of 5,000 requests spread by 0, the champion's by 0.2",
        ),
    ],
)
def test_a_shadow_that_breaks_a_limit_is_rejected_before_its_time(changes: dict[str, object], said: str) -> None:
    found = at_shadow(**changes)
    assert found.progress is not None
    early = evolve(found, progress=evolve(found.progress, trial=trial("shadow", 0, 1.0, days=0.5)))
    ended = step(early)
    assert isinstance(ended, Reject)
    assert said in ended.reason


def test_a_shadow_that_decides_otherwise_is_stopped_where_that_is_limited() -> None:
    limited = ck.shadow("2d", max_disagreement=0.1) >> ck.canary(0.05) >> ck.compare("log_loss")
    ended = step(at_shadow(disagreed=2_000), limited)
    assert isinstance(ended, Reject)
    assert "it decides 2,000 of 5,000 requests otherwise, where 10.0% may be" in ended.reason
    assert isinstance(step(at_shadow(disagreed=2_000)), Expose)


def test_a_swapped_feature_is_stopped_as_a_shadow() -> None:
    found = at_shadow()
    assert found.progress is not None
    changes = FeatureChanges((FeatureChange(feature="asked.x", requests=800, differing=790, size=3.1),))
    within = evolve(found, progress=evolve(found.progress, changes=changes))
    rejected = step(within)
    assert isinstance(rejected, Reject)
    assert "feature asked.x differs from the champion's on 790 of 800 requests" in rejected.reason


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ({"failed": 60}, "it fails more often: 60 of its 2,000 entities had a request that failed"),
        ({"entities": 1_200, "requests": 2_000}, "sample ratio mismatch: it answered 1,200 of 39,200 entities first"),
        ({"slow": 300}, "it is slow: 300 of its 2,000 entities had a call of more than 20 ms"),
        ({"decided": 0}, "it decides otherwise by more than the factor 2: 0 of its 2,000 entities"),
        ({"decided": 1_900}, "it decides otherwise by more than the factor 2: 1,900 of its 2,000 entities"),
        (
            {"first_with": 1_400, "first_without": 100, "without": 100},
            "its labels are missing otherwise than the champion's: of 1,500 entities the first matured prediction has "
            "none for 100, of the champion's 0 entities for 0",
        ),
        ({"loss": 0.6, "labels": 1_500}, "it is worse: log loss 0.6000 on 1,500 labels so far"),
        (
            {"slices": (SliceDifference(name="city", value="Pune", difference=0.3, information=1_000.0),)},
            "it is worse where city is Pune: log loss by +0.3000",
        ),
    ],
)
def test_a_guardrail_that_breaks_takes_it_out_at_once(mine: dict[str, Any], said: str) -> None:
    ended = step(at_canary(days=0.1, **mine))
    assert isinstance(ended, Retract)
    assert said in ended.reason
    assert ended.evidence["outcome"] == "rolled back"


def test_scores_that_are_constant_are_stopped_among_users() -> None:
    found = at_canary(days=0.1)
    assert found.progress is not None
    assert found.progress.live is not None
    constant = evolve(found.progress.live, scores=((0,) * 19 + (20_000,), (2_000,) * BINS))
    ended = step(evolve(found, progress=evolve(found.progress, live=constant)))
    assert isinstance(ended, Retract)
    assert "its scores are distributed otherwise: by at least 0." in ended.reason


def test_a_step_lasts_its_period_then_the_share_grows_then_the_test_is_planned() -> None:
    assert step(at_canary(days=0.5)) is None
    further = step(at_canary())
    assert isinstance(further, Expose)
    assert (further.stage, further.share, further.evidence["plan"]) == ("canary", 0.25, None)
    test = step(at_canary(step=1))
    assert isinstance(test, Expose)
    assert (test.stage, test.share) == ("ab_test", 0.5)
    assert PLAN is not None
    assert test.evidence["plan"] == PLAN.written()
    assert f"takes {PLAN.labels:,} matured labels, at the present traffic by 20" in test.reason


def test_no_traffic_and_no_labels_end_in_words() -> None:
    found = at_canary(days=9, requests=12, entities=12, decided=2)
    assert found.progress is not None
    assert found.progress.live is not None
    alone = evolve(found.progress.live, champion=arm("v1", 0.95, requests=210, entities=210, decided=40))
    quiet = step(evolve(found, progress=evolve(found.progress, live=alone)))
    assert isinstance(quiet, Retract)
    assert "it has answered only 12 requests, where 200 are needed: inconclusive, v1 stays" in quiet.reason
    assert step(at_canary(days=5, step=1, plan=None)) is None
    unplanned = step(planless(at_canary(days=9, step=1, plan=None), FEW))
    assert isinstance(unplanned, Retract)
    assert "too few labels of v1 have matured to plan the A/B test by: those of 60 entities, where 100 are needed" in (
        unplanned.reason
    )
    crowded = step(at_canary(days=9, step=1, plan=None))
    assert isinstance(crowded, Retract)
    assert "another challenger is in the way: inconclusive, v1 stays" in crowded.reason


def test_a_shadow_that_no_test_can_follow_ends_in_words() -> None:
    direct = ck.shadow("2d") >> ck.compare("log_loss", share=0.5)
    found = planless(at_shadow(), FEW)
    assert step(found, direct) is None  # for four times the period and the delay it may still get its labels
    assert found.progress is not None
    late = evolve(found, progress=evolve(found.progress, trial=trial("shadow", 0, 1.0, days=12)))
    ended = step(late, direct)
    assert isinstance(ended, Reject)
    assert ended.reason == (
        "v2: after 12 days too few labels of v1 have matured to plan the A/B test by: those of 60 entities, where 100 "
        "are needed"
    )
    assert late.progress is not None
    assert isinstance(step(evolve(late, progress=evolve(late.progress, plan=PLAN)), direct), Expose)


@pytest.mark.parametrize(
    ("loss", "labels", "kind", "said"),
    [
        (0.42, 20_000, Promote, "log loss 0.4200 on 20,000 matured labels against the champion's 0.4500"),
        (0.47, 20_000, Retract, "; it is worse"),
        (0.45, 800_000, Retract, "no difference of 2 % was found, so v1 stays"),
    ],
)
def test_an_ab_test_promotes_rolls_back_or_says_that_it_is_unclear(
    loss: float, labels: int, kind: type[Step], said: str
) -> None:
    if labels > 20_000:
        found = at_test(loss)
        assert found.progress is not None
        many = ClusterMean(loss, 0.25 / labels, labels, labels)
        both = live(0.5)
        both = evolve(
            both, champion=evolve(both.champion, matured=many), challenger=evolve(both.challenger, matured=many)
        )
        found = evolve(found, progress=evolve(found.progress, live=both))
    else:
        found = at_test(loss, labels)
        assert found.progress is not None
        assert found.progress.live is not None
        quiet = evolve(found.progress.live.challenger, early=arm("v2", 0.5).early)  # guardrails see nothing yet
        found = evolve(found, progress=evolve(found.progress, live=evolve(found.progress.live, challenger=quiet)))
    ended = step(found)
    assert isinstance(ended, kind)
    assert said in ended.reason


def test_an_ab_test_that_goes_on_says_so_each_quarter() -> None:
    noted = step(at_test(0.45, labels=80_000))
    assert isinstance(noted, Note)
    assert noted.key.startswith("late/continue/v2/")
    quarter = noted.evidence["quarter"]
    assert step(at_test(0.45, labels=80_000, told=quarter)) is None


def test_time_that_is_over_ends_a_test() -> None:
    ended = step(at_test(0.45, labels=500, days=30, told=4))
    assert isinstance(ended, Retract)
    assert ended.evidence["outcome"] == "inconclusive"
    asking = ck.canary(0.05, 0.25) >> ck.compare("log_loss", mde=0.02, unclear="ask")
    asked = step(at_test(0.45, labels=500, days=30, told=4), asking)
    assert isinstance(asked, Propose)
    assert "inconclusive after 30 days" in asked.reason


def test_a_person_approves_a_promotion_and_not_the_one_who_began_it() -> None:
    agreed = STAGES >> ck.approval()
    found = at_test(0.42, authors=("asha",))
    proposed = step(found, agreed)
    assert isinstance(proposed, Propose)
    assert proposed.not_by == ("asha",)
    known = Proposal(
        key=proposed.key,
        model="late",
        proposes="promote v2",
        generation=3,
        not_by=("asha",),
        proposed_us=NOW_US,
        reason="so",
    )
    assert step(evolve(found, proposals={known.key: known}), agreed) is None
    approved = evolve(known, answer="approved", by="ravi", why="fine", answered_us=NOW_US)
    assert isinstance(step(evolve(found, proposals={known.key: approved}), agreed), Promote)
    declined = step(evolve(found, proposals={known.key: evolve(approved, answer="declined")}), agreed)
    assert isinstance(declined, Retract)
    assert "its promotion was declined by ravi: fine" in declined.reason


def test_what_is_waited_for_is_said() -> None:
    assert outlook(at_canary(days=0.5), MODEL) == (
        "v2 answers 5 % of the entities beside v1, for 12 hours: charkha rollout status late"
    )


def test_a_persons_challenger_is_left_to_that_person_and_in_the_way() -> None:
    deployments = [Deployment("late", 2, (Assignment("v1", "champion", 0.7), Assignment("v9", "challenger", 0.3)), 5)]
    by_hand = decision(2, "challenge", "v9", "asha")
    assert find_trial(deployments, [by_hand], []) is None
    crowded = evolve(at_shadow(), deployment=evolve(deployments[0], generation=3))
    assert not isinstance(step(crowded), Expose)


def decision(generation: int, action: str, version: str, actor: str = "operator", **evidence: object) -> Decision:
    told = {"version": version, **evidence}
    return Decision(f"{action}/{generation}", generation, "late", actor, action, "so", told, 1, generation, "", "")


def test_the_stage_is_derived_from_deployments_and_decisions() -> None:
    champion, shadow = Assignment("v1", "champion"), Assignment("v2", "shadow")
    challenger = Assignment("v2", "challenger", 0.25)
    deployments = [
        Deployment("late", 1, (champion,), 10),
        Deployment("late", 2, (champion, shadow), 20),
        Deployment("late", 3, (Assignment("v1", "champion", 0.75), challenger), 30),
        Deployment("late", 4, (Assignment("v1", "champion", 0.75), challenger, Assignment("v8", "shadow")), 40),
    ]
    decisions = [
        decision(2, "rollout_start", "v2", "asha", stage="shadow"),
        decision(3, "canary", "v2", stage="canary", step=1, share=0.25),
    ]
    runs = [Run("k", "training", "late", 1, 2, "done", {"version": "v2", "by": "ravi"})]
    at_first = find_trial(deployments[:2], decisions[:1], runs)
    assert at_first is not None
    assert (at_first.stage, at_first.since_us, at_first.authors) == ("shadow", 20, ("ravi", "asha"))
    further = find_trial(deployments, decisions, runs)
    assert further is not None
    assert (further.stage, further.step, further.share) == ("canary", 1, 0.25)
    assert (further.since_us, further.began_us, further.started_by) == (30, 2, "asha")
    assert find_trial(deployments[:1], decisions, runs) is None


def test_alpha_is_shared_out_and_none_of_it_twice() -> None:
    assert PLAN is not None
    guards = alpha_of_guard(STAGES) * len(GUARDS) * len(STAGES.shares)
    assert guards + PLAN.alpha == pytest.approx(STAGES.alpha)
    above = excesses(live(0.25).figures, STAGES.guardrails, 0.25, alpha_of_guard(STAGES))
    assert tuple(above) == GUARDS
    assert all(float(each) < 0 for each in above.values())


def test_a_plan_needs_labels() -> None:
    assert plan_test(STAGES, FEW, DAY_US) is None
    assert PLAN is not None
    assert PLAN.days is not None
    assert PLAN.days == pytest.approx(PLAN.labels / (40_000 / 28) + 1)
    alike = Usual(mean=ClusterMean(0.45, 2 * USUAL.mean.variance, 40_000, 9_000), per_day=1_000.0)
    twice = plan_test(STAGES, alike, DAY_US)
    assert twice is not None
    assert twice.labels == pytest.approx(2 * PLAN.labels, abs=2)


def outcomes(count: int = 4_000, *, fails: bool = False) -> pl.DataFrame:
    """Return what 4,000 cities asked once or twice, of whom a quarter is the challenger's; labels come within a day."""
    random = np.random.default_rng(2)
    cities = [f"city {number // 2}" for number in range(count)]
    places = positions("late", [(city,) for city in cities])
    mine = assign(places, [0.25]) == 1
    answered = mine & ~np.full(count, fails)
    return pl.DataFrame(
        {
            "id": [str(number) for number in range(count)],
            "_at_us": np.linspace(SPAN.since_us, SPAN.until_us - 1, count).astype(np.int64),
            "version": np.where(answered, "v2", "v1"),
            "role": np.where(answered, "challenger", "champion"),
            "score": random.random(count),
            "decision": random.random(count) < 0.3,
            "latency_us": random.integers(1_000, 3_000, count),
            "request.x": cities,
            "_label": (random.random(count) < 0.5).astype(float),
        }
    )


def test_arms_are_entities_and_only_what_has_matured_counts() -> None:
    rows = outcomes()
    found = live_of(rows, MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert found.champion.entities + found.challenger.entities == 2_000
    assert found.challenger.failed == 0
    assert found.challenger.requests == rows.filter(pl.col("version") == "v2").height
    assert found.challenger.early.rows == found.challenger.requests
    old = rows.filter((pl.col("version") == "v2") & (pl.col("_at_us") < SPAN.until_us - DAY_US))
    assert found.challenger.matured.rows == found.challenger.predictions == old.height
    assert sum(found.scores[0]) == found.challenger.entities


def unlabelled(rows: pl.DataFrame, where: pl.Series, share: float, seed: int) -> pl.DataFrame:
    """Return outcomes in which a share of some rows never has its label."""
    gone = pl.Series(np.random.default_rng(seed).random(rows.height) < share) & where
    return rows.with_columns(pl.when(gone).then(None).otherwise("_label").alias("_label"))


@pytest.mark.parametrize(("of_mine", "of_others"), [(0.1, 0.0), (0.0, 0.1), (0.6, 0.3), (0.999, 0.9), (0.7, 0.9)])
def test_labels_that_are_missing_in_one_arm_only_promote_nobody(of_mine: float, of_others: float) -> None:
    rows = outcomes(20_000)
    mine = rows["version"] == "v2"
    rows = unlabelled(unlabelled(rows, mine, of_mine, 11), ~mine, of_others, 12)
    found = live_of(rows, MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert (found.challenger.matured.rows < found.challenger.predictions) == (of_mine > 0)
    (said,) = broken_guards(found, MODEL)
    assert said.startswith("its labels are missing otherwise than the champion's: of 2,0")


def test_equal_versions_of_which_one_lacks_the_labels_of_its_bad_rows_are_not_promoted() -> None:
    rows = outcomes(20_000)
    lost = -np.log(np.where(rows["_label"].to_numpy() > 0.5, rows["score"].to_numpy(), 1 - rows["score"].to_numpy()))
    rows = unlabelled(rows, (rows["version"] == "v2") & pl.Series(lost > 1.2), 0.5, 3)
    found = live_of(rows, MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert PLAN is not None
    assert found.challenger.matured.value < found.champion.matured.value - 0.1
    ended = step(situation(Progress(trial=trial("ab", 2, 0.25), live=found)))
    assert isinstance(ended, Retract)
    assert "its labels are missing otherwise than the champion's" in ended.reason


def test_labels_that_are_missing_in_both_arms_stop_nobody() -> None:
    """Looked at after every day of twenty rollouts, with a share missing that saturates among those who come again."""
    for seed in range(20):
        rows = unlabelled(outcomes(8_000), pl.Series([True]).new_from_index(0, 8_000), 0.3, 100 + seed)
        for days in range(1, 6):
            span = Span(SPAN.since_us, SPAN.since_us + days * DAY_US)
            found = live_of(rows, MODEL, [("v2", 0.25)], ("v1", "v2"), span)
            above = excesses(found.figures, STAGES.guardrails, 0.25, alpha_of_guard(STAGES))
            assert float(above["labels"]) < 0


def test_what_the_challenger_left_to_the_champion_counts_as_failed() -> None:
    found = live_of(outcomes(fails=True), MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert found.challenger.failed == found.challenger.requests / 2
    assert found.challenger.entities == 0
    early = evolve(at_canary(days=0.1))
    assert early.progress is not None
    ended = step(evolve(early, progress=evolve(early.progress, live=found)))
    assert isinstance(ended, Retract)
    assert "it fails more often" in ended.reason


def by_replicas(loads_s: float | None, *, from_s: float = 0.0) -> pl.DataFrame:
    """Return outcomes of 40 s and of the days after, by two replicas, one of which can answer late, or never (None)."""
    rows = outcomes(8_000)
    quick = SPAN.since_us + np.linspace(0, 40e6, 4_000).astype(np.int64)
    at_us = np.concatenate([quick, np.linspace(SPAN.since_us + 10 * 60e6, SPAN.until_us - 1, 4_000).astype(np.int64)])
    late = np.random.default_rng(7).random(rows.height) < 0.5
    after = (at_us - SPAN.since_us) / 1e6
    cannot = (
        late
        & (after >= from_s)
        & (after < (np.inf if loads_s is None else loads_s))
        & (rows["version"] == "v2").to_numpy()
    )
    return rows.with_columns(
        _at_us=pl.Series(at_us),
        replica=pl.Series(np.where(late, "host/1", "host/0")),
        version=pl.when(pl.Series(cannot)).then(pl.lit("v1")).otherwise("version"),
        role=pl.when(pl.Series(cannot)).then(pl.lit("champion")).otherwise("role"),
    )


@pytest.mark.parametrize("loads_s", [0.0, 5.0, 30.0])
def test_what_was_answered_while_a_replica_loads_is_of_no_arm(loads_s: float) -> None:
    found = live_of(by_replicas(loads_s), MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert (found.challenger.failed, broken_guards(found, MODEL)) == (0, [])
    left_out = 8_000 - found.challenger.requests - found.champion.requests
    assert left_out == pytest.approx(4_000 * loads_s / 40 / 2, rel=0.1, abs=5)
    share = found.challenger.entities / (found.challenger.entities + found.champion.entities)
    assert share == pytest.approx(0.25, abs=0.02)  # what is left out is of both arms


@pytest.mark.parametrize(("loads_s", "from_s"), [(None, 0.0), (1e6, 20.0)])
def test_a_replica_that_never_answers_and_one_that_stops_are_found(loads_s: float | None, from_s: float) -> None:
    found = live_of(by_replicas(loads_s, from_s=from_s), MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert found.challenger.failed > 100
    assert "it fails more often" in broken_guards(found, MODEL)[0]


@pytest.mark.parametrize("strays", [1, 20])
def test_rows_that_went_astray_hide_no_failures(strays: int) -> None:
    """While shares change, some rows are answered by the version of the share before."""
    rows, failing = outcomes(), outcomes(fails=True)
    of_others = (rows["role"] == "champion") & (pl.arange(0, rows.height, eager=True) % 7 == 0)
    chosen = of_others & (of_others.cum_sum() <= strays)
    astray = failing.with_columns(
        version=pl.when(chosen).then(pl.lit("v2")).otherwise("version"),
        role=pl.when(chosen).then(pl.lit("challenger")).otherwise("role"),
    )
    found = live_of(astray, MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert found.challenger.failed == found.challenger.requests / 2
    assert found.challenger.entities == 0
    assert found.champion.requests == rows.filter(pl.col("role") == "champion").height - strays


def test_where_places_say_nothing_whoever_answered_counts() -> None:
    """As for keys that the log holds otherwise than they were asked."""
    rows = outcomes().with_columns(("other " + pl.col("request.x")).alias("request.x"))
    found = live_of(rows, MODEL, [("v2", 0.25)], ("v1", "v2"), SPAN)
    assert found.challenger.requests == rows.filter(pl.col("version") == "v2").height
    assert found.challenger.failed == 0


def test_a_shadow_is_compared_on_the_same_requests() -> None:
    asked = outcomes().with_columns(version=pl.lit("v1"), role=pl.lit("champion"))
    scored = asked.with_columns(
        version=pl.lit("v2"), role=pl.lit("shadow"), score=pl.col("score") + 0.1, latency_us=pl.lit(500, pl.Int64)
    )
    found = unseen_of(pl.concat([asked, scored[100:]]), ("v1", "v2"), STAGES.shadow, SPAN)
    assert found.calls - found.requests == found.missed
    assert found.missed == pytest.approx(100, abs=2)
    assert (found.disagreed, found.latency_us and found.latency_us[0]) == (0, 500.0)
    assert found.score_difference == pytest.approx(0.1)
    assert unseen_of(asked[:0], ("v1", "v2"), STAGES.shadow, Span(NOW_US, NOW_US + HOUR_US)).calls == 0
