"""Decisions of data, as rows of the ledger: what was set aside, released or discarded, by whom and why."""

from collections.abc import Mapping
from typing import Literal

from attrs import frozen

from charkha.storage.home import Home
from charkha.storage.ledger import Decision, Draft
from charkha.storage.quarantine import Ending

Action = Literal["quarantine", "release", "discard"]
QUARANTINE: Action = "quarantine"
RELEASE: Action = "release"
DISCARD: Action = "discard"


class NothingToDecide(Exception):
    """A batch or file of which this was decided already."""


@frozen
class Word:
    """Who decides, why, and when (µs)."""

    actor: str
    reason: str
    time_us: int

    @classmethod
    def of(cls, ending: Ending) -> "Word":
        """Return the word that began an ending."""
        return cls(ending.actor, ending.reason, ending.time_us)


def decide(
    home: Home, source: str, about: str, *, action: Action, word: Word, evidence: Mapping[str, object]
) -> Decision:
    """Write a decision, once however often it is asked for.

    about: the batch or file, and which time it is that something is decided of it.
    """
    # Models have a name here; none can be called so, for theirs hold no space.
    subject = f"source {source}"
    key = f"data/{about}/{action}"
    return home.ledger.decide(Draft(key, word.time_us, subject, word.actor, action, word.reason, evidence))
