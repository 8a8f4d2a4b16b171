"""Diagnose: every check looks at the case, and what they find is explained."""

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.categories import category_signals
from charkha.monitoring.diagnosis.checks.features import FeatureView, feature_signals
from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.explain import explain
from charkha.monitoring.diagnosis.incident import Diagnosis


def diagnose(case: Case) -> Diagnosis:
    """Return what is wrong with a case, or that nothing is."""
    return explain(gather(case))


def gather(case: Case) -> Evidence:
    """Return all that the checks find."""
    view = FeatureView.of(case)
    return Evidence(case, [*feature_signals(case, view), *category_signals(case)], view)
