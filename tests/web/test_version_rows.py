from msgspec.structs import replace
from replay_summaries import a_year

from charkha.operations.replay_summary import Interval
from charkha.web.version_rows import RANGE_WIDTH, version_rows


def test_versions_say_what_became_of_them() -> None:
    rows = version_rows(a_year())

    assert [(row.version, row.fate, row.kind) for row in rows[:3]] == [
        ("v1", "champion from 1 Apr 2013", "won"),
        ("v2", "champion from 13 May 2013", "won"),
        ("v3", "rejected 13 Jun 2013", "lost"),
    ]


def test_without_decisions_the_status_is_all_there_is() -> None:
    (row, *_) = version_rows(replace(a_year(), decisions=()))

    assert (row.fate, row.kind) == ("accepted", "open")


def test_ranges_share_one_scale() -> None:
    rows = version_rows(a_year())
    ranges = [row.range for row in rows if row.range is not None]

    assert len(ranges) == len(rows)
    assert all(0 <= r.low < r.value < r.high <= RANGE_WIDTH for r in ranges)
    assert [r.value for r in ranges] == sorted(r.value for r in ranges)


def test_a_version_without_an_interval_has_no_range() -> None:
    year = a_year()
    bare = replace(year.versions[0], metric=Interval(None, None, None, 0))
    (row,) = version_rows(replace(year, versions=(bare,)))

    assert (row.range, row.metric, row.interval) == (None, "–", "")
