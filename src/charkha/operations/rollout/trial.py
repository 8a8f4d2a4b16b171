"""Which version is on its way to be the champion, and at which stage: derived from deployments and decisions alone."""

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import frozen

from charkha.operations.rollout.plan import Plan
from charkha.storage.ledger import Assignment, Decision, Deployment, Run

Stage = Literal["shadow", "canary", "ab"]

# Decisions that put a version beside the champion, by the operator and by persons.
STARTED, CANARY, AB_TEST, CONTINUED, RETRACT, ABORT = (
    "rollout_start",
    "canary",
    "ab_test",
    "continue",
    "retract",
    "rollout_abort",
)
PLACING = ("shadow", STARTED, CANARY, AB_TEST, "challenge")
OPERATOR = "operator"


@frozen(kw_only=True)
class Trial:
    """A version on its way.

    step: of the live stages, 0 up; the last is the A/B test, and a shadow has none. share: of the entities it answers.
    since_us: from when it is at this stage beside this champion. began_us: when its rollout began. started_by: who
    began it. authors: the persons who trained it or began its rollout. plan: of the A/B test. placed_in: the generation
    that put it there. told: how many quarters of the plan were written down.
    """

    version: str
    champion: str
    stage: Stage
    step: int
    share: float
    since_us: int
    began_us: int
    started_by: str
    authors: tuple[str, ...]
    plan: Plan | None = None
    placed_in: int = 0
    told: int = 0


def find_trial(deployments: Sequence[Deployment], decisions: Sequence[Decision], runs: Sequence[Run]) -> Trial | None:
    """Return the version that is on its way; None where there is none, or where persons have put it there.

    deployments: all generations, oldest first. A challenger that a person deployed by hand is left to that person; a
    shadow is judged whoever put it there.
    """
    if not deployments or deployments[-1].champion is None:
        return None
    for candidate in _candidates(deployments[-1]):
        placed = [
            each for each in decisions if each.action in PLACING and each.evidence.get("version") == candidate.version
        ]
        if candidate.role == "shadow" or (placed and placed[-1].action != "challenge"):
            return _trial(candidate, deployments, placed, decisions, runs)
    return None


def _candidates(deployment: Deployment) -> list[Assignment]:
    """Return those who may be on their way: challengers before shadows."""
    beside = [each for each in deployment.assignments if each.role == "challenger"]
    return [*beside, *deployment.shadows[:1]]


def _trial(
    candidate: Assignment,
    deployments: Sequence[Deployment],
    placed: Sequence[Decision],
    decisions: Sequence[Decision],
    runs: Sequence[Run],
) -> Trial:
    champion = deployments[-1].champion
    last = placed[-1] if placed else None
    evidence: Mapping[str, object] = last.evidence if last else {}
    began = _began(placed)
    stage: Stage = "shadow" if candidate.role == "shadow" else "ab" if evidence.get("stage") == "ab" else "canary"
    step = evidence.get("step")
    return Trial(
        version=candidate.version,
        champion=champion.version if champion else "",
        stage=stage,
        step=step if isinstance(step, int) else 0,
        share=candidate.share,
        since_us=_since(deployments, candidate),
        began_us=began.time_us if began else deployments[-1].since_us,
        started_by=began.actor if began else OPERATOR,
        authors=_authors(candidate.version, began, runs),
        plan=Plan.read(evidence),
        placed_in=(last.generation if last else None) or 0,
        told=_told(decisions, last),
    )


def _told(decisions: Sequence[Decision], placed: Decision | None) -> int:
    """Return up to which quarter of its plan an A/B test was told of."""
    noted = [each.evidence for each in decisions if each.action == CONTINUED]
    quarters = [each.get("quarter") for each in noted if placed and each.get("placed_in") == placed.generation]
    return max((each for each in quarters if isinstance(each, int)), default=0)


def _began(placed: Sequence[Decision]) -> Decision | None:
    """Return the decision that began the newest rollout of a version: its last shadow, start or first step."""
    firsts = [each for each in placed if each.action in ("shadow", STARTED) or each.evidence.get("first")]
    return firsts[-1] if firsts else placed[0] if placed else None


def _authors(version: str, began: Decision | None, runs: Sequence[Run]) -> tuple[str, ...]:
    trained = [str(run.result["by"]) for run in runs if run.result.get("version") == version and "by" in run.result]
    started = [began.actor] if began and began.actor != OPERATOR else []
    return tuple(dict.fromkeys([*trained, *started]))


def _since(deployments: Sequence[Deployment], candidate: Assignment) -> int:
    """Return from when a version has its role and share beside this champion, without a break (µs)."""
    champion, since_us = deployments[-1].champion, deployments[-1].since_us
    for deployment in reversed(deployments):
        same = deployment.champion is not None and champion is not None
        if not same or deployment.champion.version != champion.version or candidate not in deployment.assignments:  # type: ignore[union-attr]
            break
        since_us = deployment.since_us
    return since_us
