"""What to do next, from what is: a pure function, and every rule of it in a function of its own.

The rules are asked in order, and the first that has something to do decides:

    1. a training that was cancelled is ended
    2. a training that was decided on goes on until it has ended; while it is at work in a process of its own, or waits
       for its next try, the rules below go on, and only other trainings wait
    3. one that failed is written down
    4. a version that did not pass its gates, or that a newer one has overtaken, is rejected
    5. without a champion, the newest version that passed becomes it; else one is trained
    6. a version that passed is put beside the champion as a shadow
    7. a shadow is promoted or rejected, once, when its time is up and enough labels have matured
    8. a challenger is trained when the champion has fallen, or on schedule; not while an incident is open of which it
       would learn the fault, which is written down once

A champion has *fallen* when the interval of its primary metric on the window's matured labels and the interval that it
showed on its test rows do not meet, and the window is the worse one. Two intervals of 95 % that just touch are a
difference at about the 0.6 % level when they are of equal width, so this is the cautious side: a fall that is real but
small is seen only when more labels narrow the intervals, and chance alone hardly ever starts a training. An input that
moved without hurting never does.

A shadow is judged by the paired difference on the same predictions, and only once: looking every day until the interval
happens to lie on one side would promote by chance. One that is better is rejected all the same when its features were
served otherwise than they are recomputed: it was not taught what it is asked.
"""

from collections.abc import Callable

from charkha.operations.runs.rules import heed_cancel, waits_for_training
from charkha.operations.situation import Situation
from charkha.operations.steps import Evidence, NoteFailure, Promote, Reject, StartShadow, Step, Train, TrainFirst
from charkha.operations.verdict import fall, judge, nothing_to_judge_by, unless_skewed
from charkha.operations.veto import unless_broken
from charkha.operations.wording import count_of, length_of, moment
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.spec.retention import PATIENCE


def decide(situation: Situation, model: Model) -> Step | None:
    """Return the next step, or None when there is nothing to do."""
    steps = (step for rule in RULES if (step := rule(situation, model)))
    return next((step for step in steps if not waits_for_training(step, situation)), None)


def to_verify(situation: Situation, model: Model) -> str | None:
    """Return the shadow that would be promoted although nobody has recomputed its features yet; else None."""
    step = decide(situation, model)
    if situation.contest is None or situation.skew is not None or not model.monitors.skew_sample:
        return None
    return step.version if isinstance(step, Promote) else None


def _finish_training(situation: Situation, model: Model) -> Step | None:
    training = situation.training
    if training is None or training.state not in ("decided", "running"):
        return None
    kind = TrainFirst if training.first else Train
    return kind(
        run_key=training.run_key, as_of_us=training.decided_us, reason=training.reason, evidence=training.evidence
    )


def _note_failed_training(situation: Situation, model: Model) -> Step | None:
    training = situation.training
    if training is None or training.state != "failed" or training.noted:
        return None
    again = may_train_from_us(situation, model)
    return NoteFailure(
        run_key=training.run_key,
        reason=(
            f"the training decided on at {moment(training.decided_us)} failed: {training.error}. "
            f"The next may begin at {moment(again)}"
        ),
        evidence={"run_key": training.run_key, "error": training.error},
    )


def _reject_waiting(situation: Situation, model: Model) -> Step | None:
    for waiting in situation.waiting:
        failed = [gate for gate in waiting.gates if not gate.passed]
        newer = _overtaken_by(situation, waiting.version)
        if waiting.passed and newer is None:
            continue
        reason = f"{waiting.version} was overtaken by {newer} before its turn came"
        if not waiting.passed:
            passed = f"{len(failed)} of {count_of(len(waiting.gates), 'gate')}"
            reason = f"{waiting.version} did not pass {passed}: {'; '.join(gate.reason for gate in failed)}"
        return Reject(
            version=waiting.version,
            generation=situation.deployment.generation,
            reason=reason,
            evidence={"version": waiting.version, "failed_gates": [gate.name for gate in failed], "newer": newer},
        )
    return None


def _overtaken_by(situation: Situation, version: str) -> str | None:
    """Return a newer version that is the champion, or that waits and passed."""
    champion = situation.deployment.champion
    rivals = [waiting.version for waiting in situation.waiting if waiting.passed]
    rivals += [champion.version] if champion else []
    order = situation.versions
    return next((rival for rival in rivals if order.index(rival) > order.index(version)), None)


