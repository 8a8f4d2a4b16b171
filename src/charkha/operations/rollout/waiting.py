"""Versions whose turn has not come: those that failed their gates or were overtaken are rejected, others wait."""

from charkha.operations.situation import Situation
from charkha.operations.steps import Reject, Step
from charkha.operations.wording import count_of
from charkha.spec.model import Model


def reject_waiting(situation: Situation, model: Model) -> Step | None:
    """Return the rejection of a version that did not pass its gates, or that a newer one has overtaken."""
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
