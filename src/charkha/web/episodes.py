"""The story in a ledger: decisions gathered into one episode a challenger, and who reigned when."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from attrs import frozen

from charkha.operations.replay_summary import DecisionRow
from charkha.web.figures import moment

Outcome = Literal["promoted", "rejected", "failed", "rolled back", "in shadow", "open"]

OUTCOMES: dict[str, Outcome] = {
    "promote": "promoted",
    "reject": "rejected",
    "train_failed": "failed",
    "rollback": "rolled back",
    "retract": "rolled back",
    "rollout_abort": "rolled back",
    "shadow": "in shadow",
}
ENTHRONING = ("promote", "rollback")


@frozen
class Episode:
    """The decisions from one training to the next: what was tried, and how it ended."""

    version: str | None
    outcome: Outcome
    decisions: tuple[DecisionRow, ...]


@frozen
class Reign:
    """A version that was champion from `start` to `end`; `reason` is why it became so."""

    version: str
    start: datetime
    end: datetime
    reason: str


@frozen
class Trial:
    """A version that scored unseen beside the champion, and what came of it."""

    version: str
    start: datetime
    end: datetime
    outcome: Outcome


def episodes(decisions: Sequence[DecisionRow]) -> list[Episode]:
    """Return the decisions in their order, cut wherever a training begins or a rollback is made."""
    groups: list[list[DecisionRow]] = []
    for decision in decisions:
        if not groups or decision.action in ("train", "rollback"):
            groups.append([])
        groups[-1].append(decision)
    return [_episode(group) for group in groups]


def _episode(decisions: Sequence[DecisionRow]) -> Episode:
    versions = [decision.version for decision in decisions if decision.version]
    outcome: Outcome = next((OUTCOMES[d.action] for d in reversed(decisions) if d.action in OUTCOMES), "open")
    return Episode(versions[-1] if versions else None, outcome, tuple(decisions))


def reigns(decisions: Sequence[DecisionRow], until: datetime) -> list[Reign]:
    """Return who was champion when, in order; the last until `until`."""
    crowned = [decision for decision in decisions if decision.action in ENTHRONING and decision.version]
    starts = [moment(decision.time) for decision in crowned]
    ends = [*starts[1:], max([until, *starts[-1:]])]
    return [
        Reign(str(decision.version), start, end, decision.reason)
        for decision, start, end in zip(crowned, starts, ends, strict=False)
    ]


def trials(decisions: Sequence[DecisionRow], until: datetime) -> list[Trial]:
    """Return every shadow and how it ended; one that has not ended lasts until `until`."""
    found = []
    for place, decision in enumerate(decisions):
        if decision.action != "shadow" or not decision.version:
            continue
        later = [d for d in decisions[place + 1 :] if d.version == decision.version and d.action in OUTCOMES]
        start = moment(decision.time)
        end, outcome = (moment(later[0].time), OUTCOMES[later[0].action]) if later else (max(until, start), "in shadow")
        found.append(Trial(decision.version, start, end, outcome))
    return found
