"""What a training under way means for the next step: rules that `operations.decide` asks."""

from charkha.operations.situation import Situation
from charkha.operations.steps import EndRun, HoldTraining, Note, Step, Train
from charkha.spec.model import Model


def heed_cancel(situation: Situation, model: Model) -> Step | None:
    """End a training that was decided on, has not ended, and was cancelled."""
    training = situation.training
    if training is None or training.cancelled is None or training.state not in ("decided", "running"):
        return None
    return EndRun(
        run_key=training.run_key,
        as_of_us=training.decided_us,
        reason=training.cancelled,
        evidence={"run_key": training.run_key},
    )


def waits_for_training(step: Step, situation: Situation) -> bool:
    """Say whether a step is about training while one is at work or waits for its next try: all others go on."""
    training = situation.training
    about = isinstance(step, Train | HoldTraining) or (isinstance(step, Note) and step.action.startswith("train_"))
    if training is None or training.state not in ("decided", "running") or not about:
        return False
    return training.under_way or situation.now_us < training.not_before_us
