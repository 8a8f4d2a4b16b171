"""The remedy of each cause: what is done, proposed or only written down, and how it ends."""

from typing import Any

import polars as pl
import pytest
from attrs import evolve
from situations import NOW_US, ROWS, START_US, deployed, health, incident, model, reference, training

import charkha as ck
from charkha.monitoring.diagnosis.documents import as_document
from charkha.monitoring.diagnosis.incident import Action, Culprit, DiagnosedCause, Remedy
from charkha.operations.approvals import Proposal
from charkha.operations.decide import decide
from charkha.operations.remedies.at_fault import diagnosis_of
from charkha.operations.remedies.keys import is_of_variant
from charkha.operations.retraining.exclusions import from_evidence
from charkha.operations.retraining.past import PastTraining, past_trainings
from charkha.operations.situation import Situation, Variant
from charkha.operations.step_keys import step_key
from charkha.operations.steps import Mend, Note, Propose, Step, Train
from charkha.operations.wording import step_in_words
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.ledger import Decision, Incident

WEATHER = ck.Source(
    "weather", {"city": str, "at": str, "temp": float}, time="at", key=("city", "at"), owner="met office"
)
CONDITIONS = ck.FeatureView("conditions", ck.Entity("city"), WEATHER, windows=[ck.mean("temp", over=["1h", "3d"])])
ACT = ck.Autonomy("act")


def world(autonomy: ck.Autonomy = ACT, **changes: Any) -> Model:
    """Return a model with a view of the weather, which has a fallback."""
    features = (CONDITIONS, ck.RequestFeatures("asked", x=pl.col("x")))
    return model(features=features, autonomy=autonomy, fallback=ck.Fallback(decision=False), **changes)


def found(cause: DiagnosedCause, action: Action, days_ago: float = 2.0, **culprit: str) -> Incident:
    plain = incident(cause, days_ago)
    diagnosis = evolve(diagnosis_of(plain), culprit=Culprit(**culprit), remedy=Remedy(action=action, words="Mend it."))
    return evolve(plain, diagnosis=as_document(diagnosis))


FROZEN = found("source", "page_source_owner", sources="weather", features="conditions.mean_temp_1h")
QUIET = Situation(
    now_us=NOW_US,
    deployment=deployed(),
    since_us=START_US,
    versions=("v1",),
    last_trained_us=NOW_US - DAY_US,
    reference=reference(0.741, 0.006),
    health=health(0.738, 0.007),
    champion_views=frozenset({"conditions"}),
)


def beside(*incidents: Incident, **changes: Any) -> Situation:
    return evolve(QUIET, incidents=incidents, **changes)


def written(*steps: Step | None) -> dict[str, int]:
    return {step.run_key if isinstance(step, Train) else step.key: NOW_US for step in steps if step}  # type: ignore[union-attr]


def decided(step: Mend, action: str) -> Decision:
    return Decision(step.key, NOW_US, "late", "operator", action, step.reason, step.evidence, 9, None, "", "")


def test_a_source_at_fault_is_answered_by_the_fallback_then_by_a_version_without_it_and_its_owner_is_paged() -> None:
    fallback = decide(beside(FROZEN), world())
    assert isinstance(fallback, Mend)
    assert (fallback.kind, fallback.key) == ("serve_fallback", "late/serve_fallback/late-3")
    assert fallback.reason.startswith("v1 reads conditions, at fault by late-3 since 2013-04-09 00:00 UTC")
    killed = beside(
        FROZEN, written=written(fallback), killed=decided(fallback, "kill"), mends=(decided(fallback, "kill"),)
    )
    variant = decide(killed, world())
    assert isinstance(variant, Train)
    assert (variant.run_key, variant.evidence["without"]) == ("late/without/conditions/late-3", ["conditions"])
    assert is_of_variant(variant.run_key)
    assert step_in_words(variant) == "train a version without conditions"
    (window,) = from_evidence(variant.evidence)
    assert (window.since_us, window.until_us) == (FROZEN.began_us, NOW_US)
    page = decide(evolve(killed, written=written(fallback, variant)), world())
    assert isinstance(page, Note)
    assert (page.action, page.evidence["owners"]) == ("page", ["met office"])
    assert page.reason.startswith("met office: source: null flood of weather.temp, since 2013-04-09")
    assert decide(evolve(killed, written=written(fallback, variant, page)), world()) is None

    # It passed its gates: it stands in, and the fallback ends.
    done = written(fallback, variant, page)
    made = evolve(killed, written=done, variants=(Variant("v2", variant.run_key, passed=True),), versions=("v1", "v2"))
    stands_in = decide(made, world())
    assert isinstance(stands_in, Mend)
    assert (stands_in.kind, stands_in.subject, stands_in.generation) == ("substitute", "v2", 1)
    serving = evolve(made, deployment=deployed("v2", generation=2), written=written(fallback, variant, page, stands_in))
    serving = evolve(serving, mends=(decided(fallback, "kill"), decided(stands_in, "substitute")))
    ends = decide(serving, world())
    assert isinstance(ends, Mend)
    assert (ends.kind, ends.reason) == ("end_fallback", "a version without what is at fault serves")
    alive = evolve(serving, killed=None, written={**serving.written, ends.key: NOW_US})
    assert decide(alive, world()) is None

    # It is over: the champion with all features answers again, unless somebody promoted another one meanwhile.
    over = evolve(alive, incidents=(evolve(FROZEN, status="closed", closed_us=NOW_US),))
    back = decide(over, world())
    assert isinstance(back, Mend)
    assert (back.kind, back.subject, back.generation) == ("restore", "v1", 2)
    assert decide(evolve(over, deployment=deployed("v4", generation=3)), world()) is None


