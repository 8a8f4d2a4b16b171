"""A diagnosis in words: the facts a person wants at 2 a.m., in that order, for the terminal, the page and the draft."""

from math import isfinite

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.incident import Diagnosis, Loss
from charkha.monitoring.diagnosis.performance_estimate import PerformanceEstimate
from charkha.monitoring.diagnosis.signal import Signal


def facts(found: Diagnosis) -> list[tuple[str, str]]:
    """Return what there is to say, each with its word."""
    looked = [("estimate", before_labels(found.before_labels))] if found.before_labels else []
    if found.cause is None:
        return [("looked at", f"{moment(found.watched.since_us)} to {moment(found.watched.until_us)}"), *looked]
    said = [("culprit", found.culprit.words)]
    if found.began_us is not None:
        interval = f"{moment(found.earliest_us or found.began_us)} to {moment(found.latest_us or found.began_us)}"
        said.append(("since", f"{moment(found.began_us)} (95 %: {interval})"))
    if found.until_us is not None:
        said.append(("until", moment(found.until_us)))
    said.append(("hits", f"{found.share:.1%} of the traffic"))
    if found.changes:
        said.append(("changed", "; ".join(found.changes)))
    if found.loss is not None and found.loss.now > found.loss.usual:
        said.append(("costs", loss_in_words(found.loss)))
    said += looked
    said.append(("to do", f"{found.remedy.words} [{found.remedy.action}]"))
    said.append(("confidence", f"{found.confidence:.1%}"))
    if found.also:
        beside = (f"{each.headline} ({each.culprit.words})" for each in found.also)
        said.append(("beside it", "; ".join(beside)))
    return said


def loss_in_words(loss: Loss) -> str:
    """Return what an incident costs in a sentence."""
    how = "estimated" if loss.estimated else "measured"
    said = f"{loss.metric} {loss.now:.4g}, usually {loss.usual:.4g}, {how} over {loss.rows:,} predictions"
    return said if loss.money is None else f"{said}: {loss.money:,.0f} in the unit of the model's costs"


def before_labels(of: PerformanceEstimate) -> str:
    """Return what is known of a metric over what was looked at, before its labels are there and as they come."""
    interval = f"{of.estimated:.3g} ({of.low:.3g} to {of.high:.3g})"
    realised = "nothing is known yet" if of.realised is None else f"realised of what is known {of.realised:.3g}"
    known = f"{realised}, {of.mature:.0%} of {of.rows:,} predictions"
    return f"before labels: {of.metric.replace('_', ' ')} estimated {interval}, {known}; blind to concept drift"


def moment(time_us: int) -> str:
    """Return a time to the minute, such as "2013-09-06 18:00"."""
    return to_iso(time_us)[:16].replace("T", " ")


def figure(value: float) -> str:
    """Return a number of a signal; a dash where there is none."""
    return f"{value:.4g}" if isfinite(value) else "–"


def strength(signal: Signal) -> str:
    """Return how strong the evidence is: the logarithm of the e-value, "exact" for an identity that does not hold."""
    return f"{signal.evidence:.1f}" if isfinite(signal.evidence) else "exact"
