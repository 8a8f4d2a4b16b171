"""The rule of updates: once a period the champion goes on learning from what has matured since its newest row.

An update is a training in all but that: it begins only while no other version is on trial, it waits while an incident
of broken data is open whose rows it would learn, leaves out the time of those that are over, keeps to the budget of
processor time, and its version passes gates and rollout as any other. It has no cooldown but its own period, and
neither puts off a training nor stands in for one.
"""

from charkha.operations.retraining.allowed import REFUSED, within_budget
from charkha.operations.retraining.cost import expected_cost
from charkha.operations.retraining.held import is_held_up
from charkha.operations.retraining.keys import update_key
from charkha.operations.retraining.learnt import Learnt
from charkha.operations.situation import Situation
from charkha.operations.steps import Note, Step, Train
from charkha.operations.veto import unless_broken
from charkha.operations.wording import length_of, moment
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.training.update import updating


def update(situation: Situation, model: Model) -> Step | None:
    """Let the champion go on learning once that is due; else say once why it cannot."""
    champion, learnt, from_us = situation.deployment.champion, situation.learnt, next_update_us(situation, model)
    waits = any(each.passed for each in situation.waiting)
    if champion is None or learnt is None or from_us is None or waits or is_held_up(situation):
        return None
    if situation.now_us < from_us:
        return None
    if learnt.cannot is not None:
        return _cannot(champion.version, learnt.cannot, model)
    allowed = within_budget(_step(champion.version, learnt, situation, model), situation, model)
    if isinstance(allowed, Note):
        return allowed
    return unless_broken(allowed, situation, updating(model, learnt.until_us, situation.now_us))


def next_update_us(situation: Situation, model: Model) -> int | None:
    """Return from when the next update is due (µs); None where none is declared."""
    if model.retrain.update is None:
        return None
    return _last_us(situation) + parse_duration(model.retrain.update)


def _last_us(situation: Situation) -> int:
    """Return when what serves was last brought up to date, or tried to be (µs)."""
    return max(situation.last_updated_us or 0, situation.last_trained_us or 0)


def _step(version: str, learnt: Learnt, situation: Situation, model: Model) -> Train:
    cost = expected_cost(situation.past, model.priced_retrain, updates=True)
    every = length_of(parse_duration(model.retrain.update or ""))
    since = length_of(situation.now_us - _last_us(situation))
    return Train(
        run_key=update_key(model.name, situation.updates + 1),
        as_of_us=situation.now_us,
        reason=(
            f"{since} since the last update or training, and an update is due every {every}: {version} goes on from "
            f"its newest row, of {moment(learnt.until_us)}. Expected cost {cost.words}"
        ),
        evidence={
            "champion": version,
            "updates": version,
            "learnt_until_us": learnt.until_us,
            "every": model.retrain.update,
            "cost": cost.plain,
        },
    )


def _cannot(version: str, problem: str, model: Model) -> Note:
    return Note(
        key=f"{model.name}/update/refused/{version}",
        action=REFUSED,
        reason=f"no update: {version} cannot go on learning: {problem}. The next training anew makes one that can",
        evidence={"because": "cannot", "champion": version},
    )
