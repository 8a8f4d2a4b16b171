"""Diagnose: every check looks at the case, and what they find is explained."""

from collections.abc import Callable, Sequence

from attrs import evolve

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.ages import age_signals
from charkha.monitoring.diagnosis.checks.arrivals import arrival_signals
from charkha.monitoring.diagnosis.checks.artifacts import artifact_signals
from charkha.monitoring.diagnosis.checks.categories import category_signals
from charkha.monitoring.diagnosis.checks.features import FeatureView, feature_signals
from charkha.monitoring.diagnosis.checks.hollow import hollow_signals
from charkha.monitoring.diagnosis.checks.keys import key_signals
from charkha.monitoring.diagnosis.checks.labels import label_signals
from charkha.monitoring.diagnosis.checks.loss import loss_signals
from charkha.monitoring.diagnosis.checks.replicas import replica_signals
from charkha.monitoring.diagnosis.checks.server import server_signals
from charkha.monitoring.diagnosis.checks.skew import skew_signals
from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.explain import explain, standing
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.losses import with_performance
from charkha.monitoring.diagnosis.signal import Signal

CHECKS: Sequence[Callable[[Case], list[Signal]]] = (
    artifact_signals,
    replica_signals,
    server_signals,
    age_signals,
    skew_signals,
    arrival_signals,
    category_signals,
    hollow_signals,
    key_signals,
    label_signals,
    loss_signals,
)


def diagnose(case: Case) -> Diagnosis:
    """Return what is wrong with a case, or that nothing is."""
    evidence = gather(case)
    found = explain(evidence)
    also = tuple(with_performance(each, case) for each in standing(evidence, found))
    return evolve(with_performance(found, case), also=also)


def gather(case: Case) -> Evidence:
    """Return all that the checks find; each kind of check has the same part of the budget of false alarms."""
    view = FeatureView.of(case)
    alarms = case.budget.alarms_per_year / (len(CHECKS) + 1)
    part = evolve(case, budget=evolve(case.budget, alarms_per_year=alarms))
    found = [signal for check in CHECKS for signal in check(part)]
    return Evidence(case, [*found, *feature_signals(part, view)], view)
