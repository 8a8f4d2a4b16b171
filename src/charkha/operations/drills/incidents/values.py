"""A field loses its values: they are null, or always the same."""

import polars as pl

from charkha.features.lineage import Derived, derived_from
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import AGE_PREFIX, Traffic
from charkha.operations.drills.bending import lots, lots_of, where
from charkha.operations.drills.derivation import key_of
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.field_faults import bend_field
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.targets import Target, any_fields
from charkha.spec.model import FloatArray

ADDED = ("sum", "decayed_sum")
NEWEST = ("latest", "last", "last_k")
# What tells values apart finds that there is one.
SPREAD = {"variance": 0.0, "std": 0.0, "distinct": 1.0}


def null_flood(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Make a share of a field's values null: features of the newest row are, sums are smaller, means know no better."""
    lost = fault.size or 0.0

    def without(values: pl.Series, share: FloatArray, rows: pl.DataFrame, derived: Derived | None) -> pl.Series:
        if derived is None or derived.kind in NEWEST:
            gone = (share > 0) & (_lots_of_newest(rows, derived, fault.seed) < lost)
        else:
            gone = (share >= 1) & (lost >= 1)
            if derived.kind in ADDED:
                values = values * pl.Series(1.0 - lost * share)
        return where(gone, values.clear(len(values)), values)

    return bend_field(traffic, fault, rescore, without)


def _lots_of_newest(rows: pl.DataFrame, derived: Derived | None, seed: int) -> FloatArray:
    """Return one lot per newest row that was read: it is null for all who read it, or for none."""
    name = AGE_PREFIX + derived.view.name if derived else ""
    if derived is None or name not in rows.columns or rows[name].null_count() == rows.height:
        return lots(rows, seed)
    second = (rows["_at_us"] / 1e6 - rows[name]).round(0).cast(pl.Int64, strict=False)
    return lots_of(key_of(derived.view, rows).fill_null("") + "@" + second.cast(pl.String).fill_null(""), seed)


def _constant(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    plan, before = rescore.plan, traffic.predictions.filter(pl.col("_at_us") < fault.since_us)
    before = before if before.height else traffic.predictions
    owner, _, column = Target.of(fault.subject or "").name.partition(".")
    alike = [each.feature for each in derived_from(plan, owner, column) if each.kind not in (*ADDED, "variance", "std")]
    known = [name for name in alike if name in before.columns]
    stuck = _typical(before[known[0]]) if known else None

    def constant(values: pl.Series, share: FloatArray, rows: pl.DataFrame, derived: Derived | None) -> pl.Series:
        own = values.name
        if derived is not None and derived.kind in ("count", "time_since_last", "ratio"):
            return values
        if values.dtype == pl.String or derived is None or derived.kind in NEWEST:
            same = stuck if derived is not None and derived.kind in NEWEST else _typical(before[own])
            fixed = pl.Series([same], dtype=values.dtype).new_from_index(0, len(values))
            return where((share > 0) & values.is_not_null().to_numpy(), fixed, values)
        goal = before[own].median() if derived.kind in ADDED else SPREAD.get(derived.kind, stuck)
        return values + (pl.Series([goal], dtype=pl.Float64) - values) * pl.Series(share)

    return bend_field(traffic, fault, rescore, constant)


def _typical(values: pl.Series) -> object:
    if values.dtype.is_numeric():
        return values.median()
    common = values.drop_nulls().mode().sort()
    return common[0] if len(common) else None


INCIDENTS = (
    Incident(
        kind="null_flood",
        cause="source",
        words="a field's values are missing: the latest are null at once, means once their window is empty",
        inject=null_flood,
        subjects=any_fields,
        unit="share of the rows",
        size=1.0,
        within="2h",
        rows=100,
        touches={"predictions", "recomputed"},
    ),
    Incident(
        kind="constant",
        cause="source",
        words="a field has the same value in every row",
        inject=_constant,
        subjects=any_fields,
        unit="none",
        size=1.0,
        within="6h",
        rows=200,
        touches={"predictions", "recomputed"},
    ),
)
