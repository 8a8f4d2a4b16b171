"""A field comes in another unit: seconds for minutes, kilometres for miles."""

import polars as pl

from charkha.features.lineage import Derived
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.field_faults import bend_field
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.targets import source_fields
from charkha.spec.model import FloatArray

# Aggregations that follow the first rows of the new unit, if it makes them larger, and the last of the old otherwise.
EXTREMES = {"max": True, "min": False}


def _unit_change(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    factor = fault.size or 1.0

    def scaled(values: pl.Series, share: FloatArray, rows: pl.DataFrame, derived: Derived | None) -> pl.Series:
        if derived is not None and derived.kind in EXTREMES:
            at_once = (factor > 1) == EXTREMES[derived.kind]
            share = (share > 0 if at_once else share >= 1).astype(float)
        times = 1.0 + (factor ** (1 if derived is None else derived.power) - 1.0) * share
        return values.cast(pl.Float64) * pl.Series(times)

    return bend_field(traffic, fault, rescore, scaled)


INCIDENTS = (
    Incident(
        kind="unit_change",
        cause="source",
        words="a field comes in another unit, and every feature that reads it is as many times as large",
        inject=_unit_change,
        subjects=source_fields,
        unit="factor",
        size=60.0,
        within="2h",
        rows=100,
        touches={"predictions", "recomputed"},
    ),
)
