"""Deployments: generations of a model, each a set of assignments, never changed once written."""

from collections.abc import Collection, Sequence

from attrs import asdict
from sqlalchemy import Connection, func, insert, select

from charkha.storage.ledger.schema import ASSIGNMENTS, DEPLOYMENTS
from charkha.storage.ledger.values import Assignment, Decision, Deployment

_ASSIGNED = select(ASSIGNMENTS.c.generation, ASSIGNMENTS.c.version, ASSIGNMENTS.c.role, ASSIGNMENTS.c.share).order_by(
    ASSIGNMENTS.c.generation, ASSIGNMENTS.c.position
)


def list_deployments(connection: Connection, model: str) -> list[Deployment]:
    """Return all generations of a model, oldest first."""
    found = select(DEPLOYMENTS).where(DEPLOYMENTS.c.model == model).order_by(DEPLOYMENTS.c.generation)
    rows = connection.execute(found).all()
    assigned: dict[int, list[Assignment]] = {}
    for each in connection.execute(_ASSIGNED.where(ASSIGNMENTS.c.model == model)):
        assigned.setdefault(each.generation, []).append(Assignment(each.version, each.role, each.share))
    return [Deployment(model, row.generation, tuple(assigned.get(row.generation, ())), row.since_us) for row in rows]


def all_assignments(connection: Connection) -> dict[tuple[str, int], tuple[Assignment, ...]]:
    """Return the assignments of every generation that has any: model and generation → assignments."""
    assigned: dict[tuple[str, int], tuple[Assignment, ...]] = {}
    for each in connection.execute(_ASSIGNED.add_columns(ASSIGNMENTS.c.model)):
        key = (each.model, each.generation)
        assigned[key] = (*assigned.get(key, ()), Assignment(each.version, each.role, each.share))
    return assigned


def current_deployment(connection: Connection, model: str) -> Deployment:
    """Return the newest generation of a model; generation 0 when it was never deployed."""
    newest = select(DEPLOYMENTS).where(DEPLOYMENTS.c.model == model).order_by(DEPLOYMENTS.c.generation.desc()).limit(1)
    row = connection.execute(newest).first()
    if row is None:
        return Deployment(model, 0, (), 0)
    return Deployment(model, row.generation, _assignments(connection, model, row.generation), row.since_us)


def champions(deployments: Sequence[Deployment], rollbacks: Collection[int]) -> list[str]:
    """Return the champions one could go back through, the present one last.

    deployments: all generations, oldest first. rollbacks: the generations that a rollback made. Such a generation takes
    the champion it left off the end, so that a version one has fled from is never gone back to.
    """
    line: list[str] = []
    for deployment in deployments:
        if deployment.champion is None:
            continue
        if line and deployment.generation in rollbacks:
            line.pop()
        if not line or line[-1] != deployment.champion.version:
            line.append(deployment.champion.version)
    return line


def current_generations(connection: Connection) -> dict[str, int]:
    """Return the newest generation of every model that was ever deployed."""
    newest = select(DEPLOYMENTS.c.model, func.max(DEPLOYMENTS.c.generation)).group_by(DEPLOYMENTS.c.model)
    return {row[0]: row[1] for row in connection.execute(newest)}


def write_deployment(connection: Connection, decision: Decision, assignments: Sequence[Assignment]) -> None:
    """Write the generation that a decision made; inside the write transaction."""
    key = {"model": decision.model, "generation": decision.generation}
    row = {**key, "since_us": decision.time_us, "decision": decision.sequence}
    connection.execute(insert(DEPLOYMENTS).values(row))
    rows = [{**key, "position": position, **asdict(assignment)} for position, assignment in enumerate(assignments)]
    if rows:
        connection.execute(insert(ASSIGNMENTS), rows)


def check_assignments(assignments: Sequence[Assignment]) -> None:
    """Raise ValueError unless there is at most one champion, each version once, and every share within 0 to 1."""
    champions = [assignment.version for assignment in assignments if assignment.role == "champion"]
    versions = [assignment.version for assignment in assignments]
    if len(champions) > 1:
        raise ValueError(f"assignments: expected at most one champion, got {champions}")
    if len(set(versions)) != len(versions):
        raise ValueError(f"assignments: expected each version once, got {versions}")
    for assignment in assignments:
        if not 0 <= assignment.share <= 1:
            raise ValueError(f"share of version {assignment.version!r}: expected 0 to 1, got {assignment.share}")


def _assignments(connection: Connection, model: str, generation: int) -> tuple[Assignment, ...]:
    mine = (ASSIGNMENTS.c.model == model) & (ASSIGNMENTS.c.generation == generation)
    rows = connection.execute(_ASSIGNED.where(mine))
    return tuple(Assignment(row.version, row.role, row.share) for row in rows)
