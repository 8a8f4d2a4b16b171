"""Whether to train: the operator's own rules, asked in a backtest as they are in production."""

from charkha.operations.remedies.variants import recalibrate
from charkha.operations.retraining.rules import retrain
from charkha.operations.retraining.updates import update
from charkha.operations.situation import Situation
from charkha.operations.steps import HoldTraining, Train
from charkha.spec.model import Model


def due(situation: Situation, model: Model) -> Train | HoldTraining | None:
    """Return the training that is due, the calibration or the update; or that one waits; None for none of these.

    A candidate is deployed at once where it passes its gates: shadows and canaries take time, and labels of their own.
    """
    asked = (rule(situation, model) for rule in (recalibrate, retrain, update))
    return next((step for step in asked if isinstance(step, Train | HoldTraining)), None)
