"""Which of many checks, models and segments have something, with few of them wrong: e-BH.

Wang and Ramdas, "False discovery rate control with e-values", JRSS B 84 (2022): of m e-values reject the k largest,
for the largest k of which the k-th is at least m / (k α). The false discovery rate is at most α however the e-values
depend on each other, and checks of one model always do.
"""

import numpy as np
from numpy.typing import ArrayLike

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray


def e_bh(log_e: ArrayLike, alpha: float) -> BoolArray:
    """Return which of many e-values (m,) are discoveries at a false discovery rate of alpha.

    Raises ValueError when alpha is not between 0 and 1.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"expected alpha between 0 and 1, got {alpha}")
    values = np.asarray(log_e, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    needed = np.log(len(values) / (alpha * np.arange(1, len(values) + 1)))
    reached = np.flatnonzero(values[order] >= needed)
    found = np.zeros(len(values), dtype=np.bool_)
    found[order[: reached[-1] + 1 if len(reached) else 0]] = True
    return found


def over(evidence: FloatArray, looks: ArrayLike) -> FloatArray:
    """Return the evidence of trails (`Trail.evidence`, checks) as log e-values, for e-BH.

    A Shiryaev-Roberts form is not an e-value: its mean grows by one with each look. Over a patience of so many looks,
    a year of them, say, it is one, whenever in that time one stops; so the false discoveries of e-BH are at most alpha
    for every such patience (Dandapanthula and Ramdas 2025, "Multiple testing in multi-stream sequential change
    detection"). Checks of other blocks have another number of looks in it. The first discovery needs what `Budget`
    with alpha alarms in that time asks for; those beside it need less.
    """
    return evidence - np.log(np.asarray(looks, dtype=np.float64))
