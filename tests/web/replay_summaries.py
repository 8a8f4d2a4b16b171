"""Summaries of replays that never were: one that looks like a year, and any at all."""

from datetime import UTC, datetime, timedelta
from math import inf

from hypothesis import strategies as st

from charkha.monitoring.skew import FeatureSkew
from charkha.operations.replay_summary import (
    DecisionRow,
    DriftRow,
    GateRow,
    Interval,
    MonthRow,
    ReplaySummary,
    VersionSummary,
)

SERVED = (0.778, 0.791, 0.789, 0.783, 0.771, 0.752, 0.756, 0.752, 0.765)
FROZEN = (0.778, 0.785, 0.776, 0.768, 0.760, 0.741, 0.749, 0.753, 0.758)
CHAMPIONS = (("v1",), ("v1", "v2"), ("v2",), ("v2", "v4"), ("v4",), ("v4",), ("v4", "v5"), ("v5",), ("v5",))
TRIALS = (("v2", 5, True), ("v3", 6, False), ("v4", 7, True), ("v5", 10, True), ("v6", 12, False))
FEATURES = ("congestion.mean_dep_delay_1h", "weather.temp", "weather.pressure", "aircraft.last_arr_delay_12h")
MONTHS = tuple(f"2013-{month:02}" for month in range(4, 13))

FELL = (
    "ROC-AUC 0.741 (95 % 0.731 to 0.751) on 25,002 matured labels of 28 days, against 0.779 (95 % 0.765 to 0.793) "
    "when v1 was tested: worse by 0.038, and the intervals do not meet. At the same time: weather.temp: PSI 1.31"
)
SHADOWED = "passed all 4 gates: it scores every request unseen beside v1, for at least 10 days"
WON = "log loss 0.402 against the champion's 0.406 on 7,611 matured labels of 10 days: -0.0041 (-0.0062 to -0.0020)"
LOST = "log loss 0.407 against the champion's 0.406 on 7,611 matured labels of 10 days: the interval reaches zero"


def around(value: float, half: float = 0.009, n: int = 27_000) -> Interval:
    return Interval(value, value - half, value + half, n)


def first_days() -> list[DecisionRow]:
    start = "2013-04-01T00:00:00Z"
    passed = "v1 passed all 4 gates; there is no champion to compare it with"
    return [
        DecisionRow(1, start, "train", "late_arrival has no champion: training one", None, {"champion": None}),
        DecisionRow(2, start, "promote", passed, "v1", {"version": "v1", "champion": None}),
    ]


def trial(sequence: int, version: str, month: int, *, promoted: bool) -> list[DecisionRow]:
    now = {"value": 0.741, "low": 0.731, "high": 0.751, "n": 25002}
    fell: dict[str, object] = {"champion": "v1", "now": now, "since_us": 1_370_000_000_000_000}
    verdict: dict[str, object] = {"version": version, "difference": {"value": -0.0041, "low": -0.0062, "high": -0.002}}
    start, end = f"2013-{month:02}-02T00:00:00Z", f"2013-{month:02}-13T00:00:00Z"
    action, reason = ("promote", WON) if promoted else ("reject", LOST)
    return [
        DecisionRow(sequence, start, "train", FELL, None, fell),
        DecisionRow(sequence + 1, start, "shadow", f"{version} {SHADOWED}", version, {"version": version}),
        DecisionRow(sequence + 2, end, action, reason, version, verdict),
    ]


def drift_of(month: int, row: int, feature: str) -> DriftRow:
    psi = abs((month * 7 + row * 3) % 11 - 3) / (10 if feature == "weather.temp" else 45)
    return DriftRow(MONTHS[month], feature, psi, 0.11 if feature == "weather.pressure" else 0.0)


def version_of(number: int, month: int) -> VersionSummary:
    gates = (
        GateRow("at_least(roc_auc, 0.7)", True, "ROC-AUC 0.779 (95 % 0.765 to 0.793), at least 0.700"),
        GateRow("calibrated(0.03)", number != 3, "expected calibration error 0.034, at most 0.030 is allowed"),
    )
    trained = f"2013-{month:02}-02T00:00:00Z"
    tested = around(0.76 + 0.004 * number)
    return VersionSummary(f"v{number}", trained, 61_000 + 21_000 * number, tested, gates, "accepted")


