"""Incidents of drills put into the past that a backtest lives through: what was served, learnt from and told changes.

A source that is broken changes what is served and what is trained on, for both read the same rows; a skew changes only
what is served; labels that are wrong are told, and learnt from. What is true stays true: by that policies are measured.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.clock import to_iso
from charkha.features.plan import FeaturePlan
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import LABELS, RECOMPUTED, VITALS, Traffic
from charkha.operations.backtest.history import History, predictions_of
from charkha.operations.drills.catalogue import INCIDENTS, inject
from charkha.operations.drills.fault import BadFault, Fault
from charkha.spec.durations import DAY_US
from charkha.spec.model import FloatArray

# What happens to data and labels, and what never is a reason to learn from them.
DATA_FAULTS = tuple(
    kind
    for kind, incident in sorted(INCIDENTS.items())
    if kind == "stale_store" or incident.cause in ("source", "skew", "label")
)
# An incident lasts so long, and begins so long after the one before and after the beginning: models have settled.
LASTS_US, APART_US, QUIET_US = 3 * DAY_US, 10 * DAY_US, 21 * DAY_US


class Misfit(ValueError):
    """Incidents that cannot be put into a past; says why."""


@frozen(eq=False)
class _Unscored:
    """Stands for the models of a past that nobody has lived through yet: whatever is served is scored later."""

    plan: FeaturePlan

    def __call__(self, rows: pl.DataFrame) -> tuple[FloatArray, None]:
        return np.full(rows.height, np.nan), None


def planned(history: History, kinds: Sequence[str], span: Span) -> list[Fault]:
    """Return when incidents of some kinds happen: one after the other, spread over the span.

    What this past cannot have is left out. Raises Misfit for a kind that changes no data, or without room for all.
    """
    for kind in kinds:
        if kind not in DATA_FAULTS:
            raise Misfit(f"expected kinds of incident in data ({', '.join(DATA_FAULTS)}), got {kind!r}")
    starts = range(span.since_us + QUIET_US, span.until_us - LASTS_US, APART_US)
    if len(starts) < len(kinds):
        least = (QUIET_US + LASTS_US + len(kinds) * APART_US) // DAY_US
        raise Misfit(f"expected {least} days or more for {len(kinds)} incidents, got {span.days:.0f}. Name fewer kinds")
    spread = np.linspace(0, len(starts) - 1, len(kinds)).round().astype(int)
    faults = [
        Fault(kind, starts[place] + DAY_US // 3, starts[place] + DAY_US // 3 + LASTS_US, seed=number)
        for number, (kind, place) in enumerate(zip(kinds, spread, strict=True))
    ]
    found = [_resolved(history, fault, span) for fault in faults]
    return [fault for fault in found if fault is not None]


def put_in(history: History, faults: Sequence[Fault], span: Span) -> History:
    """Return a past with faults in it. Raises Misfit."""
    for fault in faults:
        history = _with(history, fault, span)
    return history


def fault_in_words(fault: Fault) -> str:
    """Return a fault in words, such as "null_flood of weather.temp, 2013-05-01 to 2013-05-04"."""
    of = f" of {fault.subject}" if fault.subject else ""
    until = to_iso(fault.until_us)[:10] if fault.until_us is not None else "the end"
    return f"{fault.kind}{of}, {to_iso(fault.since_us)[:10]} to {until}"


def _resolved(history: History, fault: Fault, span: Span) -> Fault | None:
    """Return a fault with its subject and size; None where this past cannot have it."""
    try:
        return INCIDENTS[fault.kind].resolved(fault, _traffic(history, fault, span)[0], history.plan)
    except BadFault:
        return None


def _with(history: History, fault: Fault, span: Span) -> History:
    traffic, places = _traffic(history, fault, span)
    bent = inject(traffic, fault, _Unscored(history.plan))
    if not bent.predictions["id"].equals(traffic.predictions["id"]):
        raise Misfit(f"{fault.kind}: expected an incident that leaves the occasions as they are")
    made = bent.recomputed.select(traffic.features)
    return evolve(
        history,
        served=_spliced(history.served, bent.predictions.select(history.served.columns), places),
        features=_spliced(history.features, made.select(history.features.columns), places),
        told=_retold(history, bent.labels, places),
        arrivals=_rearrived(history, traffic, bent),
        changes=(*history.changes, *bent.changes),
    )


def _traffic(history: History, fault: Fault, span: Span) -> tuple[Traffic, slice]:
    """Return what was served around a fault, with all of it recomputed, and the places of its occasions."""
    around = Span(max(0, fault.since_us - 14 * DAY_US), min(span.until_us, (fault.until_us or span.until_us) + DAY_US))
    places = history.places(around)
    rows = pl.Series(np.arange(places.start, places.stop)).cast(pl.Int64)
    served = predictions_of(history.served[places], rows, history.spine["_at_us"][places])
    predictions = served.with_columns(version=pl.lit("v1"), score=pl.lit(0.5))
    within = pl.col("_row").is_between(places.start, places.stop, closed="left")
    came = pl.col("_hour_us").is_between(around.since_us, around.until_us, closed="left")
    made = predictions.select("id", "version").hstack(history.features[places])
    traffic = Traffic(
        model=history.model.name,
        span=around,
        predictions=predictions,
        labels=history.told.filter(within).select(LABELS.names()),
        arrivals=history.arrivals.filter(came),
        vitals=pl.DataFrame(schema=VITALS),
        recomputed=made.select(*RECOMPUTED, *history.features.columns),
    )
    return traffic, places


def _spliced(whole: pl.DataFrame, part: pl.DataFrame, places: slice) -> pl.DataFrame:
    return pl.concat([whole[: places.start], part.cast(whole.schema), whole[places.stop :]])


def _retold(history: History, labels: pl.DataFrame, places: slice) -> pl.DataFrame:
    own = pl.col("_row").is_between(places.start, places.stop, closed="left")
    told = labels.with_columns(_row=pl.col("id").cast(pl.Int64)).select(history.told.columns)
    return pl.concat([history.told.filter(~own), told]).sort("_label_known_us", maintain_order=True)


def _rearrived(history: History, before: Traffic, bent: Traffic) -> pl.DataFrame:
    kept = history.arrivals.join(before.arrivals, on=["source", "_hour_us"], how="anti")
    return pl.concat([kept, bent.arrivals]).sort("source", "_hour_us", maintain_order=True)
