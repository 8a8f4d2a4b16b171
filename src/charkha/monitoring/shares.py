"""The rise of a share (of nulls, of unseen categories) over a reference share, with its interval."""

from math import sqrt

from attrs import frozen

Z_95 = 1.959963984540054


@frozen
class Rise:
    """A share now minus its reference, each from 0 to 1, and the 95 % interval of the difference."""

    now: float
    reference: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """By how much the share has risen; negative when it fell."""
        return self.now - self.reference


def share_rise(hits: int, rows: int, reference_hits: int, reference_rows: int) -> Rise:
    """Return the rise of hits/rows over reference_hits/reference_rows by Newcombe's hybrid score interval.

    It stays honest near 0 and 1, where null shares live. Raises ValueError when either side has no rows.
    """
    if rows <= 0 or reference_rows <= 0:
        raise ValueError(f"expected rows on both sides of a comparison of shares, got {rows} and {reference_rows}")
    now, reference = hits / rows, reference_hits / reference_rows
    now_low, now_high = wilson(hits, rows)
    reference_low, reference_high = wilson(reference_hits, reference_rows)
    below = sqrt((now - now_low) ** 2 + (reference_high - reference) ** 2)
    above = sqrt((now_high - now) ** 2 + (reference - reference_low) ** 2)
    return Rise(now, reference, now - reference - below, now - reference + above)


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """Return the 95 % score interval of the share hits/rows."""
    share, z2 = hits / rows, Z_95**2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z_95 / (1 + z2 / rows) * sqrt(share * (1 - share) / rows + z2 / (4 * rows**2))
    return max(0.0, middle - half), min(1.0, middle + half)
