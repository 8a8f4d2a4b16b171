"""The operator: it looks at what is, decides, and does one idempotent step; then it looks again.

It keeps nothing in memory that it could not do without: killed at any instant and started again, it goes on.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from attrs import evolve

from charkha.bundles.store import BundleStore
from charkha.clock import Clock
from charkha.engines.local import LocalEngine
from charkha.monitoring.collect import collect
from charkha.monitoring.compact import compact
from charkha.monitoring.performance import Span
from charkha.monitoring.prune import prune
from charkha.monitoring.serving_usage import meter_serving
from charkha.monitoring.skew_watch import SkewWatch
from charkha.operations.act import TrainOrder, Workshop, act
from charkha.operations.aliases import mirror_aliases, record_untracked
from charkha.operations.anchoring import Anchoring
from charkha.operations.costs import with_cost
from charkha.operations.decide import decide, leaving, to_verify
from charkha.operations.incident_watch import IncidentWatch
from charkha.operations.lease import Leadership
from charkha.operations.look import Lookout
from charkha.operations.metering import DECIDING, MONITORING, OperatorMeter
from charkha.operations.rollout.features import feature_changes
from charkha.operations.runs.desk import Desk
from charkha.operations.situation import Situation
from charkha.operations.steps import Step
from charkha.spec.durations import DAY_US
from charkha.spec.failures import ANY_FAILS
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.ledger import Decision, LeaseLost, StaleGeneration
from charkha.storage.metering import unmetered
from charkha.training.tracking import Tracker, TrackingFailed

# More than any chain of steps that follow from one another; what is left is done at the next tick.
MOST_STEPS = 12
# How often trainings under way are looked at between two ticks.
WATCH_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Operator:
    """Watches over the models of a project, and trains, promotes and rejects as their definitions say.

    train: carries out a training order; in this process for a replay, in a limited child process in production.
    tracker: told who serves, by aliases. daily_skew: whether a sample of each day is recomputed; a replay does so with
    all that it served, when it has ended. keeps_log: whether past days of the log become compact, and old ones go.
    incidents: looks for incidents beside it; None where nobody asked for it, as in a replay.
    leadership: of the home, in which the home's ledger is fenced; one that fences nothing unless given. desk: of the
    trainings under way, where `train` only begins them.
    anchoring: keeps the head of the ledger elsewhere as well; None where nowhere is declared. meter: of what this
    process uses; None where it is not the operator's alone.
    """

    def __init__(
        self,
        project: Project,
        home: Home,
        clock: Clock,
        train: TrainOrder,
        tracker: Tracker,
        *,
        daily_skew: bool = True,
        keeps_log: bool = True,
        incidents: IncidentWatch | None = None,
        leadership: Leadership | None = None,
        desk: Desk | None = None,
        anchoring: Anchoring | None = None,
        meter: OperatorMeter | None = None,
    ) -> None:
        self._home, self._clock, self._tracker = home, clock, tracker
        self._leadership, self._desk = leadership or Leadership(home.ledger, clock), desk
        self._lookouts = {name: Lookout(model, home) for name, model in project.models.items()}
        self._workshops = {
            name: Workshop(model, project.root, home.ledger, clock, train, *([desk.end] if desk else []))
            for name, model in project.models.items()
        }
        self._skews = {
            name: SkewWatch(project, lookout.model, home, lookout.bundles, LocalEngine(1))
            for name, lookout in self._lookouts.items()
        }
        self._daily_skew, self._keeps_log, self._incidents = daily_skew, keeps_log, incidents
        self._anchoring, self._meter = anchoring, meter
        self._log_kept: dict[str, int] = {}  # the day on which a model's log was last seen to
        self._skew_tried: dict[str, tuple[str, int] | None] = {}  # whose day was recomputed last, or could not be

    def tick(self, model: str) -> list[Decision]:
        """Collect what was logged, then look, decide and act until there is nothing to do; return what was decided.

        Safe to be killed in, and to be called again. Raises KeyError for a model the project has not, and what
        `collect` raises.
        """
        return self.tick_while(model, lambda step: True)

    def tick_while(self, model: str, wanted: Callable[[Step], bool]) -> list[Decision]:
        """Do as `tick` does, until the first step that is not wanted."""
        lookout = self._lookouts[model]
        with self._meter.tick(lookout.model) if self._meter else nullcontext(unmetered) as stage:
            with stage(MONITORING):
                collect(self._home, lookout.model, lookout.bundles)
                meter_serving(self._home, lookout.model)
                self._watch_skew(model)
                self._watch_incidents(model)
            with stage(DECIDING):
                decisions = self._decide(model, wanted)
        if self._incidents is not None:
            self._incidents.tell(self._clock.now())
        return decisions

    def _decide(self, model: str, wanted: Callable[[Step], bool]) -> list[Decision]:
        """Look, decide and act until there is nothing to do, then let those who follow know."""
        lookout, workshop = self._lookouts[model], self._workshops[model]
        decisions: list[Decision] = []
        for _ in range(MOST_STEPS):
            step = decide(self._situation(lookout), lookout.model)
            if step is None or not wanted(step):
                break
            try:
                decisions.append(act(with_cost(step, self._home, lookout.model, self._clock.now()), workshop))
            except StaleGeneration:
                logger.info("%s: somebody else changed the deployment; looking again", model)
        self._tell_tracker(model, lookout.bundles)
        self._keep_log(model)
        if self._anchoring is not None:
            self._anchoring.tell(self._clock.now())
        return decisions

    def _tell_tracker(self, model: str, bundles: BundleStore) -> None:
        """Let the tracker follow the ledger; one that is away is told at the next tick, and keeps nothing waiting."""
        try:
            record_untracked(self._home.ledger, bundles, self._tracker, model)
            mirror_aliases(self._home.ledger, self._tracker, model)
        except TrackingFailed as error:
            logger.warning("%s: the tracker could not follow, trying again at the next tick: %s", model, error)

    def _situation(self, lookout: Lookout) -> Situation:
        """Look; and where a shadow would go on, recompute what it was served, and compare it with the champion."""
        situation = self._with_work(lookout.look(self._clock.now()))
        span = Span(situation.since_us, situation.now_us)
        if (shadow := to_verify(situation, lookout.model)) is not None:
            situation = evolve(situation, skew=self._skews[lookout.model.name].measure(shadow, span))
        if situation.progress is not None and (shadow := leaving(situation, lookout.model)) is not None:
            pair = (situation.deployment.champion or situation.deployment.shadows[0]).version, shadow
            changes = feature_changes(self._home, lookout.model.name, pair, span)
            situation = evolve(situation, progress=evolve(situation.progress, changes=changes))
        return situation

    def _with_work(self, situation: Situation) -> Situation:
        """Say in a situation whether its training is at work at this operator's desk."""
        training = situation.training
        if training is None or self._desk is None or not self._desk.is_under_way(training.run_key):
            return situation
        return evolve(situation, training=evolve(training, under_way=True))

    def _watch_skew(self, model: str) -> None:
        """Recompute a sample of yesterday's. What cannot be recomputed is logged and stops nothing else."""
        champion, now_us = self._home.ledger.deployment(model).champion, self._clock.now()
        tried = (champion.version, now_us // DAY_US) if champion else None
        if champion is None or not self._daily_skew or self._skew_tried.get(model) == tried:
            return
        try:
            self._skews[model].watch(champion.version, now_us)
        except ANY_FAILS:
            logger.exception("%s: what was served could not be recomputed; trying again tomorrow", model)
        self._skew_tried[model] = tried

    def _watch_incidents(self, model: str) -> None:
        """Look for incidents of a model that serves, before anything is decided: no training learns from one."""
        if self._incidents is not None and self._home.ledger.deployment(model).champion is not None:
            self._incidents.watch(model, self._clock.now())

    def _keep_log(self, model: str) -> None:
        """Make past days compact and remove old ones, once a day. What fails is logged, and stops nothing else."""
        lookout, now_us = self._lookouts[model], self._clock.now()
        if not self._keeps_log or self._log_kept.get(model) == now_us // DAY_US:
            return
        try:
            done = compact(self._home, lookout.model, lookout.bundles, now_us)
            pruned = prune(self._home, lookout.model, now_us)
            removed = (pruned.rows, pruned.labels)
            logger.info("%s: %d predictions are compact now; %d and %d labels are removed", model, done.rows, *removed)
        except ANY_FAILS:
            logger.exception("%s: the log could not be made compact; trying again tomorrow", model)
        self._log_kept[model] = now_us // DAY_US

    def run(self, interval_seconds: float, stop: threading.Event | None = None) -> None:
        """Tick every model, again and again, until `stop` is set or the process gets SIGTERM or Ctrl-C.

        One operator leads in a home; another waits until it ends, or is not heard of. An error ends neither the loop
        nor the other models' turns: it is logged, and what it kept from being done is tried at the next tick.
        """
        stop = stop or threading.Event()
        with _ending_quietly():
            while not stop.is_set():
                with self._leadership.held(stop) as leads, self._ending_work():
                    while leads and not stop.is_set() and not self._leadership.lost.is_set():
                        self._tick_all()
                        self._pause(interval_seconds, stop)

    def _tick_all(self) -> None:
        for model in self._lookouts:
            if not self._leadership.lost.is_set():
                self._tick_logged(model)

    def _pause(self, interval_seconds: float, stop: threading.Event) -> None:
        """Wait for the next look, which comes early when a training has ended or somebody has cancelled one."""
        until = time.perf_counter() + interval_seconds
        while (left := until - time.perf_counter()) > 0 and not self._leadership.lost.is_set():
            if stop.wait(min(left, WATCH_SECONDS)):
                return
            if self._desk is not None and self._desk.keys() and self._has_news(self._desk):
                return

    def _has_news(self, desk: Desk) -> bool:
        try:
            return desk.has_news()
        except ANY_FAILS as error:
            logger.warning("the trainings under way could not be looked at: %s", error)
            return True

    @contextmanager
    def _ending_work(self) -> Iterator[None]:
        """End what is under way when the lead ends, however it does."""
        try:
            yield
        finally:
            if self._desk is not None:
                self._desk.close()

    def _tick_logged(self, model: str) -> None:
        try:
            for decision in self.tick(model):
                logger.info("%s: %s: %s", model, decision.action, decision.reason)
        except LeaseLost as error:
            logger.warning("%s", error)
            self._leadership.lost.set()
        except ANY_FAILS:
            logger.exception("%s: the tick failed; trying again at the next one", model)


@contextmanager
def _ending_quietly() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, break off wherever it is, and swallow it: all that is left undone is resumed."""
    main = threading.current_thread() is threading.main_thread()
    former = signal.signal(signal.SIGTERM, signal.default_int_handler) if main else None
    try:
        yield
    except KeyboardInterrupt:
        logger.info("the operator was told to stop")
    finally:
        if main:
            signal.signal(signal.SIGTERM, former)
