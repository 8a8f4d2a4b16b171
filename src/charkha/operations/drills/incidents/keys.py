"""Rows are joined by the wrong key: each question has the features of another one."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from charkha.features.lineage import names_of_view
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import AGE_PREFIX, Traffic
from charkha.operations.drills.bending import Change, bend_served, bend_source, hit_rows
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident, check_subject
from charkha.operations.drills.targets import views

# Another question is one of so many around it: of about the same time, so that only the key is wrong.
NEIGHBOURS = 64


def _mixed(traffic: Traffic, fault: Fault, rescore: Rescore) -> Change:
    check_subject(fault, views(traffic, rescore.plan), "a view")
    view = str(fault.subject)

    def of_another(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        random = np.random.default_rng(fault.seed)
        order = np.arange(rows.height)
        for start in range(0, rows.height, NEIGHBOURS):
            random.shuffle(order[start : start + NEIGHBOURS])
        names = [*names_of_view(rescore.plan, view), AGE_PREFIX + view]
        return {name: rows[name].gather(pl.Series(order)) for name in names if name in rows.columns}

    return of_another


def _wrong_join_key(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    return bend_source(traffic, hit_rows(traffic, fault), rescore, _mixed(traffic, fault, rescore))


def _wrong_lookup_key(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    return bend_served(traffic, hit_rows(traffic, fault), rescore, _mixed(traffic, fault, rescore))


INCIDENTS = (
    Incident(
        kind="wrong_join_key",
        cause="source",
        words="the rows of a view's source carry another's key: each question has the features of another one",
        inject=_wrong_join_key,
        subjects=views,
        unit="none",
        size=1.0,
        within="12h",
        rows=500,
        touches={"predictions", "recomputed"},
    ),
    Incident(
        kind="wrong_lookup_key",
        cause="skew",
        words="the server looks features of a view up by the wrong key; the sources are right",
        inject=_wrong_lookup_key,
        subjects=views,
        unit="none",
        size=1.0,
        within="12h",
        rows=500,
        touches={"predictions"},
    ),
)
