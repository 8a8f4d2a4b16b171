"""Faults of one field, of a source or of the request: what each value becomes, carried to all that reads the field."""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from charkha.features.lineage import Derived, derived_from
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_source, hit_rows
from charkha.operations.drills.derivation import reached
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.targets import Target, in_segment
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.model import FloatArray

# (values, share of what they read that is bent: float64 (rows,), the rows, what the feature is: None for a field of the
# request itself) → bent values
Effect = Callable[[pl.Series, FloatArray, pl.DataFrame, Derived | None], pl.Series]


def bend_field(traffic: Traffic, fault: Fault, rescore: Rescore, effect: Effect) -> Traffic:
    """Bend a field of a source or of the request, and every feature that reads it. Raises BadFault."""
    target = Target.of(fault.subject or "")
    owner, _, column = target.name.partition(".")
    found = derived_from(rescore.plan, owner, column)
    asked = target.request_field
    if not found and (asked is None or asked not in traffic.request_fields):
        remedy = 'Name one as "source.field" or "request.field".'
        raise BadFault(fault, "a field of a source that a view reads, or of the request", repr(fault.subject), remedy)
    share = float(in_segment(traffic.predictions, target.segment).mean()) if target.segment else 1.0

    def change(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        inside = in_segment(rows, target.segment)
        if asked is not None and not found:
            name = REQUEST_PREFIX + asked
            return {name: effect(rows[name], inside.astype(np.float64), rows, None)}
        of_segment = target.segment.partition("=")[0] if target.segment else None
        bent = {}
        for each in (each for each in found if each.feature in rows.columns):
            weights = reached(each, rows, fault.since_us)
            # A view of all segments together reads the bent rows in proportion; one by segment, those of its own.
            weights = weights * (inside if of_segment in each.view.entity.keys or not of_segment else share)
            bent[each.feature] = effect(rows[each.feature], weights, rows, each)
        return bent

    return bend_source(traffic, hit_rows(traffic, fault), rescore, change)
