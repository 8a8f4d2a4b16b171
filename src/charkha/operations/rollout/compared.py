"""What a comparison is of, in words: its name, what is counted of it, which way is better; and why none is planned."""

from math import sqrt

from charkha.monitoring.sequential.clusters import ClusterMean
from charkha.operations.rollout.plan import LEAST_ENTITIES, SURELY, is_about_zero
from charkha.operations.wording import digits_for, metric_name, percent, with_interval
from charkha.spec.model import Model
from charkha.training.metrics import Estimate


def name_of(model: Model) -> str:
    """Return what is compared as people call it."""
    return metric_name(model.rollout.compare.metric)


def unit_of(model: Model) -> str:
    """Return what is counted: labels, or the values of a business metric."""
    return "value" if model.business_metric else "label"


def better_in_words(model: Model) -> str:
    """Return which way is better, of a business metric; of a loss that goes without saying, and this is empty."""
    return f"{model.business[model.business_metric]} is better" if model.business_metric else ""


def unplanned_in_words(usual: ClusterMean, champion: str, model: Model) -> str:
    """Return why no A/B test can be planned by what the champion shows. usual: the mean of what is compared."""
    if not is_about_zero(usual):
        return (
            f"too few {unit_of(model)}s of {champion} have matured to plan the A/B test by: those of "
            f"{usual.clusters} entities, where {LEAST_ENTITIES} are needed"
        )
    reach = SURELY * sqrt(usual.variance)
    measured = Estimate(usual.value, usual.value - reach, usual.value + reach, usual.rows)
    return (
        f"{name_of(model)} of {champion} is {with_interval(measured, digits_for(measured))}, about 0: "
        f"{percent(model.rollout.mde)} of that is no difference that an A/B test can be planned for"
    )
