"""Incidents that a project declares, beside those of the catalogue."""

from collections.abc import Iterable, Mapping
from functools import partial

import polars as pl

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import PREDICTIONS, Traffic
from charkha.operations.drills.bending import bend_served, bend_source, hit_rows
from charkha.operations.drills.catalogue import INCIDENTS
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.incident import Incident
from charkha.spec.drills import DeclaredIncident
from charkha.spec.failures import ANY_FAILS

# What a version answers, and how long it takes.
OUTPUTS = ("score", "decision", "latency_us")


def with_declared(declared: Iterable[DeclaredIncident]) -> Mapping[str, Incident]:
    """Return the catalogue with what a project declares; one of the same name takes the place of ours."""
    return {**INCIDENTS, **{each.name: _incident(each) for each in declared}}


def _incident(declared: DeclaredIncident) -> Incident:
    of_source = declared.cause == "source"
    return Incident(
        kind=declared.name,
        cause=declared.cause,
        words=(declared.bend.__doc__ or "as the project declares it").partition("\n")[0],
        inject=partial(_bend, declared),
        unit="as the project declares it",
        size=declared.size,
        harmful=declared.harmful,
        every_row=declared.every_row,
        within=declared.within,
        rows=declared.rows,
        touches={"predictions", "recomputed"} if of_source else {"predictions"},
    )


def _bend(declared: DeclaredIncident, traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    bend = bend_source if declared.cause == "source" else bend_served
    return bend(traffic, hit_rows(traffic, fault), rescore, partial(_changed, declared, fault))


def _changed(declared: DeclaredIncident, fault: Fault, rows: pl.DataFrame) -> Mapping[str, pl.Series]:
    """Return the columns that a project's function has changed.

    Raises BadFault for a function that raises, for what is not the same rows, and for what it may not change.
    """
    try:
        bent = declared.bend(rows.clone(), fault.size or 0.0, fault.seed)
    except ANY_FAILS as error:
        found = f"{type(error).__name__}: {error}"
        raise BadFault(fault, f"a function that bends {rows.height} rows", found, "Mend the function.") from error
    if not isinstance(bent, pl.DataFrame) or bent.height != rows.height or not set(rows.columns) <= set(bent.columns):
        found = f"{bent.height} rows" if isinstance(bent, pl.DataFrame) else type(bent).__name__
        remedy = "Return rows.with_columns(…): a frame of the same rows and columns."
        raise BadFault(fault, f"a function that returns its {rows.height} rows with all their columns", found, remedy)
    _require_types(fault, rows, bent)
    changed = [name for name in rows.columns if not bent[name].equals(rows[name], null_equal=True)]
    if kept := [name for name in changed if not may_change(name)]:
        remedy = "Change request.<field>, features, age.<view>, score, decision or latency_us: no other column."
        raise BadFault(fault, f"{', '.join(kept)} as they were", "other values", remedy)
    return {name: bent[name] for name in changed}


def _require_types(fault: Fault, rows: pl.DataFrame, bent: pl.DataFrame) -> None:
    for name, kind in rows.schema.items():
        if bent.schema[name] != kind:
            remedy = f"Keep the types: pl.col({name!r}) … .cast(pl.{kind})."
            raise BadFault(fault, f"column {name!r} of type {kind}", str(bent.schema[name]), remedy)


def may_change(column: str) -> bool:
    """Say whether an incident of a project may change a column: see `DeclaredIncident`."""
    return column in OUTPUTS or column not in PREDICTIONS
