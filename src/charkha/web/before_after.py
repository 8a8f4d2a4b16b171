"""A feature before and after an incident began, in figures: rows, nulls, level and quantiles."""

import polars as pl
from attrs import frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.performance import Span
from charkha.web.figures import percent_text
from charkha.web.incident_series import as_numbers, blamed_columns, of_culprit

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@frozen
class BeforeAfter:
    """Figures of one feature, each as (name, before, after) in words."""

    feature: str
    figures: tuple[tuple[str, str, str], ...]


def before_after(case: Case, diagnosis: Diagnosis) -> list[BeforeAfter]:
    """Return the figures of the features that are blamed; none where nothing began."""
    if diagnosis.began_us is None:
        return []
    rows = of_culprit(case.traffic.predictions, diagnosis.culprit).filter(pl.col("features_logged"))
    after = Span(diagnosis.began_us, diagnosis.until_us or case.watched.until_us)
    before, now = (
        rows.filter(pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left"))
        for span in (case.healthy, after)
    )
    names = blamed_columns(rows, diagnosis.culprit)
    return [BeforeAfter(name, _figures(before[name], now[name])) for name in names]


def _figures(before: pl.Series, after: pl.Series) -> tuple[tuple[str, str, str], ...]:
    both = (before, after)
    figures = [
        ("rows", *(f"{len(each):,}" for each in both)),
        ("null", *(percent_text(each.null_count() / max(1, len(each))) for each in both)),
        ("distinct values", *(f"{each.drop_nulls().n_unique():,}" for each in both)),
    ]
    if before.dtype == pl.String():
        figures.append(("commonest", *(_commonest(each) for each in both)))
    numbers = [each for each in map(as_numbers, both) if each is not None]
    if numbers:
        figures.append(("mean", *(_number(each.mean()) for each in numbers)))
        figures += [
            (f"{share:.0%} are below".replace("%", " %"), *(_number(each.quantile(share)) for each in numbers))
            for share in QUANTILES
        ]
    return tuple((name, one, other) for name, one, other in figures)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def _commonest(values: pl.Series) -> str:
    counts = values.drop_nulls().value_counts(sort=True).head(3)
    return ", ".join(f"{name} {count / len(values):.0%}" for name, count in counts.iter_rows()) or "–"
