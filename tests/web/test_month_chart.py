from attrs import asdict
from hypothesis import given
from msgspec.structs import replace
from replay_summaries import SUMMARIES, a_year

from charkha.operations.replay_summary import Interval, MonthRow, ReplaySummary
from charkha.web import month_chart as chart
from charkha.web.month_chart import MonthChart, month_chart


def drawn(summary: ReplaySummary) -> MonthChart:
    found = month_chart(summary)
    if found is None:
        raise AssertionError("expected a plot")
    return found


def one_month(served: float | None, frozen: float | None) -> ReplaySummary:
    intervals = [Interval(value, None, None, 10) for value in (served, frozen)]
    return replace(a_year(), months=(MonthRow("2013-04", 10, 10, intervals[0], intervals[1], ("v1",)),))


def test_better_is_higher_and_the_series_are_labelled_with_their_newest_value() -> None:
    served, frozen = drawn(a_year()).series

    assert (served.label, frozen.label) == ("0.765", "0.758")
    assert served.marks[2].y < frozen.marks[2].y
    assert served.marks[0].title == "April 2013, served: 0.778 (0.769 to 0.787), 27,000 labels"


def test_promotions_lie_where_reigns_begin_and_the_first_champion_is_none() -> None:
    found = drawn(a_year())

    assert [tick.text for tick in found.promotions] == ["v2", "v4", "v5"]
    assert [tick.at for tick in found.promotions] == [span.x for span in found.reigns[1:]]
    assert [span.kind for span in found.trials] == ["won", "lost", "won", "won", "lost"]


def test_a_month_without_labels_breaks_the_line() -> None:
    year = a_year()
    nothing = Interval(None, None, None, 0)
    silent = replace(year.months[4], served=nothing)
    served, frozen = drawn(replace(year, months=(*year.months[:4], silent, *year.months[5:]))).series

    assert (served.line.count("M"), frozen.line.count("M")) == (2, 1)
    assert (len(served.marks), len(frozen.marks)) == (8, 9)


def test_gains_point_up_when_lower_is_better_and_lower_was_served() -> None:
    (bar,) = drawn(replace(one_month(0.40, 0.42), metric="log_loss", higher_is_better=False)).gains

    assert (bar.text, bar.better) == ("+0.020", True)


def test_no_gain_is_a_flat_bar_on_zero() -> None:
    found = drawn(one_month(0.7, 0.7))

    assert (found.gains[0].height, found.gains[0].y, found.zero_y) == (0, chart.GAIN_BOTTOM, chart.GAIN_BOTTOM)


def test_nothing_to_plot_is_no_plot() -> None:
    assert month_chart(one_month(None, None)) is None
    assert month_chart(replace(a_year(), months=())) is None


@given(SUMMARIES)
def test_all_marks_lie_within_the_drawing(summary: ReplaySummary) -> None:
    found = month_chart(summary)
    if found is None:
        return
    for mark in (mark for series in found.series for mark in series.marks):
        assert chart.LEFT - chart.DODGE <= mark.x <= chart.RIGHT + chart.DODGE
        assert all(chart.TOP <= y <= chart.BOTTOM for y in (mark.y, mark.low, mark.high) if y is not None)
    for span in (*found.reigns, *found.trials):
        assert chart.LEFT <= span.x <= chart.RIGHT
        assert span.width > 0
    for bar in found.gains:
        assert chart.GAIN_TOP <= bar.y <= bar.y + bar.height <= chart.GAIN_BOTTOM + 0.1


def test_a_plot_is_plain_data() -> None:
    assert asdict(drawn(a_year()))["months"][0] == {"at": 123.4, "text": "Apr 2013"}
