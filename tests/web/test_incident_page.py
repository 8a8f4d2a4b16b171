"""The report of an incident and the draft of its post-mortem: what they show, whatever the data hold."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from attrs import evolve

from charkha.monitoring.changes import Change
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.incident import Culprit, Diagnosis, Remedy
from charkha.monitoring.traffic import empty_traffic
from charkha.spec.durations import HOUR_US
from charkha.web.before_after import before_after
from charkha.web.incident_page import render_incident
from charkha.web.incident_series import blocks_of, plots
from charkha.web.postmortem import plain, render_postmortem

sys.path.append(str(Path(__file__).parents[1] / "monitoring"))
from diagnoses import BEGAN_US, diagnosis, healthy

EVIL = "<script>alert(1)</script>"
TYPES: dict[str, pl.DataType] = {"conditions.temp": pl.Float64(), "plane.maker": pl.String()}


def case_of(found: Diagnosis, rows: int = 20_000) -> Case:
    """Return served traffic in which the temperature is missing since it began."""
    span = type(found.watched)(found.healthy.since_us, found.watched.until_us)
    empty = empty_traffic("late", span, features=TYPES, request={"carrier": pl.String()}, views=["conditions"])
    random = np.random.default_rng(3)
    at_us = np.sort(random.integers(span.since_us, span.until_us, rows))
    broken = at_us >= BEGAN_US
    filled: dict[str, Any] = {
        "id": [f"p{row}" for row in range(rows)],
        "_at_us": at_us,
        "version": "v1",
        "role": "champion",
        "replica": random.choice(["r0", "r1"], rows),
        "score": random.random(rows),
        "decision": random.random(rows) > 0.5,
        "features_logged": True,
        "request.carrier": random.choice(["AA", EVIL], rows),
        "conditions.temp": np.where(broken, np.nan, random.normal(60, 10, rows)),
        "plane.maker": random.choice(["BOEING", EVIL], rows),
    }
    frame = pl.DataFrame(filled).with_columns(pl.col("conditions.temp").fill_nan(None))
    frame = frame.cast({name: kind for name, kind in empty.predictions.schema.items() if name in frame.columns})
    predictions = pl.concat([empty.predictions, frame], how="diagonal").select(empty.predictions.columns)
    counts = dict.fromkeys(("requests", "errors", "sheds", "timeouts", "clock_ahead_us"), 1)
    minutes = {"_minute_us": at_us // 60_000_000 * 60_000_000, "latency_ms_p50": 2.0, "latency_ms_p95": 5.0}
    came = {"source": "weather", "_hour_us": at_us // HOUR_US * HOUR_US, "rows": 1, "late_s": 0.0, "duplicates": 0}
    traffic = evolve(
        empty,
        predictions=predictions,
        labels=frame.select("id", label=pl.lit(1.0), _label_known_us=pl.col("_at_us")),
        vitals=typed(pl.DataFrame({**minutes, "replica": frame["replica"], **counts}), empty.vitals),
        arrivals=typed(pl.DataFrame(came), empty.arrivals),
        changes=(Change(BEGAN_US - HOUR_US, "deploy", "v1", f"by {EVIL}"),),
    )
    # The plan is of no matter here.
    return Case(traffic=traffic, healthy=found.healthy, watched=found.watched, task="binary", plan=None)  # type: ignore[arg-type]


def typed(frame: pl.DataFrame, like: pl.DataFrame) -> pl.DataFrame:
    return frame.select(like.columns).cast(like.schema)


def blamed(cause: Any, culprit: Culprit, action: Any) -> Diagnosis:
    return diagnosis(cause=cause, culprit=culprit, remedy=Remedy(action=action, words="Do it."), kind=EVIL)


FOUND = {
    "source": diagnosis(culprit=Culprit(sources="weather", features=("conditions.temp", "plane.maker"))),
    "segment": blamed("concept", Culprit(segments=f"carrier={EVIL}"), "retrain"),
    "replica": blamed("infrastructure", Culprit(replicas="r1"), "eject_replica"),
    "label": blamed("label", Culprit(), "mend_labels"),
    "nothing": healthy(),
}


@pytest.mark.parametrize("found", FOUND.values(), ids=list(FOUND))
def test_the_page_needs_nothing_and_runs_nothing(found: Diagnosis) -> None:
    page = render_incident(case_of(found), found)
    assert not re.search(r"<script|https?://|src=|@import|url\(", page)
    assert page.count("<svg") >= 2
    assert "nan" not in page.lower().replace("nano", "")
    assert ('class="onset"' in page) is (found.began_us is not None)


def test_the_page_has_what_a_person_would_draw() -> None:
    found = FOUND["source"]
    case = case_of(found)
    page = render_incident(case, found)
    for words in (
        "source: null flood of weather.temp",
        "2013-09-06 18:00 (95 %: 2013-09-06 17:00 to 2013-09-06 19:00)",
        "conditions.temp: share of nulls",
        "source weather: rows that came",
        "the recomputed features are null as well",
        "nulls of conditions.temp rose from 1 % to 62 %",
        "exact",
        "6 Sep 2013 17:00, deploy v1: by &lt;script&gt;",
        'class="changed"',
        'class="interval"',
    ):
        assert words in page
    figures = {name: (before, after) for name, before, after in before_after(case, found)[0].figures}
    assert figures["null"] == ("0 %", "100 %")
    assert figures["50 % are below"][0].startswith(("59", "60"))
    assert figures["50 % are below"][1] == "–"


def test_series_are_of_whole_blocks_and_show_the_fault_where_it_is() -> None:
    found = FOUND["source"]
    case = case_of(found)
    blocks = blocks_of(case, found)
    assert 50 <= blocks.count <= 180
    nulls = next(plot for plot in plots(case, found, blocks) if plot.title.endswith("conditions.temp: share of nulls"))
    onset = (BEGAN_US - blocks.span.since_us) // blocks.length_us
    values = nulls.lines[0].values
    assert set(values[:onset]) == {0.0}
    assert set(values[onset + 1 :]) == {1.0}


def test_a_shadow_is_no_load_and_no_row() -> None:
    found = FOUND["source"]
    case = case_of(found)
    shadowed = pl.concat([case.traffic.predictions, case.traffic.predictions.with_columns(role=pl.lit("shadow"))])
    beside = evolve(case, traffic=evolve(case.traffic, predictions=shadowed))
    blocks = blocks_of(case, found)
    assert plots(beside, found, blocks)[-1] == plots(case, found, blocks)[-1]
    assert before_after(beside, found) == before_after(case, found)


@pytest.mark.parametrize("found", FOUND.values(), ids=list(FOUND))
def test_an_empty_traffic_makes_a_page_as_well(found: Diagnosis) -> None:
    assert found.headline in render_incident(case_of(found, rows=0), found).replace("&lt;", "<").replace("&gt;", ">")


def test_the_draft_says_what_is_known_and_asks_the_rest() -> None:
    found = FOUND["source"]
    draft = render_postmortem(found, case_of(found, rows=0).traffic.changes)
    lines = draft.splitlines()
    assert lines[0] == "# late: source: null flood of weather.temp"
    events = [line[2:18] for line in lines if re.match(r"- \d{4}-", line)]
    assert events == sorted(events)
    assert "- 2013-09-06 18:00: it began, most likely" in lines
    assert "- 2013-09-06 17:00: deploy v1: by \\<script\\>alert(1)\\</script\\>" in lines
    assert "- another imputation (skew): the recomputed features are null as well" in lines
    assert "- [ ] Ask the owner of weather for the missing temperatures." in lines
    assert "<script" not in draft.replace("\\<", "")


def test_text_is_shown_as_it_is() -> None:
    assert plain("a|b\n# c <d>") == "a\\|b \\# c \\<d\\>"
