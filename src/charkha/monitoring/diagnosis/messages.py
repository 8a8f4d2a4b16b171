"""What is sent of an incident: each step of its life, from the decision in the ledger, in the form of who reads it."""

from collections.abc import Mapping
from typing import Any

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.documents import from_document
from charkha.monitoring.diagnosis.incidents import CLOSE, MERGE
from charkha.monitoring.diagnosis.wording import facts
from charkha.spec.durations import DAY_US
from charkha.spec.webhooks import WebhookForm
from charkha.storage.ledger import Decision

# Alertmanager takes an alert for resolved a few minutes after it was last told; ours last until they are closed.
LASTS_US = 366 * DAY_US


def message(form: WebhookForm, decision: Decision) -> Any:
    """Return what is sent of a decision about an incident, as JSON says it."""
    return {"json": plain_message, "slack": slack_message, "alertmanager": alertmanager_message}[form](decision)


def plain_message(decision: Decision) -> dict[str, Any]:
    """Return a decision as it is, with the diagnosis as of `documents.as_document`."""
    return {
        "event": decision.action,
        "key": decision.key,
        "time": to_iso(decision.time_us),
        "model": decision.model,
        "incident": decision.evidence["incident"],
        "status": _status(decision),
        "cause": decision.evidence["cause"],
        "culprit": decision.evidence["culprit"],
        "actor": decision.actor,
        "reason": decision.reason,
        "merged_into": decision.evidence.get("merged_into"),
        "diagnosis": decision.evidence["diagnosis"],
    }


def slack_message(decision: Decision) -> dict[str, Any]:
    """Return a decision as Slack shows it: a line, and the facts below it."""
    title = f"{_icon(decision)} *{escaped(str(decision.evidence['incident']))}* {_status(decision)}: "
    title += escaped(decision.reason)
    lines = [f"*{word}*  {escaped(text)}" for word, text in _facts(decision)]
    sections = [title, *(["\n".join(lines)] if lines else [])]
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text[:2900]}} for text in sections]
    return {"text": title, "blocks": blocks}


def alertmanager_message(decision: Decision) -> list[dict[str, Any]]:
    """Return a decision as Alertmanager takes alerts (API v2); the labels are the same from the opening to the end."""
    over = decision.action in (CLOSE, MERGE)
    began_us = decision.evidence["began_us"]
    return [
        {
            "labels": {
                "alertname": "CharkhaIncident",
                "model": decision.model,
                "incident": str(decision.evidence["incident"]),
                "severity": "critical",
            },
            "annotations": {
                "summary": f"{decision.model}: {_headline(decision)}",
                "description": "; ".join(f"{word}: {text}" for word, text in _facts(decision)),
                "cause": str(decision.evidence["cause"]),
                "culprit": str(decision.evidence["culprit"]),
            },
            "startsAt": to_iso(began_us if isinstance(began_us, int) else decision.time_us),
            "endsAt": to_iso(decision.time_us + (0 if over else LASTS_US)),
        }
    ]


def _status(decision: Decision) -> str:
    return {CLOSE: "closed", MERGE: "merged"}.get(decision.action, "open")


def _icon(decision: Decision) -> str:
    return ":white_check_mark:" if decision.action in (CLOSE, MERGE) else ":rotating_light:"


def _document(decision: Decision) -> Mapping[str, Any]:
    found = decision.evidence["diagnosis"]
    return found if isinstance(found, Mapping) else {}


def _headline(decision: Decision) -> str:
    return str(_document(decision).get("headline", decision.reason))


def _facts(decision: Decision) -> list[tuple[str, str]]:
    return facts(from_document(_document(decision)))


def escaped(text: str) -> str:
    """Return a text that Slack shows as it is, and takes for no command."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
