"""Anchors: where the chain of decisions stood at a time, kept where whoever rewrites the ledger cannot reach.

A chain that is written anew from some decision on holds in itself. It does not have the hashes that were anchored.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import asdict, fields_dict, frozen

from charkha.clock import to_iso
from charkha.storage.ledger.canonical import canonical_json
from charkha.storage.ledger.errors import BrokenAnchor, BrokenChain
from charkha.storage.ledger.values import Decision

# An anchor is a line of some 150 bytes.
MOST_BYTES = 4096


@frozen(kw_only=True)
class Anchor:
    """The head of a project's ledger at a time (ISO 8601): the number of its newest decision, and that one's hash."""

    project: str
    sequence: int
    hash: str
    time: str

    @property
    def line(self) -> str:
        """The anchor as a line of JSON."""
        return canonical_json(asdict(self)) + "\n"


def anchor_of(project: str, head: Decision, now_us: int) -> Anchor:
    """Return the anchor of a ledger whose newest decision is `head`."""
    return Anchor(project=project, sequence=head.sequence, hash=head.hash, time=to_iso(now_us))


def append_anchor(path: Path, anchor: Anchor) -> bool:
    """Add an anchor to a file, and have the disk confirm it; return whether it was added: not after one of that head.

    Raises OSError, and BrokenAnchor for a file whose last line is none.
    """
    last = _last_line(path)
    newest = parse_anchor(last, path, 0) if last.strip() else None
    if newest is not None and (newest.project, newest.sequence, newest.hash) == _head(anchor):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, (anchor.line if not last or last.endswith("\n") else f"\n{anchor.line}").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def read_anchors(path: Path, project: str | None) -> list[Anchor]:
    """Return the anchors of a file, of one project if given, in their order. Raises OSError and BrokenAnchor."""
    found = []
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MOST_BYTES), b""), 1):
            if text := line.decode(errors="replace").strip():
                found.append(parse_anchor(text, path, number))
    return [each for each in found if project in (None, each.project)]


def parse_anchor(line: str, path: Path, number: int) -> Anchor:
    """Return the anchor of a line. Raises BrokenAnchor; number: of the line, 0 for the last."""
    where = f"line {number}" if number else "the last line"
    try:
        content = json.loads(line)
        if not isinstance(content, dict) or content.keys() != fields_dict(Anchor).keys():
            raise BrokenAnchor(path, where)
        return Anchor(**content)
    except json.JSONDecodeError:
        raise BrokenAnchor(path, where) from None


def check_anchors(anchors: Iterable[Anchor], hash_of: Callable[[int], str | None]) -> int:
    """Hold a chain to its anchors, and return how many there were. Raises BrokenChain at the first that it has not.

    hash_of: from the number of a decision to its hash; None where there is no such.
    """
    checked = 0
    for anchor in sorted(anchors, key=lambda each: each.sequence):
        found = hash_of(anchor.sequence)
        if found is None:
            raise BrokenChain(anchor.sequence, f"it was anchored at {anchor.time}, and is not there")
        if found != anchor.hash:
            raise BrokenChain(anchor.sequence, f"its hash is not the one that was anchored at {anchor.time}")
        checked += 1
    return checked


def _head(anchor: Anchor) -> tuple[str, int, str]:
    return anchor.project, anchor.sequence, anchor.hash


def _last_line(path: Path) -> str:
    """Return the last line of a file with its end, "" of one that is empty or not there."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_BYTES))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return ""
    return lines[-1].decode(errors="replace") if lines else ""
