"""Violations: as the obvious loop over rows finds them; and what becomes of files that have some."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charkha as ck
from charkha.clock import to_micros
from charkha.features.contracts import Volume, source_violations, violations
from charkha.features.declared import DataError
from charkha.features.file_marks import FileMark, file_digest, file_marks, write_marks
from charkha.features.plan import view_from_plain, view_to_plain
from charkha.features.rows import FileBreaksContract, read_rows
from charkha.features.state import view_digest
from charkha.spec.durations import DAY_US
from charkha.spec.fields import polars_schema
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2024, 5, 2, tzinfo=UTC)
FIELDS = {"order": int, "shop": str, "at": datetime, "done": datetime, "amount": float}
CONTRACT = ck.Contract(
    fields={
        "amount": ck.Expect(low=0, high=10.5, nulls=0.25),
        "shop": ck.Expect(allowed=["a", "b"], nulls=0),
        "at": ck.Expect(high=datetime(2024, 5, 2)),
    },
    where={"done after it began": pl.col("done") >= pl.col("at")},
    unique=True,
)


def source(contract: ck.Contract | None = CONTRACT, pattern: str = "*.parquet") -> ck.Source:
    return ck.Source("orders", FIELDS, ck.parquet(pattern), time="at", key="order", contract=contract)


def frame(*rows: tuple[Any, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=polars_schema(FIELDS), orient="row")


def order(number: int | None = 1, shop: str | None = "a", amount: float | None = 1.0, **times: Any) -> tuple[Any, ...]:
    return (number, shop, times.get("at", NOON), times.get("done", NOON), amount)


def test_rows_that_keep_the_contract_break_nothing() -> None:
    assert violations(frame(order(1), order(2, "b", 0.0), order(3, "a", 10.5)), source()) == []
    assert violations(frame(order(1, "z", -1.0)), source(None)) == []
    assert violations(frame(), source()) == []


def test_a_violation_says_how_many_which_and_an_example() -> None:
    rows = frame(order(1), order(2, amount=-4.0), order(3, amount=11.0), order(4, amount=float("nan")))
    (found,) = violations(rows, source())
    assert (found.kind, found.column, found.rows, found.of, found.places) == ("range", "amount", 3, 4, (1, 2, 3))
    assert found.share == 0.75
    assert found.examples[0] == {"order": 2, "shop": "a", "at": NOON, "done": NOON, "amount": -4.0}
    assert found.message == "expected amount from 0 to 10.5, got 3 of 4 rows that are not so, such as -4.0 in row 1"


def test_each_kind_of_rule_is_found_with_its_words() -> None:
    late = NOON + timedelta(days=3)
    rows = frame(order(1, "c"), order(1, None), order(2, at=late, done=NOON), order(3, amount=None))
    found = {violation.kind: violation for violation in violations(rows, source())}
    assert {kind: (each.rows, each.places) for kind, each in found.items()} == {
        "allowed": (1, (0,)),
        "nulls": (1, (1,)),
        "range": (1, (2,)),
        "where": (1, (2,)),
        "unique": (2, (0, 1)),
    }
    assert found["allowed"].rule == "shop one of 'a', 'b'"
    assert found["nulls"].rule == "shop in every row"
    assert found["range"].message.endswith("such as 2024-05-04T12:00:00Z in row 2")
    assert found["where"].rule == "done after it began"
    assert found["unique"].rule == "each key (order) once"


def test_a_rule_that_cannot_be_computed_is_broken_and_the_others_are_judged() -> None:
    contract = ck.Contract(
        fields={"amount": ck.Expect(low=0)}, where={"a number of a shop": pl.col("shop").cast(pl.Int64) > 0}
    )
    found = violations(frame(order(1, "a"), order(2, amount=-1.0)), source(contract))
    assert [(each.kind, each.rows) for each in found] == [("range", 1), ("where", 2)]
    assert found[1].message.startswith(
        "expected a number of a shop, got 2 of 2 rows that are not so, such as row 0, for it cannot be computed: "
    )
    assert violations(frame(order(1, "7")), source(contract)) == []


def test_shares_of_nulls_are_asked_of_large_batches_only() -> None:
    rows = frame(order(1, amount=None), order(2))
    assert [found.rule for found in violations(rows, source())] == ["amount in all but 25.00% of the rows"]
    assert violations(rows, source(), shares=False) == []
    assert [found.kind for found in violations(frame(order(1, None)), source(), shares=False)] == ["nulls"]


def obvious(rows: list[tuple[Any, ...]]) -> dict[str, list[int]]:
    """Return the places of the rows that break each rule of CONTRACT, row by row."""
    numbers = [row[0] for row in rows]
    nulls = [place for place, row in enumerate(rows) if row[4] is None]
    breaks = {
        "amount from 0 to 10.5": [p for p, row in enumerate(rows) if row[4] is not None and not 0 <= row[4] <= 10.5],
        "amount in all but 25.00% of the rows": nulls if len(nulls) > 0.25 * len(rows) else [],
        "shop one of 'a', 'b'": [p for p, row in enumerate(rows) if row[1] not in ("a", "b", None)],
        "shop in every row": [p for p, row in enumerate(rows) if row[1] is None],
        "at at most 2024-05-02T00:00:00Z": [
            p for p, row in enumerate(rows) if row[2] > datetime(2024, 5, 2, tzinfo=UTC)
        ],
        "done after it began": [p for p, row in enumerate(rows) if row[3] is not None and row[3] < row[2]],
        "each key (order) once": [p for p, number in enumerate(numbers) if numbers.count(number) > 1],
    }
    return {rule: places for rule, places in breaks.items() if places}


moments = st.datetimes(datetime(2024, 5, 1), datetime(2024, 5, 3), timezones=st.just(UTC))
an_order = st.tuples(
    st.integers(1, 6),
    st.sampled_from(["a", "b", "c", None]),
    moments,
    st.none() | moments,
    st.none() | st.sampled_from([-0.1, 0.0, 5.0, 10.5, 10.6]) | st.just(float("inf")),
)


@settings(deadline=None)
@given(st.lists(an_order, min_size=1, max_size=8))
def test_violations_are_those_of_the_obvious_loop(rows: list[tuple[Any, ...]]) -> None:
    found = violations(frame(*rows), source())
    expected = obvious(rows)
    assert {violation.rule: violation.rows for violation in found} == {r: len(places) for r, places in expected.items()}
    assert {violation.rule: list(violation.places) for violation in found} == {r: p[:5] for r, p in expected.items()}


def test_a_source_is_judged_by_its_newest_row_and_its_last_whole_day() -> None:
    declared = source(ck.Contract(max_age="2h", rows_per_day=(2, 3)))
    day = to_micros(datetime(2024, 5, 1))
    now = day + DAY_US + 3_600_000_000
    fine = pl.Series([day - 1, day, day + 5, now - 3_600_000_000])
    assert source_violations(Volume.of([fine], now), declared) == []
    (old,) = source_violations(Volume.of([fine], now + 2 * 3_600_000_000), declared)
    assert old.message == "expected a new row within 2h, got the newest 3.0 hours ago"
    few, many = pl.Series([day - 1, day, now]), pl.Series([day - 1, day, day + 1, day + 2, day + DAY_US - 1, now])
    assert [found.found for found in source_violations(Volume.of([few], now), declared)] == ["1 on 2024-05-01"]
    assert [found.message for found in source_violations(Volume.of([many], now), declared)] == [
        "expected 2 to 3 rows a day, got 4 on 2024-05-01"
    ]
    began_then = pl.Series([day, now])
    assert source_violations(Volume.of([began_then], now), declared) == []
    (none,) = source_violations(Volume.of([pl.Series([], dtype=pl.Int64)], now), declared)
    assert none.found == "no row"
    assert source_violations(Volume.of([few], now), source(None)) == []


def test_a_contract_changes_no_feature() -> None:
    views = [
        ck.FeatureView("v", ck.Entity("shop"), source(contract), latest=["amount"]) for contract in (CONTRACT, None)
    ]
    assert view_digest(views[0]) == view_digest(views[1])
    assert view_from_plain(view_to_plain(views[0])) == view_from_plain(view_to_plain(views[1]))


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


def mark(file: Path, what: Any) -> FileMark:
    return FileMark(file.name, what, file_digest(file), 1, 0, "asha", "because")


def test_a_file_that_breaks_the_contract_is_not_read_and_the_way_out_is_said(tmp_path: Path) -> None:
    frame(order(1)).write_parquet(tmp_path / "1.parquet")
    frame(order(2, amount=-1.0), order(3, None)).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(FileBreaksContract) as error:
        read_rows(source(), tmp_path)
    assert (error.value.source, error.value.file) == ("orders", "2.parquet")
    assert [found.kind for found in error.value.violations] == ["range", "nulls"]
    assert str(error.value) == (
        "source 'orders': '2.parquet' breaks its contract: expected amount from 0 to 10.5, got 1 of 2 rows that are "
        "not so, such as -1.0 in row 0 (and 1 more). See all of it: charkha data check orders. Leave the file out: "
        "charkha data quarantine orders@2.parquet --reason …; read it all the same: charkha data release "
        "orders@2.parquet --reason …; or change the contract"
    )


def test_a_file_set_aside_is_left_out_and_a_released_one_is_read_as_it_was(tmp_path: Path, log: SegmentLog) -> None:
    bad = tmp_path / "2.parquet"
    frame(order(1)).write_parquet(tmp_path / "1.parquet")
    frame(order(2, amount=-1.0)).write_parquet(bad)
    write_marks(log, "orders", [mark(bad, "aside")])
    assert read_rows(source(), tmp_path, log)["order"].to_list() == [1]
    write_marks(log, "orders", [mark(bad, "released")])
    assert read_rows(source(), tmp_path, log)["order"].to_list() == [1, 2]
    assert file_marks(log, "orders")["2.parquet"].mark == "released"
    frame(order(2, amount=-2.0)).write_parquet(bad)
    with pytest.raises(FileBreaksContract):
        read_rows(source(), tmp_path, log)


def test_a_source_with_every_file_set_aside_is_empty(tmp_path: Path, log: SegmentLog) -> None:
    only = tmp_path / "1.parquet"
    frame(order(1)).write_parquet(only)
    write_marks(log, "orders", [mark(only, "aside")])
    assert read_rows(source(), tmp_path, log).is_empty()


def test_marks_are_of_one_source(tmp_path: Path, log: SegmentLog) -> None:
    only = tmp_path / "1.parquet"
    frame(order(1)).write_parquet(only)
    write_marks(log, "others", [mark(only, "aside")])
    write_marks(log, "orders", [])
    assert (file_marks(log, "orders"), file_marks(None, "others")) == ({}, {})
    assert read_rows(source(), tmp_path, log).height == 1


def test_nan_and_the_spellings_of_null_are_null(tmp_path: Path) -> None:
    frame(order(1, amount=float("nan"))).write_parquet(tmp_path / "1.parquet")
    assert read_rows(source(None), tmp_path)["amount"].to_list() == [None]
    text = "order,shop,at,done,amount\n1,n/a,2024-05-01T12:00:00,-,NaN\n2,,2024-05-01T12:00:00,,n/a\n"
    (tmp_path / "x.csv").write_text(text)
    declared = ck.Source("orders", FIELDS, ck.csv("x.csv", nulls=["n/a", "-"]), time="at", key="order")
    assert read_rows(declared, tmp_path).select("shop", "done", "amount").rows() == [(None,) * 3] * 2
    with pytest.raises(DataError, match=r"x\.csv' cannot be read as declared"):
        read_rows(ck.Source("orders", FIELDS, ck.csv("x.csv"), time="at", key="order"), tmp_path)


def test_a_rule_that_fails_on_one_row_is_broken_by_that_row() -> None:
    number = {"zip is a number": pl.col("zip").cast(pl.Int64) > 0}
    source = ck.Source("shops", {"shop": int, "zip": str}, contract=ck.Contract(where=number))
    rows = pl.DataFrame({"shop": range(1000), "zip": ["12"] * 998 + ["-1", "12a"]})
    (found,) = violations(rows, source)
    assert (found.rows, found.of, found.places) == (2, 1000, (998, 999))
    (found,) = violations(rows.tail(1), source)
    assert (found.rows, found.places) == (1, (0,))
    assert "row 0, for it cannot be computed: " in found.message