def a_year() -> ReplaySummary:
    """Return a replay of nine months with five challengers, three of them promoted."""
    decisions = first_days()
    for version, month, promoted in TRIALS:
        decisions += trial(len(decisions) + 1, version, month, promoted=promoted)
    months = zip(MONTHS, SERVED, FROZEN, CHAMPIONS, strict=True)
    return ReplaySummary(
        project="flights",
        model="late_arrival",
        metric="roc_auc",
        higher_is_better=True,
        from_time="2013-04-01T00:00:00Z",
        until_time="2014-01-01T00:00:00Z",
        seconds=96.4,
        events=519_411,
        predictions=255_928,
        labels=249_180,
        retrains=5,
        promotions=3,
        rejections=2,
        max_skew=4.4e-16,
        skew=tuple(FeatureSkew(n, "mean" not in n, 255_928, 4.4e-16 if "mean" in n else 0.0) for n in FEATURES),
        months=tuple(MonthRow(m, 28_400, 27_600, around(s), around(f), versions) for m, s, f, versions in months),
        drift=tuple(drift_of(m, row, n) for m in range(9) for row, n in enumerate((*FEATURES, "score"))),
        decisions=tuple(decisions),
        versions=tuple(version_of(number, month) for number, month in enumerate((4, 5, 6, 7, 10, 12), 1)),
    )


def in_order(rows: list[MonthRow]) -> tuple[MonthRow, ...]:
    return tuple(sorted({row.month: row for row in rows}.values(), key=lambda row: row.month))


def by_time(rows: list[DecisionRow]) -> tuple[DecisionRow, ...]:
    return tuple(sorted(rows, key=lambda row: row.time))


def interval_of(bounds: tuple[float, float, float], n: int) -> Interval:
    low, value, high = sorted(bounds)
    return Interval(value, low, high, n)


FIGURES = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
COUNTS = st.integers(0, 10**9)
WORDS = st.text(max_size=30)
ANY_MONTH = st.builds("{:04}-{:02}".format, st.integers(2001, 2040), st.integers(1, 12))
MOMENTS = st.integers(0, 14_000).map(lambda day: (datetime(2001, 1, 1, tzinfo=UTC) + timedelta(days=day)).isoformat())
VERSIONS = st.sampled_from(["v1", "v2", "v10", "<v>"])
INTERVALS = st.one_of(
    st.just(Interval(None, None, None, 0)),
    st.builds(Interval, FIGURES, st.none(), st.none(), COUNTS),
    st.builds(interval_of, st.tuples(FIGURES, FIGURES, FIGURES), COUNTS),
)
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)
ACTIONS = st.sampled_from(["train", "train_failed", "shadow", "promote", "reject", "rollback", "retire <b>"])
EVIDENCE = st.dictionaries(WORDS | st.just("since_us"), PLAIN, max_size=4)
DECISIONS = st.builds(DecisionRow, COUNTS, MOMENTS, ACTIONS, WORDS, st.none() | VERSIONS, EVIDENCE)
VERSION_LISTS = st.lists(VERSIONS, max_size=2).map(tuple)
MONTH_ROWS = st.builds(MonthRow, ANY_MONTH, COUNTS, COUNTS, INTERVALS, INTERVALS, VERSION_LISTS)
DIFFERENCES = st.sampled_from([0.0, 1e-16, 0.5, inf])
SKEW = st.builds(FeatureSkew, WORDS, st.booleans(), COUNTS, DIFFERENCES)
DRIFT = st.builds(DriftRow, ANY_MONTH, WORDS, st.floats(0, 100) | st.just(inf), st.floats(0, 1))
GATES = st.lists(st.builds(GateRow, WORDS, st.booleans(), WORDS), max_size=2).map(tuple)
TRAINED = st.builds(VersionSummary, VERSIONS, MOMENTS, COUNTS, INTERVALS, GATES, WORDS)

SUMMARIES = st.builds(
    ReplaySummary,
    project=WORDS,
    model=WORDS,
    metric=st.sampled_from(["roc_auc", "log_loss", "mae", "odd <metric>"]),
    higher_is_better=st.booleans(),
    from_time=MOMENTS,
    until_time=MOMENTS,
    seconds=st.floats(0, 1e6),
    events=COUNTS,
    predictions=COUNTS,
    labels=COUNTS,
    retrains=COUNTS,
    promotions=COUNTS,
    rejections=COUNTS,
    max_skew=DIFFERENCES,
    skew=st.lists(SKEW, max_size=4).map(tuple),
    months=st.lists(MONTH_ROWS, max_size=5).map(in_order),
    drift=st.lists(DRIFT, max_size=6).map(tuple),
    decisions=st.lists(DECISIONS, max_size=6).map(by_time),
    versions=st.lists(TRAINED, max_size=3).map(tuple),
)
