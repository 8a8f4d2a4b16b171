"""Skew as a monitor: a sample of what was served, recomputed once a day, and once more before a shadow is promoted.

A measurement reads the rows of the keys in question and recomputes a few hundred predictions; what it found is a
checkpoint in the ledger, so that it is not done twice and every look can see it. It rests on the tables that `collect`
has written.
"""

import msgspec
from attrs import frozen

from charkha.bundles.store import BundleStore
from charkha.clock import to_iso
from charkha.engines.engine import Engine
from charkha.monitoring.findings import Finding
from charkha.monitoring.performance import Span
from charkha.monitoring.served import sample_of, served_by_tables
from charkha.monitoring.shares import wilson
from charkha.monitoring.skew_tally import VerifiedFeature
from charkha.monitoring.verify import Recomputer
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.ledger import Ledger

# A measurement that ended before so long is told no more.
CURRENT_US = 2 * DAY_US


class SkewMeasure(msgspec.Struct, frozen=True):
    """What a sample of a version's predictions showed. skewed: the features that differ, the earliest first.

    since_us, until_us: the span that was sampled. predictions: how many were drawn from it.
    """

    version: str
    since_us: int
    until_us: int
    predictions: int
    skewed: tuple[VerifiedFeature, ...]


def last_measure(ledger: Ledger, model: str, version: str) -> SkewMeasure | None:
    """Return what was last measured of a version; None when nothing was."""
    found = ledger.checkpoint(_checkpoint(model, version))
    return None if found is None else msgspec.convert(found, SkewMeasure)


@frozen(eq=False)
class SkewWatch:
    """Measures the skew of one model's versions."""

    project: Project
    model: Model
    home: Home
    bundles: BundleStore
    engine: Engine

    def watch(self, version: str, now_us: int) -> SkewMeasure | None:
        """Measure what a version scored yesterday (UTC), unless that was done, or the monitor is off.

        Raises what `Recomputer.verify` raises.
        """
        today_us = now_us // DAY_US * DAY_US
        last = last_measure(self.home.ledger, self.model.name, version)
        if not self.model.monitors.skew_sample or (last is not None and last.until_us >= today_us):
            return None
        return self.measure(version, Span(today_us - DAY_US, today_us))

    def measure(self, version: str, span: Span) -> SkewMeasure:
        """Recompute a sample of what a version scored in a span, and remember what was found. Raises as `watch`."""
        name, most = self.model.name, self.model.monitors.skew_sample
        drawn = sample_of(served_by_tables(self.home, name, span, version), most)
        with Recomputer.opened(self.project, self.model, self.home, self.engine) as recomputer:
            found = recomputer.verify([] if drawn is None else [drawn])
        measure = SkewMeasure(version, span.since_us, span.until_us, found.predictions, tuple(found.skewed))
        self.home.ledger.set_checkpoint(_checkpoint(name, version), msgspec.to_builtins(measure))
        return measure


def skew_findings(model: str, measure: SkewMeasure | None, now_us: int) -> list[Finding]:
    """Return one finding per feature that differs, its value the share of the sample; one of all when none does.

    None for a measurement of long ago, or of nothing.
    """
    if measure is None or not measure.predictions or measure.until_us < now_us - CURRENT_US:
        return []
    if measure.skewed:
        return [_finding(model, measure, now_us, feature) for feature in measure.skewed]
    agrees = f"the features of {measure.predictions:,} predictions of {to_iso(measure.since_us)[:10]} agree"
    return [_of(model, measure, now_us, ("features", 0, measure.predictions, f"{agrees} with their recomputation"))]


def skew_in_words(feature: VerifiedFeature) -> str:
    """Return a feature's skew in words, with its first prediction and the cause, where it is known."""
    said = f"{feature.feature} was served otherwise than it is recomputed on {feature.different:,} of "
    said += f"{feature.compared:,} predictions"
    first = feature.first
    if first is None:
        return said
    said += f", first at {first.time}: served {first.served!r}, recomputed {first.recomputed!r}"
    cause = first.cause
    return f"{said} ({cause.kind.replace('_', ' ')}, {cause.culprit}: {cause.reason})" if cause else said


def _finding(model: str, measure: SkewMeasure, now_us: int, feature: VerifiedFeature) -> Finding:
    return _of(model, measure, now_us, (feature.feature, feature.different, feature.compared, skew_in_words(feature)))


def _of(model: str, measure: SkewMeasure, now_us: int, found: tuple[str, int, int, str]) -> Finding:
    subject, different, compared, message = found
    low, high = wilson(different, compared)
    return Finding(
        time_us=now_us,
        model=model,
        version=measure.version,
        kind="skew",
        subject=subject,
        value=different / compared,
        low=low,
        high=high,
        threshold=0.0,
        significant=different > 0,
        message=message,
    )


def _checkpoint(model: str, version: str) -> str:
    return f"skew/{model}/{version}"
