"""What is asked about is more often true than before, and looks as it always did when it is."""

import numpy as np
import polars as pl

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.questions import drawn, exchanged, is_binary, questions, within


def _prior_shift(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Draw questions by their label alone: given the label, features are as they were."""
    every = questions(traffic)
    asked = every.filter(pl.Series(within(every, fault.within(traffic.span))))
    label = asked["label"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    factor = max(fault.size or 1.0, 1e-9)
    if is_binary(traffic):
        weights = np.where(label > 0, factor, 1.0)
    else:
        middle, spread = np.nanmean(label), max(float(np.nanstd(label)), 1e-12)
        weights = np.exp(np.log(factor) / 2 * ((label - middle) / spread).clip(-3, 3))
    donors = drawn(np.where(np.isnan(label), 0.0, weights), fault.seed)
    return exchanged(traffic, asked["id"], asked["id"].gather(pl.Series(donors)), rescore)


INCIDENTS = (
    Incident(
        kind="prior_shift",
        cause="prior",
        words="the odds of a true label are so many times as high, and given the label nothing has changed",
        inject=_prior_shift,
        unit="factor of the odds; of a number, of how often one a standard deviation above is drawn against one below",
        size=3.0,
        every_row=False,
        within="3d",
        rows=1_000,
        by_labels=True,
        touches={"predictions", "labels", "recomputed"},
    ),
)
