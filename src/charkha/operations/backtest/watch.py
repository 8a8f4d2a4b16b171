"""The diagnosis of a backtest: the project's own, over what was served so far, at most once a day."""

import time
from collections.abc import Sequence

from attrs import define, field

from charkha.bundles.bundle import Bundle
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.incidents import hit, revisions
from charkha.monitoring.performance import Span
from charkha.operations.backtest.served import Served
from charkha.operations.case import Question, spans, without
from charkha.operations.drills.rescoring import BundleRescore
from charkha.operations.drills.seen import first_seen
from charkha.operations.history import TooLittleHistory, require_history
from charkha.spec.durations import DAY_US
from charkha.storage.ledger import Incident

AHEAD_US = 7 * DAY_US
# Of an incident that lasts, looks are as far apart as this part of what is watched.
LOOKS_AT_WHAT_LASTS = 14


@define(eq=False)
class Watch:
    """Looks for incidents as the operator does, and keeps them as the ledger would.

    since_us: when the backtest began, before which nothing was served. every_us: how far looks are apart.
    looks, cpu_seconds: how many days were looked at, and what that took.

    While nothing is wrong a week is looked at in one go: signals know when their evidence was enough, so the first
    look that would find anything follows from all of it, as in a drill. That look is then made with nothing after it.
    """

    served: Served
    since_us: int
    every_us: int = DAY_US
    incidents: list[Incident] = field(factory=list)
    looks: int = 0
    cpu_seconds: float = 0.0
    _next_us: int = 0
    _coming: Diagnosis | None = None

    def look(self, now_us: int, champion: Bundle) -> Sequence[Incident]:
        """Return the incidents there are at a time, all of them; the version is what will answer for a week more."""
        if now_us < self._next_us:
            return self.incidents
        began = time.process_time()
        found = self._found(now_us, champion)
        if found is not None:
            self._revise(found)
        self.cpu_seconds += time.process_time() - began
        return self.incidents

    def champion_changed(self, now_us: int) -> None:
        """Look again at what was looked at ahead: another version answers from now on."""
        self._coming, self._next_us = None, now_us + self.every_us

    def _found(self, now_us: int, champion: Bundle) -> Diagnosis | None:
        """Return what is said at a time, and set when to look next."""
        coming, self._coming, self._next_us = self._coming, None, now_us + self.every_us
        if coming is not None:
            return coming
        try:
            if any(each.status == "open" for each in self.incidents):
                self.looks += 1
                case = self._case(now_us, now_us)
                self._next_us = now_us + self._rest_us(case.watched)
                return diagnose(case)
            self.served.serve(champion, Span(now_us, now_us + AHEAD_US))
            seen = first_seen(self._case(now_us, now_us + AHEAD_US), now_us, every_us=self.every_us)
        except TooLittleHistory:
            return None
        until_us = now_us + AHEAD_US if seen is None else seen.at_us
        self.looks += max(1, (until_us - now_us) // self.every_us)
        if seen is None:
            self._next_us = until_us
        elif seen.at_us > now_us:
            self._coming, self._next_us = seen.diagnosis, seen.at_us
        else:
            return seen.diagnosis
        return None

    def _rest_us(self, watched: Span) -> int:
        """Return how long not to look at what lasts: the longer it is, the longer a look takes, the less it says."""
        rest_us = (watched.until_us - watched.since_us) // LOOKS_AT_WHAT_LASTS
        return max(1, -(-rest_us // self.every_us)) * self.every_us

    def _case(self, now_us: int, until_us: int) -> Case:
        """Return the case of a look. until_us: what is watched ends then. Raises TooLittleHistory."""
        history, model = self.served.history, self.served.history.model
        healthy, watched = spans(Question(now_us=now_us), self.incidents)
        healthy = Span(max(healthy.since_us, self.since_us), max(watched.since_us, self.since_us))
        watched = Span(healthy.until_us, until_us)
        traffic = self.served.traffic(Span(healthy.since_us, until_us), until_us)
        over = [hit(each) for each in self.incidents]
        traffic = without(traffic, [Span(each.since_us, min(each.until_us, healthy.until_us)) for each in over])
        require_history(traffic, healthy)
        versions = traffic.predictions["version"].unique(maintain_order=True).to_list()
        return Case(
            traffic=traffic,
            healthy=healthy,
            watched=watched,
            task=model.task,
            plan=history.plan,
            rescore=BundleRescore({name: self.served.bundles[name] for name in reversed(versions)}),
            segments=model.slices,
        )

    def _revise(self, found: Diagnosis) -> None:
        for each in revisions(self.incidents, found):
            others = [known for known in self.incidents if known.number != each.incident.number]
            self.incidents = sorted([*others, each.incident], key=lambda known: known.number)
