"""The page of a backtest: every policy and month is on it, and text of the data is shown and never run."""

from typing import Any

from attrs import evolve

from charkha.operations.backtest.results import Backtest, IncidentRow, MonthScore, Retraining, Tried
from charkha.operations.replay_summary import Interval
from charkha.web.backtest_page import render_backtest
from charkha.web.policy_chart import policy_chart


def month(name: str, value: float | None) -> MonthScore:
    return MonthScore(month=name, metric=Interval(value, value, value, 0 if value is None else 1_200))


def policy(name: str, values: list[float | None], **more: Any) -> Tried:
    months = tuple(month(f"2013-{number + 1:02}", value) for number, value in enumerate(values))
    known = [value for value in values if value is not None]
    settings: dict[str, Any] = {"retrainings": (), "incidents": (), "overall": sum(known) / len(known)} | more
    return Tried(policy=name, window="all", fixed=name == "never", months=months, **settings)


WHY = "<script>alert(1)</script> the metric fell"
RETRAINED = Retraining(time="2013-02-05T00:00:00Z", why=WHY, outcome="promoted", version="v2", rows=900)
REFUSED = Retraining(time="2013-02-20T00:00:00Z", why="again", outcome="rejected", detail="worse than v2", version="v3")
FOUND = IncidentRow(
    id="m-1",
    cause="source",
    what="x is null",
    culprit="source trips",
    began="2013-03-01T00:00:00Z",
    opened="2013-03-02T00:00:00Z",
    closed=None,
    remedy="page_source_owner",
    answer="held a training",
)
SHOWN = Backtest(
    project="shop",
    model="likes",
    metric="roc_auc",
    higher_is_better=True,
    since="2013-01-01T00:00:00Z",
    until="2013-04-01T00:00:00Z",
    predictions=4_000,
    labels=3_600,
    first="passed its 2 gates",
    put_in=("null_flood of trips.km, 2013-03-01 to 2013-03-04",),
    dataset_cpu_seconds=3.0,
    tried=(
        policy("never", [0.7, 0.6, None]),
        policy("on_diagnosis", [0.7, 0.8, 0.75], retrainings=(RETRAINED, REFUSED), incidents=(FOUND,)),
    ),
)


def test_the_page_has_every_policy_and_escapes_what_it_shows() -> None:
    page = render_backtest(SHOWN)
    for words in ("on_diagnosis", "February 2013", "0.8000", "worse than v2", "held a training", "null_flood", "v2"):
        assert words in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_plot_has_a_line_and_a_lane_for_each_policy() -> None:
    chart = policy_chart(SHOWN, ("never", "on_diagnosis"))
    assert chart is not None
    never, diagnosed = chart.lines
    assert (len(never.dots), len(diagnosed.dots)) == (2, 3)
    assert diagnosed.dots[1].y < never.dots[1].y, "higher is better, and up"
    assert [dot.served for dot in diagnosed.retrained] == [True, False]
    assert never.lane_y < diagnosed.lane_y < chart.height
    assert never.colour != diagnosed.colour


def test_without_a_measured_month_there_is_no_plot() -> None:
    bare = evolve(SHOWN, tried=(evolve(SHOWN.tried[0], months=(month("2013-01", None),), overall=None),))
    assert policy_chart(bare, ("never",)) is None
    assert "No month has labels enough" in render_backtest(bare)


def test_the_frugal_one_is_within_one_percent() -> None:
    assert SHOWN.best is SHOWN.tried[1]
    assert SHOWN.frugal is SHOWN.tried[1]
    short = SHOWN.shortfall(SHOWN.tried[0], SHOWN.tried[1])
    assert short is not None
    assert 0.13 < short < 0.14
