"""Rows that became known at the very time of a prediction: training counts them, and a server mostly cannot.

A payment is asked about first and written down afterwards, with the same time. In history its row is there at that
time; at the server it is not yet. Features that count it in training only are learnt from and never served.
"""

import logging
from collections.abc import Iterator

import polars as pl
from attrs import frozen

from charkha.features.reading import Readings
from charkha.spec.model import Model
from charkha.spec.views import FeatureView
from charkha.spec.windowed import count

logger = logging.getLogger(__name__)

# So many occasions are looked at; and of so many of them a row must be there for it to be no chance.
MOST_OCCASIONS, SHARE = 20_000, 0.5


@frozen
class Simultaneous:
    """Of how many occasions, of those looked at, a source has a row of the same key known at the very same time."""

    source: str
    view: str
    occasions: int
    of: int


def simultaneous_rows(model: Model, spine: pl.DataFrame, readings: Readings) -> Iterator[Simultaneous]:
    """Yield the sources of which most occasions have such a row, each once. spine: request fields and `_at_us`."""
    some = spine.gather_every(max(1, -(-spine.height // MOST_OCCASIONS)))
    told: set[str] = set()
    for view in model.views:
        if view.source.name in told or view.source.static:
            continue
        counted = FeatureView(view.name, view.entity, view.source, windows=[count(over="all")])
        asked = some.select(*view.entity.keys, "_at_us")
        both = pl.concat([asked, asked.with_columns(pl.col("_at_us") - 1)])
        rows = readings.of(view.source.name).joined(counted, both, lambda what: None).to_series()
        with_one = int((rows[: some.height] > rows[some.height :]).sum())
        if with_one >= SHARE * some.height:
            told.add(view.source.name)
            yield Simultaneous(view.source.name, view.name, with_one, some.height)


def say_simultaneous(model: Model, spine: pl.DataFrame, readings: Readings) -> None:
    """Warn of each such source, with the way out."""
    for found in simultaneous_rows(model, spine, readings):
        logger.warning(
            "model %s: for %s of %s occasions, a row of source %s became known at the very time of the prediction, and "
            "features of view %s count it. A server that predicts before the row comes does not: then declare "
            'lag="1s" on the source. If rows are pushed before they are asked about, all is well',
            model.name,
            f"{found.occasions:,}",
            f"{found.of:,}",
            found.source,
            found.view,
        )
