"""Diagnoses as tests of what becomes of them want them."""

from math import inf
from typing import Any

from charkha.clock import parse_time
from charkha.monitoring.diagnosis.incident import Culprit, Diagnosis, Hypothesis, Loss, Remedy
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US, HOUR_US

NOW_US = parse_time("2013-09-08")
BEGAN_US = NOW_US - 30 * HOUR_US


def signal(check: str = "nulls", subject: str = "conditions.temp", **changed: Any) -> Signal:
    fields: dict[str, Any] = {
        "alarmed_us": BEGAN_US + HOUR_US,
        "began_us": BEGAN_US,
        "earliest_us": BEGAN_US - HOUR_US,
        "latest_us": BEGAN_US + HOUR_US,
        "evidence": 41.5,
        "usual": 0.01,
        "now": 0.62,
        "unit": "share of rows",
        "rows": 1_240,
        "words": "nulls of conditions.temp rose from 1 % to 62 %",
    }
    return Signal(check=check, subject=subject, **fields | changed)


def diagnosis(now_us: int = NOW_US, **changed: Any) -> Diagnosis:
    """Return a broken weather feed, changed as a test says."""
    fields: dict[str, Any] = {
        "model": "late",
        "watched": Span(now_us - 7 * DAY_US, now_us),
        "healthy": Span(now_us - 35 * DAY_US, now_us - 7 * DAY_US),
        "cause": "source",
        "kind": "null flood of weather.temp",
        "culprit": Culprit(sources="weather", features="conditions.temp"),
        "began_us": BEGAN_US,
        "earliest_us": BEGAN_US - HOUR_US,
        "latest_us": BEGAN_US + HOUR_US,
        "evidence": (signal(), signal("replay", evidence=inf, words="<b>exact</b>")),
        "rivals": (
            Hypothesis(cause="skew", kind="another imputation", against="the recomputed features are null as well"),
        ),
        "share": 0.62,
        "loss": Loss(metric="log_loss", usual=0.41, now=0.52, rows=1_240, money=310.0),
        "remedy": Remedy(action="page_source_owner", words="Ask the owner of weather for the missing temperatures."),
        "margin": 3.0,
    }
    return Diagnosis(**fields | changed)


def healthy(now_us: int = NOW_US) -> Diagnosis:
    return Diagnosis(
        model="late",
        watched=Span(now_us - 7 * DAY_US, now_us),
        healthy=Span(now_us - 35 * DAY_US, now_us - 7 * DAY_US),
    )
