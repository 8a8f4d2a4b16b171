"""Follows which replicas the ledger ejects: this one asks the server to put another in its place."""

import logging
import time
from collections.abc import Callable, Mapping

from charkha.storage.ledger import EJECT, Ledger

# So long the server has to replace it, before it is asked again.
AGAIN_SECONDS = 60.0
_logger = logging.getLogger("charkha.serving")


class Ejection:
    """Asks to be replaced once it is ejected by a decision after its own start, until it is.

    replica: the name under which this process is in the log; another of the same name, later, is not meant. ask: has
    the server start another process, and end this one when that one serves.
    """

    def __init__(self, ledger: Ledger, replica: str, ask: Callable[[], None]) -> None:
        self._ledger, self._replica, self._ask = ledger, replica, ask
        self._after = ledger.newest_sequence()
        self._due: float | None = None

    def refresh(self) -> bool:
        """Ask to be replaced if this was ejected; return whether it was asked. Costs one small query."""
        fresh = self._ledger.decisions(after=self._after)
        self._after = fresh[-1].sequence if fresh else self._after
        for each in fresh:
            if each.action == EJECT and each.evidence.get("replica") == self._replica:
                _logger.warning("%s is ejected by %s: %s", self._replica, each.actor, each.reason)
                self._due = time.monotonic()
        if self._due is None or time.monotonic() < self._due:
            return False
        self._ask()
        self._due = time.monotonic() + AGAIN_SECONDS
        return True

    def problems(self) -> Mapping[str, str]:
        """Return nothing: an ejection can always be taken over."""
        return {}
