"""Of which rows the features are logged, where a model's policy asks for a share of them.

The lot is drawn once per batch, and is the random part of its first id: so it costs nothing, whoever reads the log can
draw it again, and no two workers need to agree. From there on every so-and-so-many-th row is taken, so that a batch of
many rows has its exact share.

>>> drawn(first=1 << 60, count=20, share=0.1)
(4, 14)
"""

from charkha.serving.prediction_ids import RANDOM_MASK

# All that the random part of an id can be.
_WHOLE = RANDOM_MASK + 1


def drawn(first: int, count: int, share: float) -> tuple[int, ...] | None:
    """Return which rows of a batch are in the sample, ascending; None for all of them.

    first: the first id of the batch. count: of its rows. share: from 0 to 1, the chance of each row.
    """
    if share >= 1:
        return None
    step, start = int(share * _WHOLE), first & RANDOM_MASK
    # Row i is drawn where start + i × step to start + (i + 1) × step passes a multiple of the whole.
    passed = (start + count * step) // _WHOLE
    return tuple((multiple * _WHOLE - start - 1) // step for multiple in range(1, passed + 1))
