"""The features of questions over sources of any size, whichever way each of them is read."""

import polars as pl

from charkha.features.evaluate import logged
from charkha.features.plan import FeaturePlan
from charkha.features.reading import Doing, Readings
from charkha.features.request import with_request_features


def answered(
    plan: FeaturePlan, asked: pl.DataFrame, readings: Readings, *, doing: Doing = lambda what: None
) -> pl.DataFrame:
    """Return questions with their features.

    asked: the request's fields, the time as `plan.at` and, in µs, as `_at_us`; null for a question without features.
    doing: told what is going on. Request features that could not be evaluated are said in warnings. Raises DataError.
    """
    frame = asked
    for view in plan.views:
        frame = frame.hstack(readings.of(view.source.name, doing).joined(view, asked, doing))
    named = frame.with_columns(with_request_features(plan, frame, logged))
    return named.select(*asked.columns, *(name for name in plan.names if name not in asked.columns))
