"""Anchoring the ledger where the user says: by hand, or by the operator on a declared schedule.

When a place was last told, and of which head, is a checkpoint. A process that dies before it is set tells the place
once more: a file does not take the same head twice, a webhook is told it under the same key.
"""

import logging
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from attrs import define, field, frozen

from charkha.operations.webhooks import host_of, send
from charkha.spec.anchors import AnchorPlaces
from charkha.spec.failures import ANY_FAILS
from charkha.storage.ledger import AnchorsGone, BrokenAnchor, Ledger
from charkha.storage.ledger.anchors import Anchor, anchor_of, append_anchor

logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class Anchored:
    """What became of an anchor at one place. where: the file, or the host of the webhook. trouble: "" where none."""

    where: str
    anchor: Anchor
    trouble: str = ""


def anchor_now(ledger: Ledger, project: str, places: AnchorPlaces, now_us: int) -> list[Anchored]:
    """Anchor the head of a ledger at every place; nothing where nothing was decided yet."""
    return _anchor(ledger, project, places, now_us, due_us=None)


def anchor_if_due(ledger: Ledger, project: str, places: AnchorPlaces, now_us: int) -> list[Anchored]:
    """Anchor it at the places where that is due: so long after the last time, if anything was decided since."""
    return _anchor(ledger, project, places, now_us, due_us=now_us - places.every_us)


def last_anchored(ledger: Ledger, place: Path | str) -> tuple[int, str] | None:
    """Return the head that a place was told of last, its number and hash; None where it never was told of any."""
    found = ledger.checkpoint(_checkpoint(place))
    return None if found is None else (found["head"][0], found["head"][1])


def require_anchored(ledger: Ledger, file: Path, anchors: Sequence[Anchor]) -> bool:
    """Return whether a declared file was ever written to.

    anchors: those that were found, there and elsewhere. Raises AnchorsGone where the head that was written to it last
    is not among them: the file was deleted, moved, cut short or written anew.
    """
    head = last_anchored(ledger, file)
    if head is None:
        return False
    if head not in {(each.sequence, each.hash) for each in anchors}:
        raise AnchorsGone(file, head[0], there=file.exists())
    return True


def _anchor(ledger: Ledger, project: str, places: AnchorPlaces, now_us: int, *, due_us: int | None) -> list[Anchored]:
    named: list[Path | str] = [each for each in (places.file, places.webhook) if each is not None]
    waiting = [each for each in named if due_us is None or _last_us(ledger, each) <= due_us]
    head = ledger.head() if waiting else None
    if head is None:
        return []
    anchor = anchor_of(project, head, now_us)
    told = []
    for place in waiting:
        if due_us is not None and last_anchored(ledger, place) == (anchor.sequence, anchor.hash):
            continue
        found = _in_file(place, anchor) if isinstance(place, Path) else _by_webhook(place, anchor)
        told.append(found)
        if not found.trouble:
            value = {"time_us": now_us, "head": [anchor.sequence, anchor.hash]}
            ledger.set_checkpoint(_checkpoint(place), value)
    return told


def _in_file(path: Path, anchor: Anchor) -> Anchored:
    try:
        append_anchor(path, anchor)
    except (OSError, BrokenAnchor) as error:
        return Anchored(where=str(path), anchor=anchor, trouble=str(error))
    return Anchored(where=str(path), anchor=anchor)


def _by_webhook(url: str, anchor: Anchor) -> Anchored:
    key = f"anchor/{anchor.project}/{anchor.sequence}/{anchor.hash}"
    _, reason = send(url, {"kind": "anchor", "anchor": anchor}, key)
    return Anchored(where=host_of(url), anchor=anchor, trouble=reason)


def _checkpoint(place: Path | str) -> str:
    return f"anchored/{sha256(str(place).encode()).hexdigest()[:16]}"


def _last_us(ledger: Ledger, place: Path | str) -> int:
    found = ledger.checkpoint(_checkpoint(place))
    return 0 if found is None else int(found["time_us"])


@define(eq=False)
class Anchoring:
    """Anchors beside the operator's looks, in a thread: none waits for a webhook."""

    ledger: Ledger
    project: str
    places: AnchorPlaces
    _thread: threading.Thread | None = field(default=None, init=False)

    def tell(self, now_us: int) -> None:
        """Begin to anchor where that is due; one that is still at it goes on."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._tell, args=(now_us,), name="anchoring", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until it is done, at most so long, and say whether it was."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _tell(self, now_us: int) -> None:
        try:
            found = anchor_if_due(self.ledger, self.project, self.places, now_us)
        except ANY_FAILS:  # of a thread nobody would hear
            logger.exception("the ledger could not be anchored; trying again at the next look")
            return
        for each in found:
            if each.trouble:
                logger.warning("the ledger could not be anchored at %s: %s", each.where, each.trouble)
