"""Which segment a fault of a field is of, where the rows at fault are of one alone: one carrier, one city."""

from collections.abc import Iterator, Sequence
from math import log

import polars as pl
from attrs import frozen

from charkha.bundles.profile import NumericShape
from charkha.monitoring.diagnosis.checks.features import within
from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.serving.prediction_frames import REQUEST_PREFIX

# So many of the rows at fault may be of others: of windows that read a row or two of the segment's.
OTHERS = 0.05
# How unlikely it is at most (as a logarithm) that all rows at fault are of one segment by chance, over all segments.
BY_CHANCE = -log(1e-3)


@frozen
class Part:
    """The segment at fault, such as "carrier=UA", and how many times as large its values are; 1 if that is not told."""

    segment: str
    factor: float


def part_at_fault(evidence: Evidence, origin: tuple[str, str], since_us: int) -> Part | None:
    """Return the segment in which numbers lie far beyond all that they were, if they do so in one alone.

    origin: the source and its field. Of the features that read it only those of views by a segment tell: all others
    read the rows of many. None where they tell of no one.
    """
    numbers = {name for name, part in evidence.view.shape.parts.items() if isinstance(part, NumericShape)}
    names = [name for name in numbers if origin in evidence.origins.get(name, ())]
    for field in evidence.case.segments:
        keyed = sorted(name for name in names if field in _keys(evidence, name))
        if keyed and (found := _alone(evidence, field, keyed, since_us)):
            return found
    return None


def _keys(evidence: Evidence, feature: str) -> tuple[str, ...]:
    owner = evidence.view_of(feature)
    return next((tuple(view.entity.keys) for view in evidence.case.plan.views if view.name == owner), ())


def _alone(evidence: Evidence, field: str, names: Sequence[str], since_us: int) -> Part | None:
    segment = pl.col(REQUEST_PREFIX + field).cast(pl.String).alias("_segment")
    rows = evidence.case.traffic.predictions.filter(pl.col("role").is_in(["champion", "challenger"]))
    rows = rows.select("_at_us", segment, *names)
    healthy, since = within(rows, evidence.case.healthy), within(rows, evidence.since(since_us))
    at_fault = since.filter(pl.any_horizontal(_beyond(healthy, name) for name in names))
    if at_fault.is_empty() or healthy.is_empty():
        return None
    worst = at_fault["_segment"].value_counts(sort=True).row(0)
    usual, now = ((rows["_segment"] == worst[0]).mean() or 0.0 for rows in (healthy, since))
    if float(now) > 1 - OTHERS:  # on a Sunday all rows are of Sundays
        return None
    likely = log(1 / max(float(usual), 1 / healthy.height)) * worst[1] - log(healthy["_segment"].n_unique())
    if worst[0] is None or worst[1] < (1 - OTHERS) * at_fault.height or likely < BY_CHANCE:
        return None
    inside = pl.col("_segment") == worst[0]
    factors = list(_factors(healthy.filter(inside), since.filter(inside), names))
    return Part(f"{field}={worst[0]}", max(factors, default=1.0))


def _beyond(healthy: pl.DataFrame, name: str) -> pl.Expr:
    """Say whether a number lies beyond all that it was by more than that is wide."""
    low, high = healthy[name].min(), healthy[name].max()
    if not isinstance(low, float) or not isinstance(high, float):
        return pl.lit(value=False)
    return ~pl.col(name).is_between(low - (high - low), high + (high - low)) & pl.col(name).is_not_null()


def _factors(healthy: pl.DataFrame, since: pl.DataFrame, names: Sequence[str]) -> Iterator[float]:
    """Yield how many times as large numbers are, whatever their sign, by the medians: few rows tell that as well."""
    for name in names:
        before, now = (_size(rows[name]) for rows in (healthy, since))
        if before > 0 and now > 0:
            yield now / before


def _size(values: pl.Series) -> float:
    return float(values.abs().median() or 0.0)  # type: ignore[arg-type]
