"""What a replay showed, as data: read by the report, the terminal timeline and `--json`."""

import msgspec

from charkha.monitoring.skew import FeatureSkew


class Interval(msgspec.Struct, frozen=True):
    """A metric's value with its confidence interval, over `n` rows; None where it could not be computed."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class MonthRow(msgspec.Struct, frozen=True):
    """One calendar month (UTC, "2013-04"): what was served beside what the first champion alone would have got."""

    month: str
    predictions: int
    labels: int
    served: Interval
    frozen: Interval
    versions: tuple[str, ...]


class DriftRow(msgspec.Struct, frozen=True):
    """A feature (or "score") in one month against the reference of the version that served."""

    month: str
    feature: str
    psi: float
    null_share: float


class DecisionRow(msgspec.Struct, frozen=True):
    """A row of the ledger. `version` is the one it is about, if any; `evidence` is what it was decided on."""

    sequence: int
    time: str
    action: str
    reason: str
    version: str | None
    evidence: dict[str, object]


class GateRow(msgspec.Struct, frozen=True):
    """One gate of a version and how it went."""

    name: str
    passed: bool
    reason: str


class VersionSummary(msgspec.Struct, frozen=True):
    """A version that was trained, and what became of it."""

    version: str
    trained_at: str
    rows: int
    metric: Interval
    gates: tuple[GateRow, ...]
    status: str


class ReplaySummary(msgspec.Struct, frozen=True):
    """The whole replay of one model. Times are ISO 8601 in UTC; `metric` is the model's primary one.

    retrains, promotions: of challengers; the training and the promotion that make the first champion are not counted.
    """

    project: str
    model: str
    metric: str
    higher_is_better: bool
    from_time: str
    until_time: str
    seconds: float
    events: int
    predictions: int
    labels: int
    retrains: int
    promotions: int
    rejections: int
    max_skew: float
    skew: tuple[FeatureSkew, ...]
    months: tuple[MonthRow, ...]
    drift: tuple[DriftRow, ...]
    decisions: tuple[DecisionRow, ...]
    versions: tuple[VersionSummary, ...]
