"""Who is told of incidents: addresses from the project's settings, or from the environment, which wins.

    webhook = "https://…"               # plain JSON
    webhook_slack = "${SLACK_URL}"      # as Slack and what speaks like it take it
    webhook_alertmanager = "http://alertmanager:9093/api/v2/alerts"

`CHARKHA_WEBHOOK`, `CHARKHA_WEBHOOK_SLACK` and `CHARKHA_WEBHOOK_ALERTMANAGER` stand for the same. An address is often a
secret: no message names more than its host.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Literal
from urllib.parse import urlsplit

from charkha.spec.faults import Fault

WebhookForm = Literal["json", "slack", "alertmanager"]
# Setting → the form of what is sent there.
WEBHOOKS: Mapping[str, WebhookForm] = {
    "webhook": "json",
    "webhook_slack": "slack",
    "webhook_alertmanager": "alertmanager",
}


def webhooks_of(settings: Mapping[str, str]) -> dict[WebhookForm, str]:
    """Return the addresses, by form. settings: those of the project, with what they take from the environment."""
    given = {name: os.environ.get(f"CHARKHA_{name.upper()}") or settings.get(name) for name in WEBHOOKS}
    return {WEBHOOKS[name]: url for name, url in given.items() if url}


def webhook_faults(webhooks: Mapping[WebhookForm, str]) -> Iterator[Fault]:
    """Yield what is wrong with addresses."""
    for form, url in webhooks.items():
        if not is_address(url):
            where = f"the webhook for {form}"
            yield Fault(where, "an address such as https://host/path", "another text", "Mend it; it may be a secret.")


def is_address(url: str) -> bool:
    """Say whether a text is the address of an HTTP server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
