"""Measuring a rollout: what the tables say of the version on its way, and of the champion beside it."""

from attrs import field, frozen

from charkha.monitoring.outcomes import OutcomeReader
from charkha.monitoring.performance import Span
from charkha.operations.rollout.live import Live, live_of
from charkha.operations.rollout.plan import Plan, plan_test
from charkha.operations.rollout.progress import Progress
from charkha.operations.rollout.trial import Trial, find_trial
from charkha.operations.rollout.unseen import Unseen, unseen_of
from charkha.operations.rollout.usual import Usual, usual_of
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.durations import MICROS, parse_duration
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Decision, Deployment, Run

# Servers follow a deployment within a quarter of a second; what is on its way then is not counted for either arm.
SETTLED_US = 2 * MICROS["s"]


@frozen(eq=False)
class Gauge:
    """Measures rollouts of one model again and again; see `Lookout`."""

    model: Model
    home: Home
    _trial: OutcomeReader = field(init=False)
    _usual: OutcomeReader = field(init=False)

    @_trial.default
    def _with_fallbacks(self) -> OutcomeReader:
        return self._reader()

    @_usual.default
    def _of_the_window(self) -> OutcomeReader:
        return self._reader()

    def progress(
        self, deployments: list[Deployment], decisions: list[Decision], runs: list[Run], now_us: int
    ) -> Progress | None:
        """Return how far the rollout is; None without a champion."""
        if not deployments or deployments[-1].champion is None:
            return None
        trial = find_trial(deployments, decisions, runs)
        plans = trial is not None and trial.stage != "ab" and self.model.rollout.live
        usual, plan = self._plan(trial.champion, now_us) if trial and plans else (None, None)
        return Progress(
            trial=trial,
            unseen=self._unseen(trial, now_us) if trial and trial.stage == "shadow" else None,
            live=self._live(trial, deployments[-1], now_us) if trial and trial.stage != "shadow" else None,
            plan=plan,
            usual=usual,
        )

    def _reader(self) -> OutcomeReader:
        sticky = [REQUEST_PREFIX + name for name in self.model.sticky_fields]
        metric = self.model.business_metric
        return OutcomeReader(self.home, self.model, ("latency_us", "replica", *sticky), fallbacks=True, metric=metric)

    def _unseen(self, trial: Trial, now_us: int) -> Unseen:
        rows = self._trial.outcomes(trial.since_us, now_us, now_us)
        span = Span(trial.since_us, now_us)
        return unseen_of(rows, (trial.champion, trial.version), self.model.rollout.shadow, span)

    def _live(self, trial: Trial, deployment: Deployment, now_us: int) -> Live:
        challengers = [(each.version, each.share) for each in deployment.serving if each.role == "challenger"]
        span = Span(min(trial.since_us + SETTLED_US, now_us), now_us)
        rows = self._trial.outcomes(span.since_us, now_us, now_us)
        return live_of(rows, self.model, challengers, (trial.champion, trial.version), span)

    def _plan(self, champion: str, now_us: int) -> tuple[Usual, Plan | None]:
        """Plan by the champion's matured labels of the monitors' window; where they are fewer, by those there are."""
        matured_us = now_us - self.model.label.delay_us
        span = Span(matured_us - parse_duration(self.model.monitors.window), matured_us)
        rows = self._usual.outcomes(span.since_us, span.until_us, now_us)
        usual = usual_of(rows, self.model, champion, span)
        return usual, plan_test(self.model.rollout, usual, self.model.label.delay_us)
