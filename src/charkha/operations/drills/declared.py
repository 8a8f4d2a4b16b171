"""Incidents that a project declares, beside those of the catalogue."""

from collections.abc import Iterable, Mapping
from functools import partial

import polars as pl

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_served, bend_source, hit_rows
from charkha.operations.drills.catalogue import INCIDENTS
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.incident import Incident
from charkha.spec.drills import DeclaredIncident


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
    """Return the columns that a project's function has changed. Raises BadFault for what is not the same rows."""
    bent = declared.bend(rows, fault.size or 0.0, fault.seed)
    if not isinstance(bent, pl.DataFrame) or bent.height != rows.height or not set(rows.columns) <= set(bent.columns):
        found = f"{bent.height} rows" if isinstance(bent, pl.DataFrame) else type(bent).__name__
        remedy = "Return rows.with_columns(…): a frame of the same rows and columns."
        raise BadFault(fault, f"a function that returns its {rows.height} rows with all their columns", found, remedy)
    changed = [name for name in rows.columns if not bent[name].equals(rows[name], check_dtypes=True, null_equal=True)]
    return {name: bent[name] for name in changed}
