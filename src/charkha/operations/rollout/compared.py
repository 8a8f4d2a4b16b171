"""What a comparison is of, in words: its name, what is counted of it, which way is better; and why none is planned."""

from math import ceil, sqrt

from charkha.operations.rollout.plan import LEAST_ENTITIES, SURELY, is_about_zero, least_mde
from charkha.operations.rollout.usual import Usual
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


def unplanned_in_words(usual: Usual, champion: str, model: Model) -> str:
    """Return why no A/B test can be planned by what the champion usually shows of what is compared."""
    mean = usual.mean
    if is_about_zero(mean):
        reach = SURELY * sqrt(mean.variance)
        measured = Estimate(mean.value, mean.value - reach, mean.value + reach, mean.rows)
        return (
            f"{name_of(model)} of {champion} is {with_interval(measured, digits_for(measured))}, about 0: "
            f"{percent(model.rollout.mde)} of that is no difference that an A/B test can be planned for"
        )
    if mean.clusters >= LEAST_ENTITIES:
        least = ceil(100 * least_mde(model.rollout, usual)) / 100
        return (
            f"a difference of {percent(model.rollout.mde)} of {name_of(model)} cannot be reached with these entities: "
            f"the {mean.clusters:,} of {champion} come again, and they differ too much among themselves, however many "
            f"{unit_of(model)}s come. Declare ck.compare(mde={least:g}) or more"
        )
    return (
        f"too few {unit_of(model)}s of {champion} have matured to plan the A/B test by: those of "
        f"{mean.clusters} entities, where {LEAST_ENTITIES} are needed"
    )
