"""What drills showed: of each incident that was put in, whether it would be found, when, and under which name."""

from collections import Counter
from typing import Literal

from attrs import field, frozen

from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.performance import Span
from charkha.spec.drills import Cause

Verdict = Literal["caught", "misnamed", "late", "missed", "too_soon", "quiet", "false_alarm", "left_out"]
# What each means, for people.
MEANINGS: dict[Verdict, str] = {
    "caught": "found within its stated window, under its cause",
    "misnamed": "found within its stated window, under another cause",
    "late": "found after its stated window",
    "missed": "not found, and its stated window was over",
    "too_soon": "not found, and its stated window was not over: drill a longer --window",
    "quiet": "it harms nobody, and was not reported",
    "false_alarm": "it harms nobody, and was reported",
    "left_out": "this traffic cannot have it",
}
SURVIVED: tuple[Verdict, ...] = ("caught", "quiet")
NOT_JUDGED: tuple[Verdict, ...] = ("too_soon", "left_out")


@frozen(kw_only=True)
class Drilled:
    """One incident that was put in, and what an hourly diagnosis said of it.

    cause: the right one. harmful: whether it had to be found. subject: what it hit; None for all of the traffic. size:
    in `unit`. since_us, deadline_us: when it began, and when its stated window was over (µs); None where the traffic
    ended before. seen_us, found: the first look that found anything, and what it said. right_culprit: whether that
    named what was hit; None where nothing was found, or there is nothing to name. smallest: the smallest size that
    would be found in its stated window; None where none would, or none was looked for. reason: why it was left out.
    """

    kind: str
    cause: Cause
    harmful: bool
    seed: int
    since_us: int
    verdict: Verdict
    subject: str | None = None
    size: float | None = None
    unit: str = "none"
    deadline_us: int | None = None
    seen_us: int | None = None
    found: Diagnosis | None = field(default=None, repr=False)
    right_culprit: bool | None = None
    smallest: float | None = None
    reason: str = ""

    @property
    def survived(self) -> bool:
        """Whether the diagnosis did what it should."""
        return self.verdict in SURVIVED

    @property
    def judged(self) -> bool:
        """Whether it could be told if it does."""
        return self.verdict not in NOT_JUDGED

    @property
    def delay_us(self) -> int | None:
        """How long after it began it was found; None where it was not."""
        return None if self.seen_us is None else self.seen_us - self.since_us


@frozen(kw_only=True)
class Power:
    """What the diagnosis of a model would find. predictions: that were watched, in `watched`, beside `healthy`."""

    model: str
    healthy: Span
    watched: Span
    predictions: int
    drilled: tuple[Drilled, ...]

    @property
    def judged(self) -> tuple[Drilled, ...]:
        """The drills of which it could be told."""
        return tuple(each for each in self.drilled if each.judged)

    @property
    def survived(self) -> tuple[Drilled, ...]:
        """Those in which the diagnosis did what it should."""
        return tuple(each for each in self.drilled if each.survived)

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many drills ended how; what did not occur is not in it."""
        counted = Counter(each.verdict for each in self.drilled)
        return {verdict: counted[verdict] for verdict in MEANINGS if verdict in counted}
