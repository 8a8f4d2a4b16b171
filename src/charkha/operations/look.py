"""Looking: what is, gathered from the ledger, the bundles and what the monitors make of the tables."""

from collections.abc import Callable, Sequence

import polars as pl
from attrs import evolve, field, frozen

from charkha.bundles.manifest import Estimate
from charkha.bundles.store import BundleStore
from charkha.features.progress import newest_known_of
from charkha.monitoring.drift import Watched, drift_findings
from charkha.monitoring.findings import Finding
from charkha.monitoring.freshness import freshness_findings
from charkha.monitoring.outcomes import OutcomeReader
from charkha.monitoring.performance import Contest, Performance, Span, contest, performance
from charkha.monitoring.profiles import ProfileReader
from charkha.monitoring.room import room_findings
from charkha.monitoring.skew_watch import SkewMeasure, last_measure, skew_findings
from charkha.operations.approvals import proposals_of
from charkha.operations.decided import Decided
from charkha.operations.remedies.keys import can_be_undone, is_of_variant
from charkha.operations.retraining.begun import last_trained_us, last_updated_us
from charkha.operations.retraining.keys import is_of_update
from charkha.operations.retraining.learnt import Learnt, learnt_of
from charkha.operations.retraining.past import past_trainings
from charkha.operations.rollout.measure import Gauge
from charkha.operations.rollout.trial import ABORT, RETRACT
from charkha.operations.runs.cancel import is_cancelled
from charkha.operations.runs.tries import not_before_us, retries_of
from charkha.operations.shelf import Shelf
from charkha.operations.situation import Situation, Training, Variant
from charkha.operations.step_keys import failure_key
from charkha.spec.durations import DAY_US, parse_duration
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import WHOLE, Decision, Deployment, Run, VersionRow

# What a decision does to a version for good.
CONCLUDING = ("promote", "reject", "withdraw", RETRACT, ABORT)
# What trainings are metered as.
TRAINING = "training"
# That a training is due and waits.
WAITS = "train_waits"


def look(model: Model, home: Home, now_us: int) -> Situation:
    """Return what is at `now_us`, as far as `collect` has come. Changes nothing."""
    return Lookout(model, home).look(now_us)


