"""What a diagnosis costs: measured where labels are known, else estimated where scores still mean what they did."""

from attrs import evolve

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.estimate import estimated_performance
from charkha.monitoring.diagnosis.incident import DiagnosedCause, Diagnosis, Loss
from charkha.monitoring.diagnosis.performance_estimate import Metric, PerformanceEstimate
from charkha.monitoring.performance import Span

METRIC: Metric = "log_loss"
# Of so many rows the label has to be known for a loss to be measured: those that come first are not like the others.
MATURE, LEAST_LABELS = 0.5, 50
# Where scores mean what they did, or labels, which are at fault, are all that would say otherwise.
ESTIMABLE: tuple[DiagnosedCause, ...] = ("label", "population", "unknown")


def with_performance(found: Diagnosis, case: Case) -> Diagnosis:
    """Return a diagnosis with the performance estimated before labels, and what it costs; for binary models only.

    Nothing is estimated where scores do not mean what they did: after a fault of what serves, computes or comes.
    """
    if case.task != "binary":
        return found
    means_it = not found.is_incident or found.cause in ESTIMABLE or found.cause in ("concept", "prior")
    watched = estimated_performance(case, case.watched, METRIC) if means_it else None
    return evolve(found, before_labels=watched, loss=_loss(found, case))


def _loss(found: Diagnosis, case: Case) -> Loss | None:
    if not found.is_incident or found.began_us is None:
        return None
    since = Span(found.began_us, found.until_us or case.watched.until_us)
    usual, now = (estimated_performance(case, span, METRIC) for span in (case.healthy, since))
    if usual is None or usual.realised is None or now is None:
        return None
    if found.cause != "label" and is_measured(now) and now.realised is not None:
        return Loss(metric=METRIC, usual=usual.realised, now=now.realised, rows=now.rows)
    if found.cause not in ESTIMABLE:
        return None
    figure = now.estimated if found.cause == "label" else now.current
    return Loss(metric=METRIC, usual=usual.realised, now=figure, rows=now.rows, estimated=True)


def is_measured(now: PerformanceEstimate) -> bool:
    """Say whether enough labels are there to have seen harm."""
    return now.mature >= MATURE and now.mature * now.rows >= LEAST_LABELS
