"""How old the newest was that the state held of a key when it was asked for, as the server logs it."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from charkha.features.keys import key_column
from charkha.features.rows import read_rows
from charkha.spec.model import Model
from charkha.spec.views import FeatureView
from charkha.storage.log import Log


def ages_of(model: Model, root: Path, log: Log | None, asked: pl.DataFrame) -> Mapping[str, pl.Series]:
    """Return of each view how old the newest was that the state held of a key, in seconds, Float64 (n,).

    Of a view with latest values by the event time of the newest row; of any other since its newest tile began, one
    of the shortest hop. Null where nothing is stored, and of a source without times. asked: the views' keys and
    `_at_us`, (n,). Raises DataError for sources that cannot be read.
    """
    return {view.name: _age(view, root, log, asked) for view in model.views}


def _age(view: FeatureView, root: Path, log: Log | None, asked: pl.DataFrame) -> pl.Series:
    if view.source.static:
        return pl.Series([None], dtype=pl.Float64).new_from_index(0, asked.height)
    rows = read_rows(view.source, root, log).drop_nulls("_known_us")
    hop_us = min((window.hop_us for window in view.all_windows()), default=1)
    newest = pl.col("_event_us").cum_max().over("key") if view.latest else pl.col("_known_us") // hop_us * hop_us
    known = rows.select("_known_us", "_event_us").with_columns(key_column(rows, view.entity.keys).alias("key"))
    known = known.drop_nulls("key").sort("_known_us", maintain_order=True).select("key", "_known_us", _newest=newest)
    questions = pl.DataFrame({"key": key_column(asked, view.entity.keys), "_known_us": asked["_at_us"]})
    ordered = questions.with_row_index("_row").sort("_known_us")
    found = ordered.join_asof(known, on="_known_us", by="key", strategy="backward", check_sortedness=False)
    seconds = (found["_known_us"] - found["_newest"]).cast(pl.Float64) / 1e6
    return seconds.gather(found["_row"].arg_sort())
