"""Follows which replicas the ledger ejects: this one ends, so that the server starts another in its place."""

import logging
import os
import signal
from collections.abc import Callable, Mapping

from charkha.storage.ledger import EJECT, Ledger

_logger = logging.getLogger("charkha.serving")


def end_this_process() -> None:
    """End as after SIGTERM: calls in progress are answered first."""
    os.kill(os.getpid(), signal.SIGTERM)


class Ejection:
    """Ends this process once it is ejected by a decision after its own start: its successor has the same name.

    replica: the name under which this process is in the log. end: ends it.
    """

    def __init__(self, ledger: Ledger, replica: str, end: Callable[[], None] = end_this_process) -> None:
        self._ledger, self._replica, self._end = ledger, replica, end
        self._after = ledger.newest_sequence()

    def refresh(self) -> bool:
        """End this process if it was ejected; return whether it was. Costs one small query."""
        fresh = self._ledger.decisions(after=self._after)
        if not fresh:
            return False
        self._after = fresh[-1].sequence
        found = [each for each in fresh if each.action == EJECT and each.evidence.get("replica") == self._replica]
        if not found:
            return False
        _logger.warning("%s is ejected by %s: %s; it ends", self._replica, found[0].actor, found[0].reason)
        self._end()
        return True

    def problems(self) -> Mapping[str, str]:
        """Return nothing: an ejection can always be taken over."""
        return {}