def test_a_variant_that_failed_its_gates_does_not_stand_in() -> None:
    variant = Variant("v2", "late/without/conditions/late-3", passed=False)
    page = "late/page/late-3/source"
    failed = beside(FROZEN, variants=(variant,), written={variant.run_key: NOW_US, page: NOW_US})
    step = decide(failed, world())
    assert isinstance(step, Mend)
    assert step.kind == "serve_fallback"


def test_the_fallback_ends_with_the_incident_and_a_kill_by_a_person_does_not() -> None:
    fallback = decide(beside(FROZEN), world())
    assert isinstance(fallback, Mend)
    over = evolve(FROZEN, status="closed", closed_us=NOW_US)
    kill = decided(fallback, "kill")
    ends = decide(beside(over, killed=kill, mends=(kill,), written=written(fallback)), world())
    assert isinstance(ends, Mend)
    assert (ends.kind, ends.key, ends.reason) == ("end_fallback", f"{fallback.key}/undone", "late-3 is over")
    by_hand = evolve(kill, key="late/kill/by-hand/1")
    assert decide(beside(over, killed=by_hand, mends=(kill,), written=written(fallback)), world()) is None
    assert not isinstance(decide(beside(FROZEN, killed=by_hand), world()), Mend)


def test_no_fallback_is_served_where_none_is_declared_or_the_champion_does_not_read_it() -> None:
    plain = evolve(world(), fallback=None)
    assert isinstance(decide(beside(FROZEN), plain), Train)
    other = evolve(beside(FROZEN), champion_views=frozenset())
    assert isinstance(decide(other, world()), Note)  # its owner is paged all the same


@pytest.mark.parametrize(
    ("bad", "kind", "subject"),
    [
        (found("infrastructure", "eject_replica", replicas="web/w1"), "eject_replica", "web/w1"),
        (found("infrastructure", "roll_back", versions="v1"), "roll_back", "v0"),
    ],
)
def test_faults_of_servers(bad: Incident, kind: str, subject: str) -> None:
    step = decide(beside(bad, former="v0"), world())
    assert isinstance(step, Mend)
    assert (step.kind, step.subject) == (kind, subject)
    again = decide(beside(bad, former="v0", written=written(step)), world())
    assert isinstance(again, Note)


def test_no_rollback_from_a_version_that_serves_no_more_or_to_nobody() -> None:
    bad = found("infrastructure", "roll_back", versions="v9")
    assert not isinstance(decide(beside(bad, former="v0"), world()), Mend)
    assert not isinstance(decide(beside(found("infrastructure", "roll_back", versions="v1")), world()), Mend)


def test_a_shift_of_the_prior_waits_until_there_is_enough_to_calibrate_by() -> None:
    calibrated = world(calibrate="sigmoid")
    shifted = found("prior", "recalibrate", days_ago=5)
    step = decide(beside(shifted), calibrated)
    assert isinstance(step, Train)
    assert (step.run_key, step.evidence["recalibrates_since_us"]) == ("late/recalibrate/late-3", shifted.began_us)
    assert step_in_words(step) == "calibrate v1 anew"
    assert not isinstance(decide(beside(found("prior", "recalibrate", days_ago=4.9)), calibrated), Train)


