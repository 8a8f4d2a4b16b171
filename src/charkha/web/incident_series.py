"""What the report of an incident plots: the series of the culprit before and after, in blocks of time."""

from collections.abc import Iterator, Sequence

import polars as pl
from attrs import frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incident import Culprit, Diagnosis
from charkha.monitoring.performance import Span
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.durations import DAY_US, HOUR_US

BEFORE_US = 14 * DAY_US
BLOCKS_US = (HOUR_US, 3 * HOUR_US, 6 * HOUR_US, DAY_US, 7 * DAY_US)
MOST_BLOCKS = 180
MOST_FEATURES, MOST_LINES = 3, 4

Values = tuple[float | None, ...]


@frozen
class Line:
    """One series: a value for each block, None where there is none."""

    name: str
    values: Values


@frozen
class Plot:
    """Series over the same blocks. share: whether they are shares of 1. band: a lower and an upper line, or None."""

    title: str
    lines: tuple[Line, ...]
    share: bool = False
    band: tuple[Values, Values] | None = None


@frozen
class Blocks:
    """The blocks of time of a report: from `since_us` on, each `length_us` long."""

    span: Span
    length_us: int

    @property
    def count(self) -> int:
        """How many there are; the last may be cut off."""
        return -(-(self.span.until_us - self.span.since_us) // self.length_us)

    def by_block(self, rows: pl.DataFrame, time: str, **values: pl.Expr) -> dict[str, Values]:
        """Return values of each block, by name; None for a block without rows."""
        place = ((pl.col(time) - self.span.since_us) // self.length_us).alias("_block")
        inside = rows.filter(pl.col(time).is_between(self.span.since_us, self.span.until_us, closed="left"))
        found = inside.group_by(place).agg(**values)
        every = pl.DataFrame({"_block": range(self.count)}, schema={"_block": pl.Int64})
        whole = every.join(found, on="_block", how="left", maintain_order="left")
        return {name: tuple(whole[name].cast(pl.Float64).fill_nan(None)) for name in values}


def blocks_of(case: Case, diagnosis: Diagnosis) -> Blocks:
    """Return the blocks to plot: the window, and as much before it as is worth seeing."""
    began_us = min(case.watched.since_us, diagnosis.began_us or case.watched.since_us)
    until_us = case.watched.until_us
    since_us = max(case.healthy.since_us, began_us - BEFORE_US)
    length_us = next((each for each in BLOCKS_US if (until_us - since_us) / each <= MOST_BLOCKS), BLOCKS_US[-1])
    return Blocks(Span(since_us // length_us * length_us, until_us), length_us)


def plots(case: Case, diagnosis: Diagnosis, blocks: Blocks) -> list[Plot]:
    """Return the plots of a diagnosis, what it blames first."""
    rows = of_culprit(case.traffic.predictions, diagnosis.culprit)
    served = rows.filter(pl.col("role") != "fallback")
    found = [
        plot for name in blamed_columns(served, diagnosis.culprit) for plot in _feature(case, served, name, blocks)
    ]
    found += _arrivals(case, diagnosis.culprit.sources, blocks)
    if diagnosis.cause == "infrastructure":
        found += _server(case, blocks)
    if diagnosis.culprit.replicas:
        found.append(_by_replica(case, blocks))
    if diagnosis.cause in ("label", "concept", "prior", "population", "unknown"):
        found += _truth(case, served, blocks)
    return [*found, _score(served, blocks), _count(rows, blocks)]


def of_culprit(predictions: pl.DataFrame, culprit: Culprit) -> pl.DataFrame:
    """Return what was answered in the segments that are blamed, or everywhere; nobody heard a shadow."""
    predictions, chosen = predictions.filter(pl.col("role") != "shadow"), pl.lit(value=False)
    for segment in culprit.segments:
        name, _, value = segment.partition("=")
        if REQUEST_PREFIX + name not in predictions.columns:
            return predictions
        chosen |= pl.col(REQUEST_PREFIX + name).cast(pl.String) == value
    return predictions.filter(chosen) if culprit.segments else predictions


def blamed_columns(rows: pl.DataFrame, culprit: Culprit) -> list[str]:
    """Return the first features and fields of the request that are blamed, of those that were logged as columns."""
    return [name for name in culprit.features if name in rows.columns][:MOST_FEATURES]


def as_numbers(values: pl.Series) -> pl.Series | None:
    """Return values to take a level of, NaN as null and true as 1; None for text and times, which have none."""
    kind = values.dtype
    return values.cast(pl.Float64).fill_nan(None) if kind.is_numeric() or kind in (pl.Boolean, pl.Null) else None


def _feature(case: Case, rows: pl.DataFrame, name: str, blocks: Blocks) -> Iterator[Plot]:
    logged = rows.filter(pl.col("features_logged"))
    nulls = blocks.by_block(logged, "_at_us", nulls=pl.col(name).is_null().mean())["nulls"]
    if logged.schema[name] == pl.String():
        yield _categories(logged, name, blocks)
    elif (numbers := as_numbers(logged[name])) is not None:
        level = blocks.by_block(logged.with_columns(numbers), "_at_us", **_tenths(name))
        lines = (Line("median, as served", level["middle"]), *_again(case, rows, name, blocks))
        yield Plot(f"{name}: median, and from a tenth to nine tenths", lines, band=(level["low"], level["high"]))
    yield Plot(f"{name}: share of nulls", (Line("null", nulls),), share=True)


def _again(case: Case, rows: pl.DataFrame, name: str, blocks: Blocks) -> Iterator[Line]:
    """Yield a feature as it was recomputed, where it was: a field of the request came with the question."""
    if name not in case.traffic.recomputed.columns:
        return
    again = case.traffic.recomputed.join(rows.select("id", "version", "_at_us"), on=["id", "version"], how="inner")
    if again[name].null_count() < again.height:
        fresh = blocks.by_block(again, "_at_us", middle=pl.col(name).cast(pl.Float64).median())["middle"]
        yield Line("median, recomputed from the sources", fresh)


def _tenths(name: str) -> dict[str, pl.Expr]:
    column = pl.col(name).fill_nan(None)
    return {"low": column.quantile(0.1), "middle": column.median(), "high": column.quantile(0.9)}


def _categories(rows: pl.DataFrame, name: str, blocks: Blocks) -> Plot:
    common = rows[name].drop_nulls().value_counts(sort=True)[name].to_list()[:MOST_LINES]
    shares = {f"c{place}": (pl.col(name) == value).mean() for place, value in enumerate(common)}
    found = blocks.by_block(rows, "_at_us", **shares)
    lines = tuple(Line(value, found[f"c{place}"]) for place, value in enumerate(common))
    return Plot(f"{name}: shares of the commonest values", lines, share=True)


def _arrivals(case: Case, sources: Sequence[str], blocks: Blocks) -> Iterator[Plot]:
    for name in sources[:MOST_FEATURES]:
        rows = case.traffic.arrivals.filter(pl.col("source") == name)
        if not rows.is_empty():
            came = blocks.by_block(rows, "_hour_us", came=pl.col("rows").sum())["came"]
            yield Plot(f"source {name}: rows that came", (Line("rows", tuple(each or 0.0 for each in came)),))


def _server(case: Case, blocks: Blocks) -> Iterator[Plot]:
    vitals = case.traffic.vitals
    if vitals.is_empty():
        return
    lost = (pl.col("errors") + pl.col("sheds") + pl.col("timeouts")).sum() / pl.col("requests").sum()
    found = blocks.by_block(vitals, "_minute_us", lost=lost)
    yield Plot("calls that failed, were shed or timed out", (Line("share of calls", found["lost"]),), share=True)
    yield Plot(
        "latency, 95th percentile (ms)", _of_replicas(vitals, "_minute_us", pl.col("latency_ms_p95").mean(), blocks)
    )


def _by_replica(case: Case, blocks: Blocks) -> Plot:
    rows = case.traffic.predictions
    return Plot("score by replica: median", _of_replicas(rows, "_at_us", pl.col("score").median(), blocks))


def _of_replicas(rows: pl.DataFrame, time: str, value: pl.Expr, blocks: Blocks) -> tuple[Line, ...]:
    names = rows["replica"].drop_nulls().unique().sort().to_list()[:MOST_LINES]
    of_each = {name: blocks.by_block(rows.filter(pl.col("replica") == name), time, value=value) for name in names}
    return tuple(Line(name, found["value"]) for name, found in of_each.items())


def _truth(case: Case, rows: pl.DataFrame, blocks: Blocks) -> Iterator[Plot]:
    last = case.traffic.labels.unique("id", keep="last", maintain_order=True).select("id", "label")
    joined = rows.filter(pl.col("role") != "shadow").join(last, on="id", how="left")
    known = blocks.by_block(joined, "_at_us", share=pl.col("label").is_not_null().mean())["share"]
    labelled = joined.filter(pl.col("label").is_not_null())
    means = blocks.by_block(labelled, "_at_us", label=pl.col("label").mean(), score=pl.col("score").mean())
    lines = (Line("what became true", means["label"]), Line("what was predicted", means["score"]))
    yield Plot("mean label and mean score, where the label is known", lines)
    yield Plot("share of predictions whose label is known", (Line("known", known),), share=True)


def _score(rows: pl.DataFrame, blocks: Blocks) -> Plot:
    level = blocks.by_block(rows, "_at_us", **_tenths("score"))
    lines = (Line("median", level["middle"]),)
    return Plot("score: median, and from a tenth to nine tenths", lines, band=(level["low"], level["high"]))


def _count(rows: pl.DataFrame, blocks: Blocks) -> Plot:
    count = blocks.by_block(rows, "_at_us", count=pl.len())["count"]
    return Plot("predictions", (Line("predictions", tuple(each or 0.0 for each in count)),))
