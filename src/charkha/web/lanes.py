"""The lanes below the plot of the months: who was champion when, and who scored unseen beside it."""

from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from charkha.operations.replay_summary import DecisionRow
from charkha.web.episodes import Outcome, Reign, reigns, trials
from charkha.web.figures import date_text
from charkha.web.scales import Scale

# A label needs about this much room for each character, at the size the template draws it.
CHARACTER = 7.0
NARROWEST = 2.0
VERDICTS: dict[Outcome, str] = {"promoted": "won", "rejected": "lost"}


@frozen
class Span:
    """A stretch of time in a lane: `label` is empty when there is no room for it."""

    x: float
    width: float
    label: str
    kind: str
    title: str


@frozen
class Period:
    """The time that a plot shows, and where it lies across the drawing."""

    start: datetime
    end: datetime
    across: Scale

    def x(self, when: datetime) -> float:
        """Return where a time lies; before and after the period, at its ends."""
        return self.across(when.timestamp())

    def shows(self, start: datetime, end: datetime) -> bool:
        """Say whether a stretch of time lies at least partly within."""
        return start < self.end and end > self.start


def reigns_within(decisions: Sequence[DecisionRow], period: Period) -> list[Reign]:
    """Return the champions of the period, in order."""
    return [reign for reign in reigns(decisions, period.end) if period.shows(reign.start, reign.end)]


def reign_spans(crowned: Sequence[Reign], period: Period) -> tuple[Span, ...]:
    """Return the lane of the champions."""
    spans = []
    for reign in crowned:
        title = f"{reign.version} answered from {_day(reign.start)} to {_day(reign.end)}: {reign.reason}"
        spans.append(_span(period.x(reign.start), period.x(reign.end), reign.version, "reign", title))
    return tuple(spans)


def trial_spans(decisions: Sequence[DecisionRow], period: Period) -> tuple[Span, ...]:
    """Return the lane of the shadows."""
    spans = []
    for trial in trials(decisions, period.end):
        if period.shows(trial.start, trial.end):
            title = f"{trial.version} scored unseen from {_day(trial.start)} to {_day(trial.end)}: {trial.outcome}"
            kind = VERDICTS.get(trial.outcome, "open")
            spans.append(_span(period.x(trial.start), period.x(trial.end), trial.version, kind, title))
    return tuple(spans)


def _span(x: float, right: float, label: str, kind: str, title: str) -> Span:
    width = round(max(NARROWEST, right - x), 1)
    return Span(x, width, label if width >= CHARACTER * len(label) + 4 else "", kind, title)


def _day(when: datetime) -> str:
    return date_text(when.isoformat())