# What its trainings may cost.

LONG_AGO = PastTraining(run_key="late/train/1", began_us=NOW_US - DAY_US, cpu_seconds=3600.0)


def storm(cause: DiagnosedCause, action: Action, days_ago: float, **culprit: str) -> tuple[Incident, ...]:
    """Return ten incidents of the same."""
    return tuple(evolve(found(cause, action, days_ago, **culprit), number=number) for number in range(3, 13))


def weathered(situation: Situation, asked: Model) -> list[Step]:
    """Return all that is decided until there is nothing to do; trainings are begun and made at once, and pass."""
    steps: list[Step] = []
    while (step := decide(situation, asked)) is not None and len(steps) < 100:
        steps.append(step)
        situation = evolve(situation, written={**situation.written, step_key("late", step): NOW_US})
        if isinstance(step, Train):
            (begun,) = past_trainings([decided_to(step)], [])
            variants = (*situation.variants, Variant(f"v{len(steps) + 1}", step.run_key, passed=True))
            situation = evolve(situation, past=(*situation.past, begun), variants=variants)
        if isinstance(step, Mend) and step.kind == "substitute":
            situation = evolve(situation, deployment=deployed(step.subject), champion_views=frozenset())
    return steps


def decided_to(step: Train) -> Decision:
    return Decision(step.run_key, NOW_US, "late", "operator", "train", step.reason, step.evidence, 9, None, "", "")


SOURCES = storm("source", "page_source_owner", 2.0, sources="weather", features="conditions.mean_temp_1h")
PRIORS = storm("prior", "recalibrate", 9.0)


@pytest.mark.parametrize("incidents", [SOURCES, PRIORS])
@pytest.mark.parametrize(
    "budget", [{"budget_trainings": 1}, {"budget_cpu_hours": 1.9}, {"budget_inr": 19, "inr_per_cpu_hour": 10}]
)
def test_trainings_of_remedies_keep_to_the_budget(incidents: tuple[Incident, ...], budget: dict[str, float]) -> None:
    policy = ck.Retrain(on_diagnosis=False, **budget)  # type: ignore[arg-type]
    steps = weathered(beside(*incidents, past=(LONG_AGO,)), world(calibrate="sigmoid", retrain=policy))
    assert not [each for each in steps if isinstance(each, Train)]
    (refused,) = [each for each in steps if isinstance(each, Note) and each.action == "train_refused"]
    assert (refused.evidence["because"], refused.evidence["incident"]) == ("budget", "late-3")


@pytest.mark.parametrize("incidents", [SOURCES, PRIORS])
def test_a_storm_of_one_fault_is_answered_by_one_training(incidents: tuple[Incident, ...]) -> None:
    steps = weathered(beside(*incidents), world(calibrate="sigmoid", retrain=ck.Retrain(on_diagnosis=False)))
    assert len([each for each in steps if isinstance(each, Train)]) == 1
    assert len([each for each in steps if isinstance(each, Mend) and each.kind == "substitute"]) == (
        1 if incidents == SOURCES else 0
    )


def test_another_calibration_waits_for_the_cooldown_and_says_so() -> None:
    lately = evolve(LONG_AGO, recalibrates=True, incidents=("late-9",))
    note = decide(beside(PRIORS[0], past=(lately,)), world(calibrate="sigmoid"))
    assert isinstance(note, Note)
    assert (note.key, note.evidence["because"]) == ("late/train/1/refused/cooldown/recalibrate", "cooldown")
    old = evolve(lately, began_us=NOW_US - 14 * DAY_US)
    assert isinstance(decide(beside(PRIORS[0], past=(old,)), world(calibrate="sigmoid")), Train)


