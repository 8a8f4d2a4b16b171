"""A finding: one thing a monitor measured, with its size, its uncertainty and its time."""

from math import inf
from typing import Literal

from attrs import asdict, frozen

Kind = Literal["drift", "nulls", "unseen", "performance", "freshness", "skew", "room"]


@frozen(kw_only=True)
class Finding:
    """One measurement of one monitor, remarkable or not.

    time_us: when it was measured, in µs since 1970 UTC.
    model: whose monitor it is.
    version: the version whose predictions were measured; None when the subject is a source.
    kind: what was measured, such as "drift".
    subject: the feature, "score", the metric or the source that was measured.
    value: what was measured; `low` and `high` bound it with 95 % confidence, and equal it where it is exact.
    threshold: the limit it is held against.
    significant: whether it lies beyond the limit with its whole interval: worth somebody's attention.
    message: the same in words.
    """

    time_us: int
    model: str
    version: str | None
    kind: Kind
    subject: str
    value: float
    low: float
    high: float
    threshold: float
    significant: bool
    message: str

    def as_dict(self) -> dict[str, object]:
        """Return the finding for JSON, which has no infinity: such a number is None."""
        return {name: None if value in (inf, -inf) else value for name, value in asdict(self).items()}
