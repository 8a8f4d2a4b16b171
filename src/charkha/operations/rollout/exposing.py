"""The next live stage of a rollout, as a step: a larger share of the entities, or the A/B test."""

from charkha.operations.rollout.words import plan_in_words
from charkha.operations.situation import Situation
from charkha.operations.steps import Expose
from charkha.operations.wording import percent
from charkha.spec.model import Model


def exposed(situation: Situation, model: Model, version: str, step: int, reason: str) -> Expose | None:
    """Return the step to a live stage, 0 up; None where it cannot be taken now.

    That is while a person has put another challenger beside the champion, and for an A/B test while there is nothing to
    plan it by.
    """
    shares = model.rollout.shares
    plan = situation.progress.plan if situation.progress else None
    others = [each for each in situation.deployment.serving if each.role == "challenger" and each.version != version]
    is_test = step == len(shares) - 1
    if others or (is_test and plan is None):
        return None
    champion = situation.deployment.champion
    evidence: dict[str, object] = {
        "version": version,
        "champion": champion.version if champion else None,
        "stage": "ab" if is_test else "canary",
        "step": step,
        "share": shares[step],
        "first": not (situation.progress and situation.progress.trial),
        "plan": plan.written() if is_test and plan else None,
    }
    planned = f". {plan_in_words(plan, model, situation.now_us)}" if is_test and plan else ""
    goes = f"it answers {percent(shares[step])} of the entities" + (", as an A/B test" if is_test else "")
    return Expose(
        version=version,
        stage="ab_test" if is_test else "canary",
        share=shares[step],
        generation=situation.deployment.generation,
        reason=f"{version}: {reason}; {goes}{planned}",
        evidence=evidence,
    )