def test_who_stands_in_for_two_incidents_goes_when_both_are_over() -> None:
    first, second = SOURCES[:2]
    key = f"late/without/conditions/{first.id}"
    variants = (Variant("v2", key, passed=True),)
    made = PastTraining(run_key=key, began_us=NOW_US - DAY_US, without=("conditions",))
    stood_in = Mend(
        kind="substitute",
        key=f"late/substitute/{first.id}",
        subject="v2",
        reason="",
        evidence={"remedy": "substitute", "incident": first.id, "version": "v2", "champion": "v1"},
    )
    over = [evolve(each, status="closed", closed_us=NOW_US) for each in (first, second)]
    serving = beside(
        over[0],
        second,
        deployment=deployed("v2", generation=2),
        champion_views=frozenset(),
        variants=variants,
        past=(made,),
        mends=(decided(stood_in, "substitute"),),
    )
    assert not isinstance(decide(serving, world()), Mend)
    back = decide(evolve(serving, incidents=tuple(over)), world())
    assert isinstance(back, Mend)
    assert (back.kind, back.subject) == ("restore", "v1")


def test_owners_of_labels_and_of_nothing_named() -> None:
    page = decide(beside(found("label", "mend_labels")), world(label=ck.Label(ROWS, pl.col("y"), at="at", delay="1d")))
    assert isinstance(page, Note)
    assert page.evidence["owners"] == ["tests"]


# What it may do by itself.


def test_by_default_new_remedies_are_proposed_and_owners_are_paged() -> None:
    step = decide(beside(FROZEN), world(ck.Autonomy()))
    assert isinstance(step, Propose)
    assert (step.proposes, step.generation) == ("put the model on its fallback", None)
    step = decide(beside(found("label", "mend_labels")), world(ck.Autonomy()))
    assert isinstance(step, Note)
    assert step.action == "page"


def test_in_observe_each_step_is_written_once_and_the_next_one_is_looked_at() -> None:
    observing, seen = world(ck.Autonomy("observe")), dict[str, int]()
    actions = []
    while isinstance(step := decide(beside(FROZEN, written=seen), observing), Note):
        actions.append(step.action)
        seen[step.key] = NOW_US
    assert step is None
    assert actions == ["would_kill", "would_train", "would_page"]


def test_a_training_would_be_made_again_after_each_cooldown() -> None:
    fallen = evolve(QUIET, health=health(0.6, 0.007), last_trained_us=NOW_US - 90 * DAY_US)
    observing = world(ck.Autonomy(retrain="observe"))
    first = decide(fallen, observing)
    assert isinstance(first, Note)
    assert (first.action, first.key) == ("would_train", "late/train/1/would/1")
    assert first.reason.startswith("would train: ROC-AUC 0.600")
    seen = {first.key: NOW_US}
    assert decide(evolve(fallen, written=seen, now_us=NOW_US + 14 * DAY_US - 1), observing) is None
    second = decide(evolve(fallen, written=seen, now_us=NOW_US + 14 * DAY_US), observing)
    assert isinstance(second, Note)
    assert second.key == "late/train/1/would/2"


def test_a_training_that_was_declined_is_proposed_anew_after_a_cooldown() -> None:
    fallen = evolve(QUIET, health=health(0.6, 0.007), last_trained_us=NOW_US - 90 * DAY_US)
    proposing = world(ck.Autonomy(retrain="propose"))
    first = decide(fallen, proposing)
    assert isinstance(first, Propose)
    assert (first.key, first.proposes) == ("late/train/1/1/proposed", "train")
    asked = Proposal(
        key=first.key, model="late", proposes="train", generation=None, not_by=(), proposed_us=NOW_US, reason="why"
    )
    assert decide(evolve(fallen, proposals={first.key: asked}), proposing) is None
    yes = evolve(asked, answer="approved", by="asha", why="yes", answered_us=NOW_US)
    step = decide(evolve(fallen, proposals={first.key: yes}), proposing)
    assert isinstance(step, Train)
    assert step.reason.endswith("approved by asha at 2013-04-11 00:00 UTC: yes")
    no = evolve(
        fallen, proposals={first.key: evolve(asked, answer="declined", by="asha", why="no", answered_us=NOW_US)}
    )
    assert decide(evolve(no, now_us=NOW_US + 14 * DAY_US - 1), proposing) is None
    again = decide(evolve(no, now_us=NOW_US + 14 * DAY_US), proposing)
    assert isinstance(again, Propose)
    assert again.key == "late/train/1/2/proposed"


def test_what_was_begun_goes_on_whatever_is_declared_by_now() -> None:
    begun = evolve(QUIET, training=training("running"), written={"late/train/1": NOW_US - DAY_US})
    step = decide(begun, world(ck.Autonomy("observe")))
    assert isinstance(step, Train)
    assert step.run_key == "late/train/1"
