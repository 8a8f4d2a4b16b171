"""Sending one message to one webhook: with a time limit, tried again where that helps, never further than its host."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import IO, Literal
from urllib.parse import urlsplit

import msgspec

TIMEOUT_SECONDS = 5.0
PAUSES_SECONDS = (0.5, 2.0)
# What is answered to a message is not read beyond this.
MOST_BYTES = 65_536
TRY_AGAIN = (408, 425, 429)

Sent = Literal["sent", "refused", "unreachable"]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What a webhook is told stays with it: a redirect is an answer like any other."""

    def redirect_request(self, req: object, fp: IO[bytes], *_: object) -> None:
        """Follow nothing."""


# Without proxies of the environment: they are for the web, and webhooks often are within the house.
_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def send(url: str, body: object, key: str, *, sleep: Callable[[float], None] = time.sleep) -> tuple[Sent, str]:
    """Send JSON, and return whether it arrived, with the reason where it did not; the reason names the host alone.

    "refused": another try of the same would be refused as well. "unreachable": it was tried as often as there are
    pauses, and once more. key: tells the receiver that two messages are one.
    """
    content = msgspec.json.encode(body)
    reason = ""
    for pause in (*PAUSES_SECONDS, None):
        outcome, reason = _try(url, content, key)
        if outcome != "unreachable":
            return outcome, reason
        if pause is not None:
            sleep(pause)
    return "unreachable", reason


def host_of(url: str) -> str:
    """Return the host of an address, which may be told."""
    return urlsplit(url).hostname or "an unknown host"


def _try(url: str, content: bytes, key: str) -> tuple[Sent, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "charkha", "Idempotency-Key": key}
    request = urllib.request.Request(url, content, headers, method="POST")
    try:
        with _OPENER.open(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read(MOST_BYTES)
            return "sent", ""
    except urllib.error.HTTPError as error:
        with error:
            lasting = error.code < 500 and error.code not in TRY_AGAIN
        return ("refused" if lasting else "unreachable"), f"webhook at {host_of(url)} answered {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", error)
        return "unreachable", f"webhook at {host_of(url)} could not be told: {type(why).__name__}"
