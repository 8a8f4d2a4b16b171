"""How much each training row counts: the older, the less, where a model is told to forget."""

import numpy as np

from charkha.spec.durations import parse_duration
from charkha.spec.model import FloatArray
from charkha.training.split import TimeArray

# Rows of long ago count next to nothing, and never nothing: some estimators refuse weights of 0.
LEAST = 1e-9


def row_weights(half_life: str | None, at_us: TimeArray) -> FloatArray | None:
    """Return the weight of each training row, float64 (n,), of mean 1; None where all rows count the same.

    A row counts half as much as one that is younger by `half_life` (exponential decay, as in Koychev 2000, "Gradual
    forgetting for adaptation to concept drift"). at_us: when each was asked about, int64 µs (n,).
    Of mean 1, so that penalties and the fewest rows of a leaf mean what they mean without weights.
    """
    if half_life is None or not len(at_us):
        return None
    age = (at_us.max() - at_us) / parse_duration(half_life)
    weights = np.maximum(np.exp2(-age), LEAST)
    scaled: FloatArray = weights / weights.mean()
    return scaled
