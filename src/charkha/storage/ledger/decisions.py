"""The chain of decisions: each row's hash covers its content and the hash of the row before."""

import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from attrs import asdict, evolve
from sqlalchemy import Connection, Row, func, insert, select

from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.errors import BrokenChain
from charkha.storage.ledger.schema import DECISIONS
from charkha.storage.ledger.values import Assignment, Decision, Draft

_COLUMNS = tuple(column.name for column in DECISIONS.columns)
FIRST_PREVIOUS_HASH = "0" * 64


def chain_hash(previous_hash: str, content: dict[str, object]) -> str:
    """Return the SHA-256, in hex, of the previous row's hash followed by the canonical JSON of a row's content.

    content: see `content_of`.
    """
    return sha256((previous_hash + canonical_json(content)).encode()).hexdigest()


def content_of(decision: Decision) -> dict[str, object]:
    """Return what the hash of a decision covers, beside the hash before: its fields, without those that it lacks.

    A decision without assignments has no such field: the hash of one that was written before there was any still holds.
    """
    content = asdict(decision, recurse=False)
    del content["previous_hash"], content["hash"]
    if decision.assignments is None:
        del content["assignments"]
    return content


def find_decision(connection: Connection, key: str) -> Decision | None:
    """Return the decision of a key, or None."""
    row = connection.execute(select(DECISIONS).where(DECISIONS.c.key == key)).first()
    return None if row is None else _decision(row)


def decision_at(connection: Connection, sequence: int) -> Decision | None:
    """Return the decision of a sequence, or None."""
    row = connection.execute(select(DECISIONS).where(DECISIONS.c.sequence == sequence)).first()
    return None if row is None else _decision(row)


def newest_decision(connection: Connection) -> Decision | None:
    """Return the decision at the head of the chain, or None where there is none."""
    row = connection.execute(select(DECISIONS).order_by(DECISIONS.c.sequence.desc()).limit(1)).first()
    return None if row is None else _decision(row)


def append_decision(
    connection: Connection,
    draft: Draft,
    generation: int | None,
    assignments: Sequence[Assignment] | None = None,
) -> Decision:
    """Write a draft as the next row of the chain; inside the write transaction.

    generation, assignments: of the deployment that it makes, if it makes one.
    """
    newest = select(DECISIONS.c.sequence, DECISIONS.c.hash).order_by(DECISIONS.c.sequence.desc()).limit(1)
    sequence, previous_hash = connection.execute(newest).one_or_none() or (0, FIRST_PREVIOUS_HASH)
    evidence = canonical_json(draft.evidence)
    decision = Decision(
        **asdict(draft, recurse=False) | {"evidence": json.loads(evidence)},
        sequence=sequence + 1,
        generation=generation,
        previous_hash=previous_hash,
        hash="",
        assignments=None if assignments is None else tuple(assignments),
    )
    decision = evolve(decision, hash=chain_hash(previous_hash, content_of(decision)))
    assigned = None if assignments is None else canonical_json(decision.assignments)
    row = asdict(decision, recurse=False) | {"evidence": evidence, "assignments": assigned}
    connection.execute(insert(DECISIONS).values(row))
    return decision


def list_decisions(connection: Connection, model: str | None, after: int, limit: int | None) -> list[Decision]:
    """Return decisions whose sequence is above `after`, oldest first."""
    query = select(DECISIONS).where(DECISIONS.c.sequence > after).order_by(DECISIONS.c.sequence).limit(limit)
    if model is not None:
        query = query.where(DECISIONS.c.model == model)
    return [_decision(row) for row in connection.execute(query)]


def decisions_of_generations(connection: Connection) -> Iterator[Decision]:
    """Yield the decisions that made a generation of any model, oldest first."""
    made = select(DECISIONS).where(DECISIONS.c.generation.is_not(None)).order_by(DECISIONS.c.sequence)
    yield from map(_decision, connection.execute(made))


def generations_by(connection: Connection, model: str, action: str) -> set[int]:
    """Return the generations of a model that decisions of an action made."""
    of_it = (DECISIONS.c.model == model) & (DECISIONS.c.action == action) & DECISIONS.c.generation.is_not(None)
    return set(connection.execute(select(DECISIONS.c.generation).where(of_it)).scalars())


def newest_sequence(connection: Connection) -> int:
    """Return the sequence of the newest decision; 0 for none."""
    return connection.execute(select(func.max(DECISIONS.c.sequence))).scalar() or 0


def newest_of(connection: Connection, actions: Sequence[str]) -> dict[str, Decision]:
    """Return the newest decision of each model that is one of some actions."""
    newest = select(func.max(DECISIONS.c.sequence)).where(DECISIONS.c.action.in_(actions)).group_by(DECISIONS.c.model)
    rows = connection.execute(select(DECISIONS).where(DECISIONS.c.sequence.in_(newest)))
    return {decision.model: decision for decision in map(_decision, rows)}


def verify_chain(connection: Connection) -> int:
    """Return how many decisions were checked, all of them. Raises BrokenChain at the first that does not hold."""
    previous_hash, checked = FIRST_PREVIOUS_HASH, 0
    for row in connection.execute(select(DECISIONS).order_by(DECISIONS.c.sequence)):
        checked += 1
        if row.sequence != checked:
            raise BrokenChain(row.sequence, f"expected decision {checked} here")
        try:
            decision = _decision(row)
        except (TypeError, ValueError):
            raise BrokenChain(checked, "its evidence is not JSON, or its assignments are none") from None
        if decision.previous_hash != previous_hash:
            raise BrokenChain(checked, "it does not follow from the hash of the decision before")
        if chain_hash(previous_hash, content_of(decision)) != decision.hash:
            raise BrokenChain(checked, "its hash is not that of its content")
        previous_hash = decision.hash
    return checked


def _decision(row: Row[Any]) -> Decision:
    fields = dict(zip(_COLUMNS, row, strict=True))
    assigned = fields["assignments"]
    assignments = None if assigned is None else parse_assignments(json.loads(assigned))
    return Decision(**fields | {"evidence": json.loads(fields["evidence"]), "assignments": assignments})


def parse_assignments(rows: Any) -> tuple[Assignment, ...]:
    """Return the assignments that a decision's JSON tells of. Raises TypeError for what are none."""
    return tuple(Assignment(**row) for row in rows)
