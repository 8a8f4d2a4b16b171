"""The online state is made to hold what line-ups read; a full disk is no reason to answer nobody meanwhile.

A process that dies between logging rows and applying them, or whose disk is full then, leaves rows that nobody was
told are taken, and that the state lacks; whoever starts next applies them. Where the disk keeps it from that, the state
goes on answering as it was before these rows came.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from charkha.clock import Clock
from charkha.features.feed import Feed
from charkha.serving.backoff import Backoff
from charkha.serving.lineup import LineUp
from charkha.serving.problems import Problem, problem_of
from charkha.spec.failures import ANY_FAILS
from charkha.spec.views import FeatureView
from charkha.storage.online import OnlineStoreFull

_logger = logging.getLogger("charkha.serving")


@frozen(eq=False)
class _Behind:
    """What the state lacks. views: of each model that goes on without it. again: when to try again."""

    views: Mapping[str, list[FeatureView]]
    problem: Problem
    again: Backoff


class CatchingUp:
    """Brings the state up to the log and to what line-ups read. root: what the sources' files are relative to."""

    def __init__(self, feed: Feed, root: Path, clock: Clock) -> None:
        self._feed, self._root, self._clock = feed, root, clock
        self._behind: _Behind | None = None

    @property
    def problems(self) -> dict[str, Problem]:
        """Model → why the state that it reads lacks what was logged."""
        behind = self._behind
        return {} if behind is None else dict.fromkeys(behind.views, behind.problem)

    def prepare(self, lineup: LineUp) -> None:
        """Have the state hold what a line-up reads, for a version may know other views than we define.

        Where the disk or the store is full, a state that holds all these views goes on as it is, and is tried again.
        Raises as `Feed.materialise`, and what a full disk raises where the state lacks a view: its features would be
        null.
        """
        views = [view for plan in lineup.plans for view in plan.views]
        try:
            self._catch_up(views)
        except (OSError, OnlineStoreFull) as error:
            if not self._feed.holds(views):
                raise
            before = {} if self._behind is None else self._behind.views
            problem = problem_of("the online state lacks rows that were logged", error)
            self._behind = _Behind({**before, lineup.model: views}, problem, Backoff())

    def try_again(self) -> None:
        """Apply what the state lacks, if it lacks anything and it is time to."""
        behind = self._behind
        if behind is None or not behind.again.is_due:
            return
        try:
            self._catch_up([view for views in behind.views.values() for view in views])
        except ANY_FAILS as error:
            problem = problem_of("the online state lacks rows that were logged", error)
            self._behind = _Behind(behind.views, problem, behind.again)
            behind.again.failed()

    def _catch_up(self, views: list[FeatureView]) -> None:
        self._feed.materialise(self._root, self._clock.now(), views=views)
        if self._behind is not None:
            _logger.info("the online state has taken in what was logged")
        self._behind = None
