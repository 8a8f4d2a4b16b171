"""What to do next, from what is: a pure function, and every rule of it in a function of its own.

The rules are asked in order, and the first that has something to do decides, if it may (`autonomy`):

    1. a training that was decided on goes on until it has ended
    2. one that failed is written down
    3. what was done about an incident that is over is undone
    4. the remedies of open incidents that take no time: what is at fault is taken out of the way
    5. a version that did not pass its gates, or that a newer one has overtaken, is rejected
    6. without a champion, the newest version that passed becomes it
    7. else one is trained
    8. a version that passed is put beside the champion as a shadow
    9. a shadow is promoted or rejected, once, when its time is up and enough labels have matured
   10. the remedies that are a training: a version without the views at fault, another calibration
   11. a challenger is trained when the champion has fallen, when a diagnosis says that new data help, on schedule, or
       for new labels; not while an incident is open of which it would learn the fault, which is written down once
   12. who owns what is at fault is told

A champion has *fallen* when the interval of its primary metric on the window's matured labels and the interval that it
showed on its test rows do not meet, and the window is the worse one. Two intervals of 95 % that just touch are a
difference at about the 0.6 % level when they are of equal width, so this is the cautious side: a fall that is real but
small is seen only when more labels narrow the intervals, and chance alone hardly ever starts a training. An input that
moved without hurting never does.

A shadow is judged by the paired difference on the same predictions, and only once: looking every day until the interval
happens to lie on one side would promote by chance. One that is better is rejected all the same when its features were
served otherwise than they are recomputed: it was not taught what it is asked.
"""

from collections.abc import Callable, Iterable

from charkha.operations.autonomy import restrained
from charkha.operations.remedies.rules import mend_at_once, page
from charkha.operations.remedies.undo import undo
from charkha.operations.remedies.variants import make_variants
from charkha.operations.retraining.rules import finish_training, note_failed_training, retrain, train_first
from charkha.operations.situation import Situation
from charkha.operations.steps import Promote, Reject, StartShadow, Step
from charkha.operations.verdict import judge, nothing_to_judge_by, unless_skewed
from charkha.operations.wording import count_of, length_of
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.spec.retention import PATIENCE


def decide(situation: Situation, model: Model) -> Step | None:
    """Return the next step, or None when there is nothing to do."""
    due = (step for rule in RULES for step in _steps(rule(situation, model)))
    return next((allowed for step in due if (allowed := restrained(step, situation, model))), None)


def _steps(found: Iterable[Step] | Step | None) -> Iterable[Step]:
    """Return the steps of a rule, which has one, several, or none."""
    if found is None:
        return ()
    return found if isinstance(found, Iterable) else (found,)


def to_verify(situation: Situation, model: Model) -> str | None:
    """Return the shadow that would be promoted although nobody has recomputed its features yet; else None."""
    step = decide(situation, model)
    if situation.contest is None or situation.skew is not None or not model.monitors.skew_sample:
        return None
    return step.version if isinstance(step, Promote) else None


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
    return None


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


def _gates(count: int) -> str:
    return f"its {count_of(count, 'gate')}"


RULES: tuple[Callable[[Situation, Model], Iterable[Step] | Step | None], ...] = (
    finish_training,
    note_failed_training,
    undo,
    mend_at_once,
    _reject_waiting,
    _first_champion,
    train_first,
    _start_shadow,
    _judge_shadow,
    make_variants,
    retrain,
    page,
)
