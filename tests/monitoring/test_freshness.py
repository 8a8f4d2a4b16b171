"""Freshness: a source is stale when its newest row is older than declared, or when it has none."""

import json
from math import inf

from charkha.clock import parse_time
from charkha.monitoring.freshness import freshness_findings
from charkha.spec.durations import HOUR_US

NOW_US = parse_time("2013-04-01T12:00:00Z")
LIMITS = {"weather": "3h"}


def test_a_row_in_time_is_fresh() -> None:
    (finding,) = freshness_findings("late", LIMITS, {"weather": NOW_US - 3 * HOUR_US}, NOW_US)
    assert not finding.significant
    assert (finding.value, finding.threshold) == (3.0, 3.0)


def test_a_row_too_old_is_stale() -> None:
    (finding,) = freshness_findings("late", LIMITS, {"weather": NOW_US - 3 * HOUR_US - 1}, NOW_US)
    assert finding.significant
    assert finding.message == (
        "source 'weather' is stale: its newest row was known at 2013-04-01T08:59:59.999999Z, and the limit is 3h"
    )


def test_no_row_at_all_is_stale_and_still_json() -> None:
    (finding,) = freshness_findings("late", LIMITS, {}, NOW_US)
    assert finding.significant
    assert finding.value == inf
    assert finding.message == "source 'weather' is stale: it has no rows, and the limit is 3h"
    assert json.loads(json.dumps(finding.as_dict(), allow_nan=False))["value"] is None


def test_a_row_known_after_now_is_fresh() -> None:
    (finding,) = freshness_findings("late", LIMITS, {"weather": NOW_US + HOUR_US}, NOW_US)
    assert finding.value == 0
    assert not finding.significant


def test_only_what_is_declared_is_watched() -> None:
    assert freshness_findings("late", {}, {"weather": 0}, NOW_US) == []
