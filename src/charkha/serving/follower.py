"""The threads in which a worker follows the ledger, so that no request waits for it."""

import logging
import threading
from collections.abc import Mapping
from typing import Protocol

_logger = logging.getLogger("charkha.serving")


class Followed(Protocol):
    """What follows the ledger: a service its deployments, a switch its kills, a ring its keys. Or what counts the hits
    of rules, which follows the answers.
    """

    def refresh(self) -> bool:
        """Take over what the ledger says now; return whether anything changed."""
        ...

    def problems(self) -> Mapping[str, str]:
        """Return what of it could not be taken over, in words."""
        ...


class Follower:
    """Refreshes something every so often, from `start` until `stop`.

    every_seconds: how soon a change is followed; a look costs the ledger one small query. What takes long to refresh
    delays nothing else: each has a follower of its own.
    """

    def __init__(self, followed: Followed, every_seconds: float = 0.25) -> None:
        self._followed = followed
        self._every_seconds = every_seconds
        self._stopped = threading.Event()
        self._said = ""
        self._thread = threading.Thread(target=self._follow, name="charkha-follower", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End, after the look in progress, which is waited for so long at most: it may be at a disk that hangs."""
        self._stopped.set()
        self._thread.join(seconds)

    def _follow(self) -> None:
        self._look()  # at once: opening a service took a while
        while not self._stopped.wait(self._every_seconds):
            self._look()

    def _look(self) -> None:
        """Refresh; a ledger that cannot be read now leaves what serves in place, and is said once."""
        try:
            self._followed.refresh()
            said = "; ".join(f"{name}: {text}" for name, text in self._followed.problems().items())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also a panic of Polars: the thread must go on
            said = f"cannot read the ledger: {error}"
        if said and said != self._said:
            _logger.warning("%s", said)
        self._said = said
