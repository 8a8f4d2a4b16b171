"""Events come twice: what counts and adds counts them twice, unless a key tells that they are the same."""

from collections.abc import Mapping

import polars as pl
from attrs import evolve

from charkha.features.lineage import Derived
from charkha.features.plan import FeaturePlan
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_source, hit_rows
from charkha.operations.drills.derivation import reached
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident, check_subject
from charkha.operations.drills.targets import sources
from charkha.spec.aggregates import Aggregate

COUNTED = ("count", "sum", "decayed_sum")


def _duplicate_events(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, sources(traffic, rescore.plan), "a source")
    twice = fault.size or 0.0
    counted = _counted(rescore.plan, str(fault.subject))

    def doubled(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        return {
            each.feature: rows[each.feature] * pl.Series(1.0 + twice * reached(each, rows, fault.since_us))
            for each in counted
            if each.feature in rows.columns
        }

    bent = bend_source(traffic, hit_rows(traffic, fault), rescore, doubled) if counted else traffic
    span = fault.within(traffic.span)
    hit = (pl.col("source") == fault.subject) & pl.col("_hour_us").is_between(
        span.since_us, span.until_us, closed="left"
    )
    more = pl.when(hit).then((pl.col("rows") * twice).round(0).cast(pl.Int64)).otherwise(0)
    return evolve(bent, arrivals=bent.arrivals.with_columns(pl.col("rows") + more, pl.col("duplicates") + more))


def _counted(plan: FeaturePlan, source: str) -> list[Derived]:
    """Return the features that count or add rows of a source; none where its key makes a repeated row harmless."""
    return [
        Derived(f"{view.name}.{name}", view, declared.measure.kind, 1, window.size_us)
        for view in plan.views
        if view.source.name == source and not view.source.key
        for declared in view.windows
        if isinstance(declared, Aggregate) and declared.measure.kind in COUNTED
        for window in declared.windows()
        for name in window.names
    ]


INCIDENTS = (
    Incident(
        kind="duplicate_events",
        cause="source",
        words="a share of a source's rows comes twice; features change only where it has no key that tells them apart",
        inject=_duplicate_events,
        subjects=sources,
        unit="share of the rows",
        size=1.0,
        within="6h",
        rows=200,
        reaches=lambda fault, plan: bool(_counted(plan, str(fault.subject))),
        touches={"predictions", "recomputed", "arrivals"},
    ),
)
