"""What to do next, from what is: a pure function, and every rule of it in a function of its own.

The rules are asked in order, and the first that has something to do decides, if it may (`autonomy`):

    1. a training that was cancelled is ended
    2. a training that was decided on goes on until it has ended; while it is at work in a process of its own, or waits
       for its next try, the rules below go on, and only other trainings wait
    3. one that failed is written down
    4. what was done about an incident that is over is undone
    5. the remedies of open incidents that take no time: what is at fault is taken out of the way
    6. a version that did not pass its gates, or that a newer one has overtaken, is rejected
    7. without a champion, the newest version that passed becomes it
    8. else one is trained
    9. a rollout begins, goes a stage further or ends: `rollout.rules`
    10. the remedies that are a training: a version without the views at fault, another calibration
    11. a challenger is trained when the champion has fallen, when a diagnosis says that new data help, on schedule, or
        for new labels; not while an incident is open of which it would learn the fault, which is written down once
    12. the champion goes on learning from what has matured since, where that is declared; held up as a training is
    13. a version that cannot be read is written down, and who owns what is at fault is told

A champion has *fallen* when the interval of its primary metric on the window's matured labels and the interval that it
showed on its test rows do not meet, and the window is the worse one. Two intervals of 95 % that just touch are a
difference at about the 0.6 % level when they are of equal width, so this is the cautious side: a fall that is real but
small is seen only when more labels narrow the intervals, and chance alone hardly ever starts a training. An input that
moved without hurting never does.

A shadow that decides a rollout is judged by the paired difference on the same predictions, and only once: looking every
day until the interval happens to lie on one side would promote by chance. One that is better is rejected all the same
when its features were served otherwise than they are recomputed: it was not taught what it is asked. Live stages are
judged by tests that may be looked at at any time.
"""

from collections.abc import Callable, Iterable

from charkha.operations.autonomy import restrained
from charkha.operations.remedies.rules import mend_at_once, page
from charkha.operations.remedies.undo import undo
from charkha.operations.remedies.variants import make_variants
from charkha.operations.retraining.rules import finish_training, note_failed_training, retrain, train_first
from charkha.operations.retraining.updates import update
from charkha.operations.rollout.rules import ROLLOUT_RULES
from charkha.operations.rollout.waiting import reject_waiting
from charkha.operations.runs.rules import heed_cancel, waits_for_training
from charkha.operations.shelf import note_unreadable
from charkha.operations.situation import Situation
from charkha.operations.steps import Expose, Promote, Propose, Step
from charkha.operations.wording import count_of
from charkha.spec.model import Model


def decide(situation: Situation, model: Model) -> Step | None:
    """Return the next step, or None when there is nothing to do."""
    found = (step for rule in RULES for step in _steps(rule(situation, model)))
    due = (step for step in found if not waits_for_training(step, situation))
    return next((allowed for step in due if (allowed := restrained(step, situation, model))), None)


def _steps(found: Iterable[Step] | Step | None) -> Iterable[Step]:
    """Return the steps of a rule, which has one, several, or none."""
    if found is None:
        return ()
    return found if isinstance(found, Iterable) else (found,)


def to_verify(situation: Situation, model: Model) -> str | None:
    """Return the shadow that would go on to users although nobody has recomputed its features yet; else None."""
    if situation.skew is not None or not model.monitors.skew_sample:
        return None
    return leaving(situation, model)


def leaving(situation: Situation, model: Model) -> str | None:
    """Return the shadow that would go on to users, or be proposed to; else None."""
    shadow = next(iter(situation.deployment.shadows), None)
    if shadow is None:
        return None
    step = decide(situation, model)
    return shadow.version if isinstance(step, Promote | Expose | Propose) else None


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
    return None


def _gates(count: int) -> str:
    return f"its {count_of(count, 'gate')}"


RULES: tuple[Callable[[Situation, Model], Iterable[Step] | Step | None], ...] = (
    heed_cancel,
    finish_training,
    note_failed_training,
    undo,
    mend_at_once,
    reject_waiting,
    _first_champion,
    train_first,
    *ROLLOUT_RULES,
    make_variants,
    retrain,
    update,
    note_unreadable,
    page,
)
