"""The ledger as a file that others can keep and check: one decision per line, each bound to the one before.

Whoever holds a copy can tell, without the database and without trusting its owner, that no decision in it was changed,
removed or put in between. That it was not written anew as a whole, and that none is missing at the end, anchors tell.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TextIO

from attrs import fields_dict, frozen

from charkha.storage.ledger import BrokenChain, ChangedDeployment, Decision, Ledger, UnknownDecision
from charkha.storage.ledger.anchors import Anchor, check_anchors
from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.decisions import FIRST_PREVIOUS_HASH, chain_hash, content_of, parse_assignments

PAGE = 1000


@frozen
class _Head:
    """Where a chain ends: the sequence and the hash of its last decision."""

    sequence: int = 0
    hash: str = FIRST_PREVIOUS_HASH


def export_ledger(ledger: Ledger, stream: TextIO) -> int:
    """Write every decision to `stream`, oldest first, as one line of canonical JSON each; return how many.

    Raises BrokenChain instead of writing a decision that does not follow from the one before.
    """
    head = _Head()
    while page := ledger.decisions(after=head.sequence, limit=PAGE):
        for decision in page:
            head = _follow(head, decision)
            stream.write(canonical_json(_line(decision)) + "\n")
    return head.sequence


def verify_export(lines: Iterable[str], anchors: Sequence[Anchor] = ()) -> int:
    """Check an exported ledger, against its anchors if there are any, and return how many decisions it holds.

    An export is older than anchors that came after it: these are held to it only where it reaches.
    Raises BrokenChain at the first line that is not what was written.
    """
    head, anchored = _Head(), {each.sequence for each in anchors}
    hashes: dict[int, str] = {}
    for line in lines:
        head = _follow(head, _read_decision(line.rstrip("\n"), head.sequence + 1))
        if head.sequence in anchored:
            hashes[head.sequence] = head.hash
    check_anchors((each for each in anchors if each.sequence <= head.sequence), hashes.get)
    return head.sequence


def verify_ledger(ledger: Ledger, anchors: Sequence[Anchor] = ()) -> int:
    """Check the chain of a ledger, that it has what was anchored, and that what it put into production stands.

    Returns the number of its decisions. Raises BrokenChain at the first decision that is not what was written, or is
    gone, and ChangedDeployment at the first generation that is not what was decided.
    """

    def hash_of(sequence: int) -> str | None:
        try:
            return ledger.decision(sequence).hash
        except UnknownDecision:
            return None

    try:
        number = ledger.verify()
    except ChangedDeployment:
        check_anchors(anchors, hash_of)  # a decision that is gone says more than the generation that it left behind
        raise
    check_anchors(anchors, hash_of)
    return number


def _follow(head: _Head, decision: Decision) -> _Head:
    """Return the chain with one more decision, if it follows from those before and its hash is that of its content."""
    if decision.sequence != head.sequence + 1:
        raise BrokenChain(decision.sequence, f"expected decision {head.sequence + 1} here")
    if decision.previous_hash != head.hash:
        raise BrokenChain(decision.sequence, "it does not follow from the hash of the decision before")
    if chain_hash(head.hash, content_of(decision)) != decision.hash:
        raise BrokenChain(decision.sequence, "its hash is not that of its content")
    return _Head(decision.sequence, decision.hash)


def _line(decision: Decision) -> dict[str, object]:
    return {**content_of(decision), "previous_hash": decision.previous_hash, "hash": decision.hash}


def _read_decision(line: str, sequence: int) -> Decision:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise BrokenChain(sequence, f"its line is not JSON ({error})") from None
    if not isinstance(content, dict) or content.keys() | {"assignments"} != fields_dict(Decision).keys():
        raise BrokenChain(sequence, "its line is not that of a decision")
    # A key given twice, say, would show one reader another content than the hash covers.
    if canonical_json(content) != line:
        raise BrokenChain(sequence, "its line is not the canonical JSON of its content")
    if "assignments" not in content:
        return Decision(**content)
    try:  # null, which no export has, is none either: the hash would not cover it
        return Decision(**content | {"assignments": parse_assignments(content["assignments"])})
    except TypeError:
        raise BrokenChain(sequence, "its assignments are none") from None
