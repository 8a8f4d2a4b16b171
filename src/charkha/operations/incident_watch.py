"""The operator's own look for incidents: at most once an hour, in bounded time, and never in the way of anything else.

What is found becomes of the incidents in the ledger what `charkha diagnose` makes of them, and webhooks are told.
"""

import logging
import time
from collections.abc import Callable

from attrs import frozen

from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.incidents import observe
from charkha.operations.history import TooLittleHistory
from charkha.operations.notifier import Notifier
from charkha.spec.durations import HOUR_US
from charkha.spec.failures import ANY_FAILS
from charkha.storage.ledger import Ledger

# Of the operator's time looks take a twentieth at most: one that took long is not made again as soon.
REST = 20

# Diagnoses one model at a time (µs). Raises TooLittleHistory, and whatever else keeps it from being found out.
Diagnose = Callable[[str, int], Diagnosis]

logger = logging.getLogger(__name__)


@frozen(eq=False)
class IncidentWatch:
    """Looks for incidents of models.

    notifier: tells webhooks; None for a past in which nobody is to be woken. every_us: the least time between two looks
    at a model.
    """

    ledger: Ledger
    diagnose: Diagnose
    notifier: Notifier | None = None
    every_us: int = HOUR_US

    def watch(self, model: str, now_us: int) -> None:
        """Look for incidents of a model, if it is time to. What goes wrong is logged, and stops nothing else."""
        name = f"incident-watch/{model}"
        last = self.ledger.checkpoint(name)
        if last is not None and last["looked_us"] <= now_us < last["next_us"]:
            return
        # Before the look: one that takes the process with it is not made again at once.
        self.ledger.set_checkpoint(name, {"looked_us": now_us, "next_us": now_us + self.every_us})
        began = time.perf_counter()
        try:
            self._look(model, now_us)
        except TooLittleHistory as reason:
            logger.info("%s", reason)
        except ANY_FAILS:
            logger.exception("%s: incidents could not be looked for; trying again later", model)
        took_us = int((time.perf_counter() - began) * 1e6)
        next_us = now_us + max(self.every_us, REST * took_us)
        self.ledger.set_checkpoint(name, {"looked_us": now_us, "next_us": next_us})

    def _look(self, model: str, now_us: int) -> None:
        found = self.diagnose(model, now_us)
        still_open = observe(self.ledger, found)
        if found.is_incident:
            logger.info("%s: %s; open: %s", model, found.headline, ", ".join(each.id for each in still_open) or "none")

    def tell(self, now_us: int) -> None:
        """Tell webhooks what they were not told yet, of incidents and of proposals, and log what went wrong."""
        if self.notifier is None:
            return
        for trouble in self.notifier.troubles:
            logger.warning("%s", trouble)
        self.notifier.troubles.clear()
        self.notifier.tell(now_us)