def _first_champion(situation: Situation, model: Model) -> Step | None:
    if situation.deployment.champion:
        return None
    for waiting in situation.waiting:
        return Promote(
            version=waiting.version,
            generation=situation.deployment.generation,
            reason=f"{waiting.version} passed {_gates(len(waiting.gates))}; there is no champion to compare it with",
            evidence={"version": waiting.version, "champion": None},
        )
    if not _cooled_down(situation, model):
        return None
    first = TrainFirst(
        run_key=_next_run_key(situation, model),
        as_of_us=situation.now_us,
        reason=f"{model.name} has no champion: training one on what was known at {moment(situation.now_us)}",
        evidence={"champion": None},
    )
    return unless_broken(first, situation, model)


def _start_shadow(situation: Situation, model: Model) -> Step | None:
    champion = situation.deployment.champion
    if champion is None or situation.deployment.shadows:
        return None
    shadow = model.rollout.shadow
    for waiting in situation.waiting:
        return StartShadow(
            version=waiting.version,
            generation=situation.deployment.generation,
            reason=(
                f"{waiting.version} passed {_gates(len(waiting.gates))}: it scores every request unseen beside "
                f"{champion.version}, for at least {length_of(parse_duration(shadow.period))} and until "
                f"{count_of(shadow.min_labels, 'label')} have matured"
            ),
            evidence={"version": waiting.version, "champion": champion.version},
        )
    return None


def _judge_shadow(situation: Situation, model: Model) -> Step | None:
    contest, shadow = situation.contest, model.rollout.shadow
    if contest is None or situation.now_us < situation.since_us + parse_duration(shadow.period):
        return None
    if contest.labels >= shadow.min_labels and contest.difference is not None:
        return unless_skewed(judge(situation.deployment.generation, contest, contest.difference), situation.skew)
    patience_us = PATIENCE * (parse_duration(shadow.period) + model.label.delay_us)
    if situation.now_us < situation.since_us + patience_us:
        return None
    return nothing_to_judge_by(situation.deployment.generation, contest, shadow.min_labels, patience_us)


def _retrain(situation: Situation, model: Model) -> Step | None:
    stale = any(finding.kind == "freshness" and finding.significant for finding in situation.findings)
    # Rows that have not come would be missing from the dataset: what is broken is mended before it is learnt from.
    if situation.contest or stale or not _cooled_down(situation, model):
        return None
    due = _retrain_on_fall(situation, model) or _retrain_on_schedule(situation, model)
    return unless_broken(due, situation, model) if due else None


def _retrain_on_fall(situation: Situation, model: Model) -> Train | None:
    if not model.retrain.on_fall or situation.health is None or situation.reference is None:
        return None
    if situation.health.labels < model.rollout.shadow.min_labels:
        return None
    fallen = fall(situation.health, situation.reference, situation.findings, higher_is_better=model.higher_is_better)
    return _train(situation, model, *fallen) if fallen else None


def _retrain_on_schedule(situation: Situation, model: Model) -> Train | None:
    every, last_us = model.retrain.every, situation.last_trained_us
    champion = situation.deployment.champion
    if (
        every is None
        or champion is None
        or (last_us is not None and situation.now_us < last_us + parse_duration(every))
    ):
        return None
    since = "no training yet" if last_us is None else f"{length_of(situation.now_us - last_us)} since the last training"
    reason = f"{since}, and one is due every {length_of(parse_duration(every))}"
    return _train(situation, model, reason, {"champion": champion.version, "last_trained_us": last_us, "every": every})


def _train(situation: Situation, model: Model, reason: str, evidence: Evidence) -> Train:
    key = _next_run_key(situation, model)
    return Train(run_key=key, as_of_us=situation.now_us, reason=reason, evidence=evidence)


def _next_run_key(situation: Situation, model: Model) -> str:
    return f"{model.name}/train/{situation.trainings + 1}"


def may_train_from_us(situation: Situation, model: Model) -> int:
    """Return from when a training may begin, by the cooldown since the last one (µs)."""
    return (situation.last_trained_us or 0) + parse_duration(model.retrain.cooldown)


def _cooled_down(situation: Situation, model: Model) -> bool:
    return situation.last_trained_us is None or situation.now_us >= may_train_from_us(situation, model)


def _gates(count: int) -> str:
    return f"its {count_of(count, 'gate')}"


RULES: tuple[Callable[[Situation, Model], Step | None], ...] = (
    heed_cancel,
    _finish_training,
    _note_failed_training,
    _reject_waiting,
    _first_champion,
    _start_shadow,
    _judge_shadow,
    _retrain,
)
