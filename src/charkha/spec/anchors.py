"""Where the head of the ledger is kept besides the ledger: out of reach of whoever could rewrite that.

    anchor = "/mnt/worm/charkha.jsonl"        # a file that a line is added to
    anchor_webhook = "${ANCHOR_URL}"          # an address that it is sent to
    anchor_every = "1d"                       # how often the operator does so

`CHARKHA_ANCHOR_WEBHOOK` stands for the second.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from charkha.spec.checks.values import duration_faults
from charkha.spec.durations import parse_duration
from charkha.spec.faults import Fault
from charkha.spec.webhooks import is_address

ANCHOR_SETTINGS = ("anchor", "anchor_webhook", "anchor_every")
EVERY = "1d"


@frozen
class AnchorPlaces:
    """Where anchors go, and how often. file: that lines are added to. webhook: an address; a secret perhaps."""

    file: Path | None
    webhook: str | None
    every: str = EVERY

    @property
    def every_us(self) -> int:
        """`every` in µs."""
        return parse_duration(self.every)


def anchor_places(settings: Mapping[str, str], root: Path) -> AnchorPlaces | None:
    """Return the places that settings name, a file against the project's folder; None where they name none."""
    file, webhook = settings.get("anchor"), os.environ.get("CHARKHA_ANCHOR_WEBHOOK") or settings.get("anchor_webhook")
    if not file and not webhook:
        return None
    return AnchorPlaces(root / file if file else None, webhook or None, settings.get("anchor_every", EVERY))


def anchor_faults(settings: Mapping[str, str]) -> Iterator[Fault]:
    """Yield what is wrong with the settings of anchors."""
    if "anchor_every" in settings:
        yield from duration_faults("the setting anchor_every", settings["anchor_every"])
    webhook = os.environ.get("CHARKHA_ANCHOR_WEBHOOK") or settings.get("anchor_webhook")
    if webhook and not is_address(webhook):
        where, remedy = "the webhook for anchors", "Mend it; it may be a secret."
        yield Fault(where, "an address such as https://host/path", "another text", remedy)
