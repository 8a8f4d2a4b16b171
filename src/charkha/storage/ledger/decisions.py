"""The chain of decisions: each row's hash covers its content and the hash of the row before."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from attrs import asdict
from sqlalchemy import Connection, Row, func, insert, select

from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.errors import BrokenChain
from charkha.storage.ledger.schema import DECISIONS
from charkha.storage.ledger.values import Decision, Draft

FIRST_PREVIOUS_HASH = "0" * 64


def chain_hash(previous_hash: str, content: dict[str, object]) -> str:
    """Return the SHA-256, in hex, of the previous row's hash followed by the canonical JSON of a row's content.

    content: a decision's fields without `previous_hash` and `hash`.
    """
    return sha256((previous_hash + canonical_json(content)).encode()).hexdigest()


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


def append_decision(connection: Connection, draft: Draft, generation: int | None) -> Decision:
    """Write a draft as the next row of the chain; inside the write transaction."""
    newest = select(DECISIONS.c.sequence, DECISIONS.c.hash).order_by(DECISIONS.c.sequence.desc()).limit(1)
    sequence, previous_hash = connection.execute(newest).one_or_none() or (0, FIRST_PREVIOUS_HASH)
    content = {**asdict(draft, recurse=False), "sequence": sequence + 1, "generation": generation}
    evidence = canonical_json(draft.evidence)
    content["evidence"] = json.loads(evidence)
    digest = chain_hash(previous_hash, content)
    decision = Decision(**content, previous_hash=previous_hash, hash=digest)
    connection.execute(insert(DECISIONS).values(asdict(decision, recurse=False) | {"evidence": evidence}))
    return decision


def list_decisions(connection: Connection, model: str | None, after: int, limit: int | None) -> list[Decision]:
    """Return decisions whose sequence is above `after`, oldest first."""
    query = select(DECISIONS).where(DECISIONS.c.sequence > after).order_by(DECISIONS.c.sequence).limit(limit)
    if model is not None:
        query = query.where(DECISIONS.c.model == model)
    return [_decision(row) for row in connection.execute(query)]


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
        except ValueError:
            raise BrokenChain(checked, "its evidence is not JSON") from None
        if decision.previous_hash != previous_hash:
            raise BrokenChain(checked, "it does not follow from the hash of the decision before")
        content = asdict(decision, recurse=False)
        digest = content.pop("hash")
        if chain_hash(content.pop("previous_hash"), content) != digest:
            raise BrokenChain(checked, "its hash is not that of its content")
        previous_hash = decision.hash
    return checked


def _decision(row: Row[Any]) -> Decision:
    fields = row._asdict()
    return Decision(**fields | {"evidence": json.loads(fields["evidence"])})
