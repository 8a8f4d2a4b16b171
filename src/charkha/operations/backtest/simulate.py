"""One policy with one window on the past of a model: a day at a time, knowing what was known."""

from collections.abc import Callable, Mapping
from typing import cast

from attrs import define, field

from charkha.clock import to_iso
from charkha.monitoring.performance import Performance, Span, performance
from charkha.operations.backtest.due import due
from charkha.operations.backtest.history import History
from charkha.operations.backtest.incident_rows import incident_rows
from charkha.operations.backtest.months import months_of, overall
from charkha.operations.backtest.policies import Variant
from charkha.operations.backtest.results import Outcome, Retraining, Tried
from charkha.operations.backtest.served import Served
from charkha.operations.backtest.trainings import REFUSALS, Trainings, Version
from charkha.operations.backtest.watch import Watch
from charkha.operations.retraining.learnt import learnt_of
from charkha.operations.retraining.orders import order_of
from charkha.operations.retraining.past import Fate, PastTraining
from charkha.operations.situation import Situation
from charkha.operations.steps import HoldTraining, Train
from charkha.spec.durations import DAY_US, parse_duration
from charkha.storage.ledger import Assignment, Deployment, Incident
from charkha.training.pipeline import Order

OnDay = Callable[[int], None]


@define(eq=False)
class Simulation:
    """How far a policy has come. champion: what serves; since_us: since when. held: keys of decisions to wait."""

    variant: Variant
    history: History
    trainings: Trainings
    span: Span
    champion: Version
    served: Served
    watch: Watch
    since_us: int
    last_trained_us: int
    last_updated_us: int | None = None
    retrainings: list[Retraining] = field(factory=list)
    past: list[PastTraining] = field(factory=list)
    held: set[str] = field(factory=set)
    written: dict[str, int] = field(factory=dict)

    def run(self, on_day: OnDay) -> None:
        """Live through the span. on_day: is told the time at the beginning of each day (µs)."""
        for now_us in range(self.span.since_us, self.span.until_us, DAY_US):
            on_day(now_us)
            if now_us > self.span.since_us:
                self._decide(now_us)
            tomorrow = Span(now_us, min(now_us + DAY_US, self.span.until_us))
            self.served.serve(self.champion.bundle, tomorrow)

    def _decide(self, now_us: int) -> None:
        policy = self.variant.policy
        incidents = self.watch.look(now_us, self.champion.bundle) if policy.diagnosed else ()
        step = due(self._situation(now_us, tuple(incidents)), self.variant.model)
        if isinstance(step, Train):
            self._train(step, now_us)
        elif isinstance(step, HoldTraining):
            self.held.add(step.key)
            self.written[step.key] = now_us

    def _situation(self, now_us: int, incidents: tuple[Incident, ...]) -> Situation:
        name, version = self.variant.model.name, self.champion.name
        return Situation(
            now_us=now_us,
            deployment=Deployment(name, len(self.served.bundles), (Assignment(version, "champion"),), self.since_us),
            since_us=self.since_us,
            versions=tuple(f"v{number + 1}" for number in range(len(self.retrainings) + 1)),
            trainings=sum(not each.updates for each in self.retrainings) + 1,
            last_trained_us=self.last_trained_us,
            updates=sum(each.updates for each in self.retrainings),
            last_updated_us=self.last_updated_us,
            learnt=learnt_of(self.variant.model, self.champion.bundle.manifest),
            reference=self.champion.reference(self.variant.model.metrics[0]),
            health=self._health(now_us) if self.variant.model.retrain.on_fall else None,
            incidents=incidents,
            held=frozenset(self.held),
            past=tuple(self.past),
            new_labels=self._new_labels(now_us) if self.variant.model.retrain.new_labels else None,
            written=self.written,
        )

    def _health(self, now_us: int) -> Performance:
        model = self.variant.model
        matured_us = now_us - model.label.delay_us
        window = Span(max(self.span.since_us, matured_us - parse_duration(model.monitors.window)), matured_us)
        return performance(self.served.outcomes(window, now_us), self.champion.name, model.metrics[0], window)

    def _new_labels(self, now_us: int) -> int:
        known_us = self.history.told["_label_known_us"]
        return int(known_us.is_between(self.last_trained_us, now_us, closed="right").sum())

    def _train(self, step: Train, now_us: int) -> None:
        order = order_of(step, self.variant.model, self.history.readings.sources.root, self.champion.name)
        name = f"v{len(self.retrainings) + 2}"
        self.written[step.run_key] = now_us
        if order.updates is None:
            self.last_trained_us = now_us
        else:
            self.last_updated_us = now_us
        try:
            version = self.trainings.train(order, name, self.champion.bundle)
        except REFUSALS as error:
            row = Retraining(
                time=to_iso(now_us),
                why=step.reason,
                outcome="failed",
                detail=str(error),
                updates=order.updates is not None,
            )
            self._keep(row, order, step)
            return
        row = Retraining(
            time=to_iso(now_us),
            why=step.reason,
            outcome="promoted" if version.passed else "rejected",
            detail=version.verdict,
            version=name,
            rows=version.rows,
            cpu_seconds=version.cpu_seconds,
            recalibrates=order.recalibrates_since_us is not None,
            updates=order.updates is not None,
        )
        self._keep(row, order, step)
        if version.passed:
            self.champion, self.since_us = version, now_us
            self.watch.champion_changed(now_us)

    def _keep(self, row: Retraining, order: Order, step: Train) -> None:
        """Keep what became of a training, as the ledger would tell the rules of it."""
        fates: Mapping[Outcome, Fate] = {"promoted": "promoted", "rejected": "given up", "failed": "failed"}
        self.retrainings.append(row)
        self.past.append(
            PastTraining(
                run_key=order.run_key,
                began_us=order.as_of_us,
                incidents=tuple(map(str, cast("list[str]", step.evidence.get("incidents", ())))),
                version=row.version,
                fate=fates[row.outcome],
                ended_us=order.as_of_us,
                cpu_seconds=None if row.outcome == "failed" else row.cpu_seconds,
                recalibrates=row.recalibrates,
                updates=row.updates,
            )
        )


def simulate(
    variant: Variant,
    history: History,
    trainings: Trainings,
    first: Version,
    span: Span,
    *,
    every_us: int,
    on_day: OnDay,
) -> Tried:
    """Return what a policy with a window would have done and shown. every_us: how far looks for incidents are apart.

    first: the champion that serves from the beginning of the span. on_day: is told each day (µs).
    """
    served = Served.of(history)
    lived = Simulation(
        variant=variant,
        history=history,
        trainings=trainings,
        span=span,
        champion=first,
        served=served,
        watch=Watch(served, span.since_us, every_us),
        since_us=span.since_us,
        last_trained_us=span.since_us,
    )
    lived.run(on_day)
    months = months_of(history, served.scores, span)
    return Tried(
        policy=variant.policy.name,
        window=variant.window,
        fixed=variant.policy.fixed,
        months=months,
        overall=overall(months),
        retrainings=tuple(lived.retrainings),
        incidents=incident_rows(lived.watch.incidents, lived.retrainings, lived.held, span.until_us),
        held=len(lived.held),
        looks=lived.watch.looks,
        train_cpu_seconds=sum(each.cpu_seconds for each in lived.retrainings),
        look_cpu_seconds=lived.watch.cpu_seconds,
    )
