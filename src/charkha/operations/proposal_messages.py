"""What is sent of a step that waits for a person: that it was proposed, and what a person said to it."""

from typing import Any

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.messages import escaped
from charkha.operations.approvals import APPROVE, DECLINE, PROPOSE
from charkha.spec.durations import DAY_US
from charkha.spec.webhooks import WebhookForm
from charkha.storage.ledger import Decision

PROPOSAL_ACTIONS = (PROPOSE, APPROVE, DECLINE)
_STATUS = {PROPOSE: "proposed", APPROVE: "approved", DECLINE: "declined"}
# A proposal that lapses is never answered; Alertmanager forgets it then.
LASTS_US = 28 * DAY_US


def proposal_message(form: WebhookForm, decision: Decision) -> Any:
    """Return what is sent of a decision about a proposal, as JSON says it."""
    return {"json": _plain, "slack": _slack, "alertmanager": _alertmanager}[form](decision)


def proposal_of(decision: Decision) -> str:
    """Return the key of the proposal that a decision is about."""
    return decision.key if decision.action == PROPOSE else str(decision.evidence["proposal"])


def _plain(decision: Decision) -> dict[str, Any]:
    return {
        "event": decision.action,
        "key": decision.key,
        "time": to_iso(decision.time_us),
        "model": decision.model,
        "proposal": proposal_of(decision),
        "proposes": decision.evidence["proposes"],
        "status": _STATUS[decision.action],
        "actor": decision.actor,
        "reason": decision.reason,
    }


def _slack(decision: Decision) -> dict[str, Any]:
    text = f"*{decision.model}* {_STATUS[decision.action]}: {escaped(decision.reason)}"
    if decision.action == PROPOSE:
        text = (
            f":raising_hand: {text}\n`charkha proposals approve {decision.model} --step {decision.key}`, or `decline`"
        )
    else:
        text = f":white_check_mark: {text}, by {escaped(decision.actor)}"
    return {"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text[:2900]}}]}


def _alertmanager(decision: Decision) -> list[dict[str, Any]]:
    waits = decision.action == PROPOSE
    labels = {"alertname": "CharkhaProposal", "model": decision.model, "proposal": proposal_of(decision)}
    return [
        {
            "labels": {**labels, "severity": "info"},
            "annotations": {
                "summary": f"{decision.model}: {decision.evidence['proposes']} is {_STATUS[decision.action]}",
                "description": decision.reason,
            },
            "startsAt": to_iso(decision.time_us),
            "endsAt": to_iso(decision.time_us + (LASTS_US if waits else 0)),
        }
    ]
