"""What an incident costs in the unit of a model's costs, where it declares any."""

import polars as pl
from attrs import evolve

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.performance import Span
from charkha.spec.model import Costs, Model


def priced(diagnosis: Diagnosis, case: Case, model: Model) -> Diagnosis:
    """Return a diagnosis with what its loss is in money.

    It is the mean cost of decisions whose label is known since it began, less that of the healthy history, times all
    that was answered since. Unchanged without a loss, declared costs, or labels on either side.
    """
    if diagnosis.loss is None or diagnosis.began_us is None or model.task != "binary" or model.costs == Costs():
        return diagnosis
    costs = _costs(case, model.costs)
    since = Span(diagnosis.began_us, diagnosis.until_us or case.watched.until_us)
    usual, now = _mean(costs, case.healthy), _mean(costs, since)
    if usual is None or now is None:
        return diagnosis
    money = (now - usual) * _within(costs, since).height * case.traffic.weight
    return evolve(diagnosis, loss=evolve(diagnosis.loss, money=money))


def _costs(case: Case, costs: Costs) -> pl.DataFrame:
    """Return `_at_us` and `cost` of everything that was answered with a decision; cost is null without a label."""
    last = case.traffic.labels.unique("id", keep="last", maintain_order=True).select("id", "label")
    answered = case.traffic.predictions.filter((pl.col("role") != "shadow") & pl.col("decision").is_not_null())
    yes, true = pl.col("decision"), pl.col("label") > 0.5
    cost = (
        pl.when(yes)
        .then(pl.when(true).then(costs.true_positive).otherwise(costs.false_positive))
        .otherwise(pl.when(true).then(costs.false_negative).otherwise(costs.true_negative))
    )
    joined = answered.select("id", "_at_us", "decision").join(last, on="id", how="left", maintain_order="left")
    return joined.select("_at_us", cost=pl.when(pl.col("label").is_not_null()).then(cost))


def _within(rows: pl.DataFrame, span: Span) -> pl.DataFrame:
    return rows.filter(pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left"))


def _mean(costs: pl.DataFrame, span: Span) -> float | None:
    known = _within(costs, span)["cost"].drop_nulls()
    return float(known.to_numpy().mean()) if len(known) else None
