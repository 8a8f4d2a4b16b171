"""Follows which models the ledger kills, apart from what it deploys: a kill must not wait for what is being loaded."""

import threading
from collections.abc import Mapping
from typing import Protocol

from charkha.storage.ledger import Ledger


class Killable(Protocol):
    """Those whose models can be killed."""

    def kill(self, killed: Mapping[str, str]) -> bool:
        """Put these models, model → reason, and no others on their fallback; return whether that was a change."""
        ...


class KillSwitch:
    """Puts models on their fallback as long as the ledger says so. Safe to use from several threads."""

    def __init__(self, ledger: Ledger, killable: Killable) -> None:
        self._ledger, self._killable = ledger, killable
        self._looking = threading.Lock()  # so that what was read first is not told last

    def refresh(self) -> bool:
        """Kill and revive as the ledger says now; return whether that was a change. Costs one small query."""
        with self._looking:
            killed = {model: decision.reason for model, decision in self._ledger.killed().items()}
            return self._killable.kill(killed)

    def problems(self) -> Mapping[str, str]:
        """Return nothing: a kill can always be taken over."""
        return {}