@frozen(eq=False)
class Lookout:
    """Looks at one model again and again; what a window shares with the one before is not read from disk again."""

    model: Model
    home: Home
    bundles: BundleStore = field()
    outcomes: OutcomeReader = field()
    profiles: ProfileReader = field()
    gauge: Gauge = field()
    decided: Decided = field()

    @bundles.default
    def _at_home(self) -> BundleStore:
        return BundleStore(self.home.bundles)

    @outcomes.default
    def _of_the_model(self) -> OutcomeReader:
        return OutcomeReader(self.home, self.model)

    @profiles.default
    def _of_its_predictions(self) -> ProfileReader:
        return ProfileReader(self.home, self.model.name, self.bundles)

    @gauge.default
    def _of_its_rollouts(self) -> Gauge:
        return Gauge(self.model, self.home)

    @decided.default
    def _of_its_past(self) -> Decided:
        return Decided(self.home.ledger, self.model.name)

    def look(self, now_us: int) -> Situation:
        """Return what is at `now_us`, as far as `collect` has come. Changes nothing."""
        name, ledger = self.model.name, self.home.ledger
        deployments, versions = ledger.deployments(name), ledger.versions(name)
        decisions, runs = self.decided.read(), ledger.runs(name)
        deployment = deployments[-1] if deployments else ledger.deployment(name)
        since_us = side_by_side_since(deployments)
        health, duel = self._measure(deployment, since_us, now_us)
        trained = [decision for decision in decisions if decision.action == "train"]
        last_us = last_trained_us(trained, versions, runs)
        written = {decision.key: decision.time_us for decision in decisions}
        shelf, champion_views = Shelf(self.model, self.bundles), self._champion_views(deployment)
        waiting, unreadable = shelf.waiting(open_versions(challengers(versions), decisions, deployment), written)
        incidents = tuple(ledger.incidents(name))
        spared = champion_views if deployment.champion else None
        return Situation(
            now_us=now_us,
            deployment=deployment,
            since_us=since_us,
            versions=tuple(row.version for row in versions),
            waiting=tuple(shelf.whose_turn_may_come(waiting, incidents, spared)),
            unreadable=tuple(unreadable),
            views_beside=shelf.beside(deployment),
            training=last_training(trained, decisions, runs),
            trainings=sum(not is_of_update(decision.key) for decision in trained),
            last_trained_us=last_us,
            updates=sum(is_of_update(decision.key) for decision in trained),
            last_updated_us=last_updated_us(trained, versions, runs),
            learnt=self._learnt(deployment),
            reference=self._reference(deployment),
            health=health,
            contest=duel,
            skew=self._skew_of_shadow(deployment, since_us, now_us),
            findings=tuple(self._findings(deployment, now_us)),
            incidents=incidents,
            held=frozenset(decision.key for decision in decisions if decision.action == WAITS),
            proposals=proposals_of(decisions),
            progress=self.gauge.progress(deployments, decisions, runs, now_us),
            past=past_trainings(decisions, runs, self._metered(name)),
            new_labels=self._new_labels(last_us, now_us),
            written=written,
            champion_views=champion_views,
            former=next(iter(ledger.champions(name)[-2:-1]), None),
            killed=ledger.killed().get(name),
            mends=tuple(filter(can_be_undone, decisions)),
            variants=tuple(
                Variant(row.version, row.run_key, row.status == "accepted") for row in of_variants(versions)
            ),
        )

    def _metered(self, model: str) -> dict[str, float]:
        """Return what trainings took: run key → processor seconds, of all its tries."""
        took: dict[str, float] = {}
        for usage in self.home.ledger.usage(model, kind=TRAINING):
            if usage.stage == WHOLE:
                took[usage.run] = took.get(usage.run, 0.0) + usage.cpu_seconds
        return took

    def _measure(self, deployment: Deployment, since_us: int, now_us: int) -> tuple[Performance | None, Contest | None]:
        """Measure the champion over the monitors' window, and it against the shadow since they are side by side."""
        if deployment.champion is None:
            return None, None
        champion, shadow = deployment.champion.version, next(iter(deployment.shadows), None)
        matured_us = now_us - self.model.label.delay_us
        window = Span(matured_us - parse_duration(self.model.monitors.window), matured_us)
        together = Span(since_us, max(since_us, matured_us)) if shadow else window
        rows = self.outcomes.outcomes(min(window.since_us, together.since_us), matured_us, now_us)
        health = performance(rows, champion, self.model.metrics[0], window)
        if shadow is None:
            return health, None
        compare = evolve(self.model.rollout.compare, metric=self.model.row_loss)
        return health, contest(rows, champion, shadow.version, compare, together, costs=self.model.costs)

    def _findings(self, deployment: Deployment, now_us: int) -> list[Finding]:
        monitors = self.model.monitors
        with self.home.online.read() as state:
            newest_us = newest_known_of(state, list(monitors.max_source_age))
        findings = freshness_findings(self.model.name, monitors.max_source_age, newest_us, now_us)
        findings += room_findings(self.model.name, self.home.folder, now_us)
        if deployment.champion is None:
            return findings
        version = deployment.champion.version
        findings += skew_findings(self.model.name, last_measure(self.home.ledger, self.model.name, version), now_us)
        profile = self.profiles.profile(version, now_us - parse_duration(monitors.window), now_us)
        if profile is None:
            return findings
        manifest = self.bundles.manifest(self.model.name, version)
        watched = Watched(self.model.name, version, now_us, monitors)
        return findings + drift_findings(watched, manifest.shape, manifest.reference, profile)

    def _skew_of_shadow(self, deployment: Deployment, since_us: int, now_us: int) -> SkewMeasure | None:
        """Return what was measured of the shadow within the last day, and since it is one."""
        shadow = next(iter(deployment.shadows), None)
        found = last_measure(self.home.ledger, self.model.name, shadow.version) if shadow else None
        current = found is not None and found.since_us >= since_us and found.until_us > now_us - DAY_US
        return found if current else None

    def _reference(self, deployment: Deployment) -> Estimate | None:
        """Return what the champion showed on its test rows; None when it was not measured by the present metric."""
        if deployment.champion is None:
            return None
        manifest = self.bundles.manifest(self.model.name, deployment.champion.version)
        return manifest.metrics.get("test", {}).get(self.model.metrics[0])

    def _champion_views(self, deployment: Deployment) -> frozenset[str]:
        """Return the views that the champion reads."""
        if deployment.champion is None:
            return frozenset()
        columns = self.bundles.manifest(self.model.name, deployment.champion.version).schema.names
        return frozenset(view.name for view in self.model.views) & {name.partition(".")[0] for name in columns}

    def _learnt(self, deployment: Deployment) -> Learnt | None:
        """Return how far the champion has learnt, where updates are declared."""
        if self.model.retrain.update is None or deployment.champion is None:
            return None
        return learnt_of(self.model, self.bundles.manifest(self.model.name, deployment.champion.version))

    def _new_labels(self, last_us: int | None, now_us: int) -> int | None:
        """Return how many labels of what the champion answered became known since the last training."""
        if self.model.retrain.new_labels is None or last_us is None:
            return None
        rows = self.outcomes.outcomes(last_us - self.model.label.delay_us, now_us, now_us)
        answered = rows.filter(pl.col("role") == "champion")
        return answered.filter(pl.col("_label_known_us") > last_us)["id"].n_unique()


