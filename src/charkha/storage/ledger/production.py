"""What was in production, held to the chain: each generation to the decision that made it."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from charkha.clock import to_iso
from charkha.storage.ledger.decisions import decisions_of_generations
from charkha.storage.ledger.deployments import all_assignments
from charkha.storage.ledger.errors import ChangedDeployment
from charkha.storage.ledger.schema import DECISIONS, DEPLOYMENTS
from charkha.storage.ledger.values import Assignment, Decision


def check_deployments(connection: Connection) -> None:
    """Hold all generations of all models to the decisions that made them, whose chain holds.

    Of a decision that was written before the chain covered assignments, only that its generation is there, and since
    when. Raises ChangedDeployment at the first that differs.
    """
    stand = {(row.model, row.generation): row for row in connection.execute(select(DEPLOYMENTS))}
    assigned = all_assignments(connection)
    for decision in decisions_of_generations(connection):
        key = (decision.model, decision.generation or 0)
        row = stand.pop(key, None)
        if row is None:
            raise _changed(decision, "it was decided, and is not there")
        if (row.decision, row.since_us) != (decision.sequence, decision.time_us):
            found = f"of decision {row.decision} at {to_iso(row.since_us)}"
            raise _changed(decision, f"it was decided at {to_iso(decision.time_us)}, and stands as that {found}")
        found_there = assigned.pop(key, ())
        if decision.assignments not in (None, found_there):
            decided, standing = in_words(decision.assignments or ()), in_words(found_there)
            raise _changed(decision, f"decided was {decided}, and what stands is {standing}")
    for model, generation in [*stand, *assigned]:
        raise ChangedDeployment(model, generation, None, "it is there, and no decision made it")


def count_uncovered(connection: Connection) -> int:
    """Return how many generations were decided before the chain covered their assignments."""
    old = DECISIONS.c.generation.is_not(None) & DECISIONS.c.assignments.is_(None)
    return connection.execute(select(func.count()).select_from(DECISIONS).where(old)).scalar_one()


def in_words(assignments: Sequence[Assignment]) -> str:
    """Return who was at work, such as "v2 champion 0.9, v3 challenger 0.1"."""
    return ", ".join(f"{each.version} {each.role} {each.share:g}" for each in assignments) or "nobody"


def _changed(decision: Decision, problem: str) -> ChangedDeployment:
    return ChangedDeployment(decision.model, decision.generation or 0, decision.sequence, problem)
