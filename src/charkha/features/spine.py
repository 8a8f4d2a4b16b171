"""The occasions to predict: one row each, with what a request carried, when, and (later) the truth."""

from collections.abc import Sequence

import polars as pl

from charkha.spec.model import Label


def label_spine(label: Label, request: Sequence[str], rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per occasion, in the order of the time of prediction.

    rows: of the label's source, as of `read_rows`. Columns: the request fields, the `at` column, the source's key,
    `_at_us`, `_label` (float64, null where there is none) and `_label_known_us` (null where it is never known). Of a
    corrected row the newest version known counts. Rows without a time of prediction are left out.
    """
    source = label.source
    if source.key:
        rows = rows.unique(subset=list(source.key), keep="last", maintain_order=True)
    kept = list(dict.fromkeys((*request, label.at, *source.key)))
    known = pl.col("_known_us") if label.known in (None, source.known) else pl.col(str(label.known)).dt.epoch("us")
    spine = rows.select(
        *kept,
        _at_us=pl.col(label.at).dt.epoch("us"),
        _label=label.truth.cast(pl.Float64),
        _label_known_us=known,
    )
    spine = spine.filter(pl.col("_at_us").is_not_null())
    unknown = pl.col("_label_known_us").is_null()
    return spine.with_columns(_label=pl.when(unknown).then(None).otherwise(pl.col("_label"))).sort(
        "_at_us", maintain_order=True
    )
