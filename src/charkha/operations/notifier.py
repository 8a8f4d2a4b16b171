"""Telling webhooks of incidents and proposals, beside the look that found them.

The chain of decisions is the outbox: a checkpoint says up to where a webhook was told, so that nothing is left out by a
process that dies or a receiver that is away. A message may come twice, under the same key.
"""

import threading
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from attrs import define, field, frozen

from charkha.monitoring.diagnosis.incidents import INCIDENT_ACTIONS
from charkha.monitoring.diagnosis.messages import message
from charkha.operations.proposal_messages import PROPOSAL_ACTIONS, proposal_message, proposal_of
from charkha.operations.remedies.keys import PAGE
from charkha.operations.webhooks import host_of, send
from charkha.spec.durations import DAY_US, MICROS
from charkha.spec.failures import ANY_FAILS
from charkha.spec.webhooks import WebhookForm
from charkha.storage.ledger import Decision, Ledger

# An owner is paged through the same webhooks: the reason of the decision says whom it is for.
TOLD = (*INCIDENT_ACTIONS, PAGE, *PROPOSAL_ACTIONS)
# A webhook that is new is told of what happened within so long.
FIRST_US = DAY_US
# So long after a webhook did not answer, nobody waits for it who need not.
SILENT_US = 10 * MICROS["m"]


@define(eq=False)
class Notifier:
    """Tells in threads of its own, one for each webhook; a look never waits. troubles: what went wrong, in words."""

    ledger: Ledger
    webhooks: Mapping[WebhookForm, str]
    troubles: list[str] = field(factory=list, init=False)
    _threads: dict[WebhookForm, threading.Thread] = field(factory=dict, init=False)
    _now_us: int = field(default=0, init=False)

    def tell(self, now_us: int) -> None:
        """Begin to tell every webhook what it was not told yet; one that is still at it goes on."""
        self._now_us = now_us
        for form, url in self.webhooks.items():
            running = self._threads.get(form)
            if running is None or not running.is_alive():
                thread = threading.Thread(
                    target=self._tell, args=(form, url, now_us), name=f"webhook-{form}", daemon=True
                )
                self._threads[form] = thread
                thread.start()

    def wait(self, seconds: float, *, for_silent: float | None = None) -> bool:
        """Wait until all was told, at most so long in all, and say whether it was.

        for_silent: how long at most for what did not answer of late; as long as for the others unless given. One that
        has not answered when this is over is such from then on, for `SILENT_US`.
        """
        began = time.perf_counter()
        for form, thread in self._threads.items():
            was_silent = self._silence(form).holds(self._now_us)
            patience = seconds if for_silent is None or not was_silent else min(seconds, for_silent)
            thread.join(max(0.0, began + patience - time.perf_counter()))
            if thread.is_alive():
                self._silence(form).begin(self._now_us)
        return not any(thread.is_alive() for thread in self._threads.values())

    def _silence(self, form: WebhookForm) -> "Silence":
        return Silence(self.ledger, form, self.webhooks[form])

    def _tell(self, form: WebhookForm, url: str, now_us: int) -> None:
        try:
            told = tell_webhook(self.ledger, form, url, now_us)
        except ANY_FAILS as error:  # of a thread nobody would hear
            told = f"webhook at {host_of(url)}: {type(error).__name__}"
        if told:
            self.troubles.append(told)


def tell_webhook(ledger: Ledger, form: WebhookForm, url: str, now_us: int) -> str:
    """Tell one webhook what it was not told yet, in order; return what went wrong, "" for nothing.

    One that cannot be reached is told the rest the next time; what it refuses is left out.
    """
    name, silence = _name(form, url), Silence(ledger, form, url)
    checkpoint = ledger.checkpoint(name)
    after, since_us = (0, now_us - FIRST_US) if checkpoint is None else (checkpoint["sequence"], 0)
    trouble, decisions = "", ledger.decisions(after=after)
    for decision in decisions:
        if decision.action in TOLD and decision.time_us >= since_us:
            outcome, reason = send(url, _message(form, decision), decision.key)
            if outcome == "unreachable":
                silence.begin(now_us)
                return f"{reason}; it is told of {_subject(decision)} at the next look"
            silence.end(now_us)
            if outcome == "refused":
                trouble = f"{reason} to {_subject(decision)}, and is not told of it again"
            ledger.set_checkpoint(name, {"sequence": decision.sequence})
    if decisions:
        ledger.set_checkpoint(name, {"sequence": decisions[-1].sequence})
    return trouble


@frozen
class Silence:
    """Whether a webhook did not answer of late: a checkpoint beside that of how far it was told."""

    ledger: Ledger
    form: WebhookForm
    url: str

    @property
    def _checkpoint(self) -> str:
        return f"{_name(self.form, self.url)}/silent"

    def holds(self, now_us: int) -> bool:
        """Say whether it did not answer within `SILENT_US` before a time, and has not since."""
        last = self.ledger.checkpoint(self._checkpoint) or {"since_us": None}
        return last["since_us"] is not None and 0 <= now_us - last["since_us"] < SILENT_US

    def begin(self, now_us: int) -> None:
        """Remember that it does not answer; what is remembered already is not prolonged, so that it has an end."""
        if not self.holds(now_us):
            self.ledger.set_checkpoint(self._checkpoint, {"since_us": now_us})

    def end(self, now_us: int) -> None:
        """Forget it: it has answered."""
        if self.holds(now_us):
            self.ledger.set_checkpoint(self._checkpoint, {"since_us": None})


def _name(form: WebhookForm, url: str) -> str:
    return f"webhook/{form}/{sha256(url.encode()).hexdigest()[:16]}"


def _message(form: WebhookForm, decision: Decision) -> Any:
    of_proposal = decision.action in PROPOSAL_ACTIONS
    return proposal_message(form, decision) if of_proposal else message(form, decision)


def _subject(decision: Decision) -> str:
    return proposal_of(decision) if decision.action in PROPOSAL_ACTIONS else str(decision.evidence["incident"])
