"""Whether to retrain: the operator's own rules, asked in a backtest as they are in production."""

from collections.abc import Sequence

from charkha.operations.decide import decide, may_train_from_us
from charkha.operations.situation import Situation
from charkha.operations.steps import HoldTraining, Step, Train
from charkha.operations.veto import unless_broken
from charkha.spec.model import Model
from charkha.storage.ledger import Incident

# Of these a model that learns from newer rows is better.
NEW_DATA_HELPS = ("concept", "population", "prior")


def due(situation: Situation, model: Model, *, by_diagnosis: bool) -> Train | HoldTraining | None:
    """Return the training that is due, or that one waits; None for neither. by_diagnosis: also for incidents."""
    step: Step | None = decide(situation, model)
    if step is None and by_diagnosis:
        step = _for_an_incident(situation, model)
    return step if isinstance(step, Train | HoldTraining) else None


def _for_an_incident(situation: Situation, model: Model) -> Train | HoldTraining | None:
    helped = _helped(situation.incidents)
    if not helped or situation.now_us < may_train_from_us(situation, model):
        return None
    step = Train(
        run_key=f"{model.name}/train/{situation.trainings + 1}",
        as_of_us=situation.now_us,
        reason=f"incident {helped[0].id}, {helped[0].cause}: newer rows help",
        evidence={"incident": helped[0].id},
    )
    return unless_broken(step, situation, model)


def _helped(incidents: Sequence[Incident]) -> list[Incident]:
    return [each for each in incidents if each.status == "open" and each.cause in NEW_DATA_HELPS]
