"""What the operator waits for when there is nothing to do: the other half of an answer to "what happens next?"."""

from charkha.monitoring.performance import Contest
from charkha.operations.retraining.allowed import may_train_from_us
from charkha.operations.retraining.updates import next_update_us
from charkha.operations.rollout.trial import Trial
from charkha.operations.situation import Situation
from charkha.operations.verdict import fall
from charkha.operations.veto import in_the_way, waits_in_words
from charkha.operations.wording import count_of, digits_for, length_of, metric_name, moment, percent, with_interval
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model


def outlook(situation: Situation, model: Model) -> str:
    """Return in words what is waited for; of use when `decide` has no step."""
    trial = situation.progress.trial if situation.progress else None
    if trial and (model.rollout.live or trial.stage != "shadow"):
        return _of_trial(trial, situation, model)
    if situation.contest:
        return _of_shadow(situation, situation.contest, model)
    stale = [finding.subject for finding in situation.findings if finding.kind == "freshness" and finding.significant]
    if broken := in_the_way(situation.incidents, model, situation.now_us):
        return waits_in_words(broken)
    if stale:
        return f"nothing is trained while a source is stale: {', '.join(stale)}"
    if situation.deployment.champion is None:
        return f"there is no champion; the next training may begin at {moment(may_train_from_us(situation, model))}"
    return _of_champion(situation, model)


def _of_trial(trial: Trial, situation: Situation, model: Model) -> str:
    waits = [each.proposes for each in situation.proposals.values() if each.answer == "open"]
    does = "scores unseen" if trial.stage == "shadow" else f"answers {percent(trial.share)} of the entities"
    person = f"; a person is asked to {waits[-1]}" if waits else ""
    return (
        f"{trial.version} {does} beside {trial.champion}, for {length_of(situation.now_us - trial.since_us)}{person}: "
        f"charkha rollout status {model.name}"
    )


def _of_shadow(situation: Situation, contest: Contest, model: Model) -> str:
    shadow = model.rollout.shadow
    waiting = [waiting.version for waiting in situation.waiting if waiting.passed]
    then = f"; {', '.join(waiting)} waits for its turn" if waiting else ""
    return (
        f"{contest.challenger} scores unseen beside {contest.champion}: "
        f"{length_of(situation.now_us - situation.since_us)} of {length_of(parse_duration(shadow.period))}, "
        f"{contest.labels:,} of {count_of(shadow.min_labels, 'label')} matured{then}"
    )


def _of_champion(situation: Situation, model: Model) -> str:
    health, reference = situation.health, situation.reference
    if health is None or health.estimate is None or reference is None:
        return "the champion cannot be judged yet: too few labels have matured"
    digits = min(digits_for(health.estimate), digits_for(reference))
    now = (
        f"{metric_name(health.metric)} {with_interval(health.estimate, digits)} on "
        f"{count_of(health.labels, 'matured label')}, {with_interval(reference, digits)} when tested"
    )
    if fall(health, reference, (), higher_is_better=model.higher_is_better) and model.retrain.on_fall:
        if health.labels < model.rollout.shadow.min_labels:
            return f"{now}: to say that it has fallen takes {count_of(model.rollout.shadow.min_labels, 'label')}"
        return f"{now}: fallen, and the next training may begin at {moment(may_train_from_us(situation, model))}"
    return f"{now}: nothing that calls for a training{_next_update(situation, model)}"


def _next_update(situation: Situation, model: Model) -> str:
    from_us = next_update_us(situation, model)
    return "" if from_us is None else f"; the next update is due at {moment(from_us)}"