def side_by_side_since(deployments: Sequence[Deployment]) -> int:
    """Return from when the present champion and shadow serve together, in µs; 0 when nothing was ever deployed.

    deployments: all generations, oldest first.
    """
    return _since(deployments, _pair)


def champion_since(deployments: Sequence[Deployment]) -> int:
    """Return from when the present champion serves without a break, in µs; 0 when nothing was ever deployed.

    A shadow that comes or goes makes another generation, and no other champion. deployments: as `side_by_side_since`.
    """
    return _since(deployments, lambda deployment: _pair(deployment)[0])


def _since(deployments: Sequence[Deployment], what: Callable[[Deployment], object]) -> int:
    """Return from when `what` is what it is now, in µs."""
    since_us = 0
    for deployment in reversed(deployments):
        if what(deployment) != what(deployments[-1]):
            break
        since_us = deployment.since_us
    return since_us


def _pair(deployment: Deployment) -> tuple[str | None, str | None]:
    champion, shadow = deployment.champion, next(iter(deployment.shadows), None)
    return champion.version if champion else None, shadow.version if shadow else None


def open_versions(
    versions: Sequence[VersionRow], decisions: Sequence[Decision], deployment: Deployment
) -> list[VersionRow]:
    """Return the versions that do not serve now and that were never promoted or rejected, oldest first."""
    concluded = {decision.evidence.get("version") for decision in decisions if decision.action in CONCLUDING}
    deployed = {assignment.version for assignment in deployment.assignments}
    return [row for row in versions if row.version not in concluded | deployed and row.status != "candidate"]


def last_training(trained: Sequence[Decision], decisions: Sequence[Decision], runs: Sequence[Run]) -> Training | None:
    """Return the last training that was decided on, and how far it is.

    trained: the decisions to train, oldest first. decisions, runs: all of the model.
    """
    if not trained:
        return None
    decision = trained[-1]
    run = next((run for run in runs if run.key == decision.key), None)
    retries, cancelled = retries_of(decisions, decision.key), is_cancelled(decisions, decision.key)
    return Training(
        run_key=decision.key,
        first=decision.evidence.get("champion") is None,
        decided_us=decision.time_us,
        reason=decision.reason,
        evidence=decision.evidence,
        state=run.status if run else "decided",
        error=str(run.result.get("error", "")) if run else "",
        noted=any(other.key == failure_key(decision.key) for other in decisions),
        tries=len(retries) + 1,
        not_before_us=not_before_us(retries),
        cancelled=None if cancelled is None else f"cancelled by {cancelled.actor}: {cancelled.reason}",
    )


def challengers(versions: Sequence[VersionRow]) -> list[VersionRow]:
    """Return the versions that may become champion for good: all but those that lack views."""
    return [row for row in versions if not is_of_variant(row.run_key)]


def of_variants(versions: Sequence[VersionRow]) -> list[VersionRow]:
    """Return the versions that lack views, and stand in for the champion while those are at fault."""
    return [row for row in versions if is_of_variant(row.run_key)]
