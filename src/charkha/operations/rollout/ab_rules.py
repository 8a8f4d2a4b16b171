"""The A/B test: at every look promoted, rolled back, to go on, or, when its plan or its time is over, inconclusive."""

from charkha.operations.rollout.canary_rules import retracted
from charkha.operations.rollout.progress import Exposure
from charkha.operations.rollout.promoting import asked, promoted
from charkha.operations.rollout.trial import CONTINUED
from charkha.operations.rollout.verdicts import sequence, verdict
from charkha.operations.rollout.words import evidence_of, means_in_words, time_at_stage
from charkha.operations.situation import Situation
from charkha.operations.steps import Note, Promote, Step
from charkha.operations.wording import percent
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model

# How often an A/B test that goes on says so in the ledger, by the information there is.
QUARTERS = 4


def judge_test(situation: Situation, model: Model) -> Step | None:
    """Return what an A/B test comes to; None while it goes on and has been told so."""
    progress = situation.progress
    exposure = progress.exposure if progress else None
    if exposure is None or exposure.trial.stage != "ab" or (plan := exposure.trial.plan) is None:
        return None
    trial = exposure.trial
    found = sequence(*exposure.live.difference, plan)
    over = situation.now_us >= trial.since_us + parse_duration(model.rollout.compare.within) + model.label.delay_us
    comparison = means_in_words(exposure.live, model, found, plan)
    match verdict(found, plan, over=over, higher_is_better=model.compared_higher):
        case "promote":
            return promoted(_promotion(situation, model, exposure, comparison), situation, model)
        case "roll back":
            return retracted(situation, model, exposure, f"{comparison}; it is worse", "rolled back")
        case "inconclusive":
            return _inconclusive(situation, model, exposure, comparison)
        case _:
            return _going_on(model, exposure, int(QUARTERS * found.information / plan.information), comparison)


def _promotion(situation: Situation, model: Model, exposure: Exposure, reason: str) -> Promote:
    return Promote(
        version=exposure.trial.version,
        generation=situation.deployment.generation,
        reason=reason,
        evidence={**evidence_of(exposure, model), "outcome": "promoted"},
    )


def _inconclusive(situation: Situation, model: Model, exposure: Exposure, comparison: str) -> Step | None:
    """Return the end of a test that did not find a difference: the champion stays, or a person decides."""
    trial = exposure.trial
    said = (
        f"{comparison}; inconclusive after {time_at_stage(trial, situation.now_us)}: no difference of "
        f"{percent(model.rollout.mde)} was found"
    )
    if model.rollout.compare.unclear == "ask":
        approval = model.rollout.approval
        two_persons = approval is not None and approval.two_persons
        return asked(_promotion(situation, model, exposure, said), situation, model, two_persons=two_persons)
    return retracted(situation, model, exposure, f"{said}, so {trial.champion} stays", "inconclusive")


def _going_on(model: Model, exposure: Exposure, quarter: int, comparison: str) -> Step | None:
    """Return that a test goes on, each time another quarter of what it needs is there."""
    trial = exposure.trial
    if quarter <= trial.told:
        return None
    return Note(
        action=CONTINUED,
        key=f"{model.name}/continue/{trial.version}/{trial.placed_in}/{quarter}",
        reason=f"{trial.version}: {comparison}; {percent(quarter / QUARTERS)} of the planned information is there",
        evidence={**evidence_of(exposure, model), "quarter": quarter, "placed_in": trial.placed_in},
    )
