"""The occasions to predict: one row each, with what a request carried, when, and (later) the truth."""

from collections.abc import Sequence

import polars as pl

from charkha.spec.model import Label


def label_fields(label: Label, request: Sequence[str]) -> list[str]:
    """Return the fields of a label's source that `label_spine` reads."""
    times = [label.at, *([label.known] if label.known else [])]
    return list(dict.fromkeys((*request, *times, *label.source.key, *label.truth.meta.root_names())))


def label_spine(label: Label, request: Sequence[str], rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per occasion, in the order of the time of prediction.

    rows: of the label's source, as of `read_rows`; `label_fields` and the times are enough. Columns: the request
    fields, the `at` column, the source's key, `_at_us`, `_label` (float64, null where there is none), `_label_known_us`
    (null where it is never known) and `_first_known_us`, from when a feature of this source may have seen a truth of
    the row. Of a corrected row, the request is what the first version said and the truth what the newest says: a
    correction comes too late for the one, and is the point of the other; but the first version that told a truth gave
    it away. Rows without a time of prediction are left out.
    """
    key = list(label.source.key)
    asked = list(dict.fromkeys((*request, label.at, *key)))
    known = pl.col("_known_us") if label.known in (None, label.source.known) else _micros(str(label.known))
    truth = {"_label": label.truth.cast(pl.Float64), "_label_known_us": known, "_first_known_us": known}
    if key and not rows["_first"].all():
        told = pl.when(truth["_label"].is_not_null()).then(known)
        versions = rows.select(*key, **{**truth, "_first_known_us": told.min().over(key)})
        newest = versions.unique(subset=key, keep="last", maintain_order=True)
        spine = (
            rows.filter("_first").select(*asked, _at_us=_micros(label.at)).join(newest, on=key, maintain_order="left")
        )
    else:
        spine = rows.select(*asked, _at_us=_micros(label.at), **truth)
    never = pl.col("_label_known_us").is_null()
    spine = spine.with_columns(_label=pl.when(never).then(None).otherwise(pl.col("_label")))
    return spine.filter(pl.col("_at_us").is_not_null()).sort("_at_us", maintain_order=True)


def _micros(column: str) -> pl.Expr:
    return pl.col(column).dt.epoch("us")
