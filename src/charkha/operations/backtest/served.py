"""What was served in a backtest so far: each occasion scored by the version of its time."""

from typing import Self

import numpy as np
import polars as pl
from attrs import define, field

from charkha.bundles.bundle import Bundle
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import LABELS, RECOMPUTED, VITALS, Traffic
from charkha.operations.backtest.history import History, predictions_of
from charkha.operations.drills.rescoring import BundleRescore
from charkha.spec.model import FloatArray

# So many predictions are recomputed at each look, as `charkha diagnose` does.
SAMPLE = 2_000
UNDECIDED = -1


@define(eq=False)
class Served:
    """The scores, versions and decisions of all occasions; of those that were not asked yet, none.

    scores: float64 (n,), NaN for none. version: place in `bundles`, (n,). decision: 1, 0, or UNDECIDED, (n,).
    """

    history: History
    scores: FloatArray
    version: "np.ndarray[tuple[int, ...], np.dtype[np.int32]]"
    decision: "np.ndarray[tuple[int, ...], np.dtype[np.int8]]"
    bundles: dict[str, Bundle] = field(factory=dict)

    @classmethod
    def of(cls, history: History) -> Self:
        """Return nothing served yet."""
        n = history.spine.height
        return cls(history, np.full(n, np.nan), np.full(n, -1, np.int32), np.full(n, UNDECIDED, np.int8))

    def serve(self, bundle: Bundle, span: Span) -> None:
        """Have a version answer what is asked in a span; what another one was to answer there is forgotten."""
        name = bundle.manifest.version
        self.bundles.setdefault(name, bundle)
        places = self.history.places(span)
        rows = self.history.served[places]
        if rows.is_empty():
            return
        asked = rows.with_columns(pl.lit(name).alias("version"), _at_us=self.history.spine["_at_us"][places])
        scores, decisions = BundleRescore({name: bundle})(asked)
        self.scores[places] = scores
        self.version[places] = list(self.bundles).index(name)
        self.decision[places] = UNDECIDED if decisions is None else decisions

    def outcomes(self, span: Span, now_us: int) -> pl.DataFrame:
        """Return what was answered in a span and is known of it at a time, as `monitoring.outcomes` returns it."""
        places = self.history.places(span)
        told = self._told(places, now_us).unique("_row", keep="last").select("_row", _label="label")
        asked = self._answers(places).with_columns(role=pl.lit("champion"))
        return asked.join(told, on="_row", how="left", maintain_order="left").drop("_row", "decision")

    def traffic(self, span: Span, now_us: int) -> Traffic:
        """Return what was served in a span and known at a time, as diagnosis reads it; the vitals are not known."""
        history, places = self.history, self.history.places(span)
        answers = self._answers(places)
        served = predictions_of(history.served[places], answers["_row"], answers["_at_us"])
        predictions = served.with_columns(answers["version"], answers["score"], answers["decision"])
        came = pl.col("_hour_us").is_between(span.since_us, min(span.until_us, now_us), closed="left")
        return Traffic(
            model=history.model.name,
            span=span,
            predictions=predictions,
            labels=self._told(places, now_us).select(LABELS.names()),
            arrivals=history.arrivals.filter(came),
            vitals=pl.DataFrame(schema=VITALS),
            recomputed=self._recomputed(places, predictions),
            changes=tuple(each for each in history.changes if span.since_us <= each.time_us < span.until_us),
        )

    def _answers(self, places: slice) -> pl.DataFrame:
        names = pl.Series(list(self.bundles), dtype=pl.String)
        version, decision = pl.Series(self.version[places]), pl.Series(self.decision[places])
        return pl.DataFrame(
            {
                "_row": pl.Series(np.arange(places.start, places.stop)),
                "_at_us": self.history.spine["_at_us"][places],
                "version": names.gather(pl.select(pl.when(version >= 0).then(version)).to_series()),
                "score": pl.Series(self.scores[places], nan_to_null=True),
                "decision": pl.select(pl.when(decision != UNDECIDED).then(decision == 1)).to_series(),
            }
        ).with_columns(pl.col("_row").cast(pl.Int64))

    def _told(self, places: slice, now_us: int) -> pl.DataFrame:
        known = pl.col("_label_known_us") <= now_us
        return self.history.told.filter(known, pl.col("_row").is_between(places.start, places.stop, closed="left"))

    def _recomputed(self, places: slice, predictions: pl.DataFrame) -> pl.DataFrame:
        step = max(1, predictions.height // SAMPLE)
        made = self.history.features[places]
        return predictions.select("id", "version").hstack(made).gather_every(step).select(*RECOMPUTED, *made.columns)
