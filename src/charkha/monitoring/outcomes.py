"""Predictions joined with what became true of them, as far as that was known at a time."""

from collections.abc import Sequence

import polars as pl

from charkha.monitoring.collect import collect, labels_table, predictions_table
from charkha.monitoring.parts import PartReader
from charkha.serving.labels import LABEL_SCHEMA, METRIC_PREFIX
from charkha.serving.prediction_frames import PREDICTION_SCHEMA, REQUEST_PREFIX
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.home import Home

__all__ = ["OutcomeReader", "collect", "outcomes"]

COLUMNS = ("id", "_at_us", "version", "role", "score", "decision")


def outcomes(home: Home, model: Model, since_us: int, until_us: int, as_of_us: int) -> pl.DataFrame:
    """Return the predictions made from `since_us` until `until_us` with their labels as known at `as_of_us`.

    One row per version that scored a request, day by day, in the order of the log; what a fallback answered in its
    place is left out. Columns: id, _at_us, version, role, score, decision, `request.<field>` for each slice of the
    model, _label (Float64; null when none was known) and _label_known_us. Of several labels for one id the one known
    last counts, and of a business metric too, whichever call it came with. Reads what `collect` has written.
    """
    return OutcomeReader(home, model).outcomes(since_us, until_us, as_of_us)


class OutcomeReader:
    """Reads outcomes again and again; what a window shares with the one before is not read from disk again.

    besides: further columns of predictions that are wanted. fallbacks: whether what a fallback answered is, too.
    metric: a business metric that is wanted as well, as `_metric.<name>`; null where it was not told.
    """

    def __init__(
        self,
        home: Home,
        model: Model,
        besides: Sequence[str] = (),
        *,
        fallbacks: bool = False,
        metric: str | None = None,
    ) -> None:
        self._fallbacks = fallbacks
        self._metric = None if metric is None else METRIC_PREFIX + metric
        wanted = [*COLUMNS, *besides, *(REQUEST_PREFIX + name for name in model.slices)]
        self._columns = list(dict.fromkeys(wanted))
        self._predictions = PartReader(home.tables, predictions_table(model.name), self._chosen)
        self._labels = PartReader(home.tables, labels_table(model.name), self._told)

    def outcomes(self, since_us: int, until_us: int, as_of_us: int) -> pl.DataFrame:
        """Return the same as `outcomes`."""
        answered = self._predictions.between(since_us, until_us)
        rows = pl.concat(answered, how="diagonal_relaxed") if answered else pl.DataFrame(schema=self._schema)
        within = rows.filter((pl.col("_at_us") >= since_us) & (pl.col("_at_us") < until_us))
        if not self._fallbacks:
            within = within.filter(pl.col("role") != "fallback")  # it answered in the version's place: no merit of its
        # A day more: the clock of the process that logged a label may be behind that of the one that predicted.
        told = _known(self._labels.between(since_us - DAY_US, as_of_us + 1), as_of_us)
        found = within.join(_labels(told), on="id", how="left", maintain_order="left")
        if self._metric is None:
            return found
        return found.join(_last(told, self._metric), on="id", how="left", maintain_order="left")

    @property
    def _schema(self) -> dict[str, pl.DataType]:
        return {name: PREDICTION_SCHEMA.get(name, pl.Null()) for name in self._columns}

    def _chosen(self, part: pl.DataFrame) -> pl.DataFrame:
        """Keep what outcomes need; a slice that the request did not have then is null."""
        have = set(part.columns)
        return part.select(pl.col(name) if name in have else pl.lit(None).alias(name) for name in self._columns)

    def _told(self, part: pl.DataFrame) -> pl.DataFrame:
        """Keep of labels what outcomes need: of those that were logged before the metric was, it is null."""
        labels = part.select(LABEL_SCHEMA.names())
        if self._metric is None:
            return labels
        values = part[self._metric] if self._metric in part.columns else pl.lit(None, pl.Float64())
        return labels.with_columns(values.alias(self._metric))


def _known(parts: list[pl.DataFrame], as_of_us: int) -> pl.DataFrame:
    """Return what was told by `as_of_us`, in the order in which it became known."""
    told = pl.concat(parts) if parts else pl.DataFrame(schema=LABEL_SCHEMA)
    return told.filter(pl.col("_label_known_us") <= as_of_us).sort("_label_known_us", maintain_order=True)


def _labels(told: pl.DataFrame) -> pl.DataFrame:
    """Return one label per id: the one known last."""
    labels = told.filter(pl.col("label").is_not_null()).unique("id", keep="last")
    return labels.select("id", pl.col("label").alias("_label"), "_label_known_us")


def _last(told: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Return one value of a metric per id: the one known last."""
    if metric not in told.columns:
        return pl.DataFrame(schema={"id": pl.String(), metric: pl.Float64()})
    return told.filter(pl.col(metric).is_not_null()).unique("id", keep="last").select("id", metric)
