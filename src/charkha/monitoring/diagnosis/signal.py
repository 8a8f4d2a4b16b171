"""A signal: one thing that is not as it was, found by one check, with when and how much."""

from attrs import frozen


@frozen(kw_only=True)
class Signal:
    """What one check found.

    check: which, such as "nulls", "odd", "far", "skew", "replay", "replica", "age", "errors", "loss".
    subject: what it is of: the full name of a feature, a view, a source, a replica, a version, a segment
    ("carrier=UA"); "" for the model as a whole.
    alarmed_us: when the evidence was enough. began_us: since when, most likely; earliest_us, latest_us: its 95 %
    interval (all µs since 1970 UTC).
    evidence: the natural logarithm of the e-value; infinite for an identity that does not hold.
    usual, now: what was measured in the healthy history, and since it began, in `unit`. rows: how many, since then.
    words: the same as a sentence. pattern: of what is not served as it is recomputed, what the difference is like, a
    name of `checks.skew_patterns.PATTERNS`; "" for nothing known.
    """

    check: str
    subject: str
    alarmed_us: int
    began_us: int
    earliest_us: int
    latest_us: int
    evidence: float
    usual: float
    now: float
    unit: str
    rows: int
    words: str
    pattern: str = ""
