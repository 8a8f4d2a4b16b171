"""Text as declared types: times in ISO 8601 or the format given, nothing guessed, the first odd value told."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.features.backfill import backfill
from charkha.features.batches import batches_of
from charkha.features.declared import DataError
from charkha.features.pieces import pieces_of
from charkha.features.plan import FeaturePlan
from charkha.features.reading import Sources
from charkha.features.rows import read_rows
from charkha.features.texts import from_text
from charkha.spec.fields import TIME

MORNING = datetime(2026, 2, 11, 8, 30, tzinfo=UTC)


def read(kind: Any, texts: list[str], folder: Path, **how: Any) -> list[Any]:
    (folder / "x.csv").write_text("\n".join(["number,value", *(f"{n},{text}" for n, text in enumerate(texts))]))
    values = ck.Source("values", {"number": int, "value": kind}, ck.csv("x.csv", **how), static=True)
    return read_rows(values, folder)["value"].to_list()


@pytest.mark.parametrize(
    ("kind", "texts", "expected"),
    [
        (bool, ["true", "FALSE", "True", "t", "F", "1", "0", "", '""'], [1, 0, 1, 1, 0, 1, 0, None, None]),
        (int, ["5", "-5", "+5", "", '""', "007"], [5, -5, 5, None, None, 7]),
        (float, ["1.5", "-1e3", "5", ".5", "", "NaN", "inf", "-0.0"], [1.5, -1e3, 5.0, 0.5, None, None, None, 0.0]),
        (str, ["a", "", "5", "true"], ["a", None, "5", "true"]),
        (datetime, ["2026-02-11T08:30:00", "2026-02-11 08:30", "2026-02-11T08:30:00.000Z"], [MORNING] * 3),
        (datetime, ["2026-02-11T14:00:00+05:30", "2026-02-11T03:30-05", "2026-02-11 14:00+0530"], [MORNING] * 3),
        (datetime, ["2026-02-11", "", "1969-12-31T23:59:59.9999999"], [
            datetime(2026, 2, 11, tzinfo=UTC), None, datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
        ]),
    ],
)  # fmt: skip
def test_text_is_read_as_declared(kind: Any, texts: list[str], expected: list[Any], tmp_path: Path) -> None:
    assert read(kind, texts, tmp_path) == expected


NUMBERED = "Mend the source's fields, or what holds its rows"
SAY = 'Say how its times are written, such as ck.csv(…, times={"value": "%d/%m/%Y %H:%M"}), or mend the file'
ISO = "a time such as 2026-02-11 or 2026-02-11T08:30:00Z"


@pytest.mark.parametrize(
    ("kind", "texts", "wanted", "got", "way_out"),
    [
        (bool, ["true", "yes"], "true or false", "'yes' in row 1", NUMBERED),
        (int, ["1", "2.0"], "int", "'2.0' in row 1", NUMBERED),
        (int, ["1", " 2"], "int", "' 2' in row 1", NUMBERED),
        (int, ["9223372036854775808"], "int", "'9223372036854775808' in row 0", NUMBERED),
        (float, ["", "NaN", '"1,5"'], "float", "'1,5' in row 2", NUMBERED),
        (datetime, ["11/02/2026"], ISO, "'11/02/2026' in row 0", SAY),
        (datetime, ["2026-02-11", "2026-2-12"], ISO, "'2026-2-12' in row 1", SAY),
        (datetime, ["2026-02-30"], ISO, "'2026-02-30' in row 0", SAY),
        (datetime, ["20260211"], ISO, "'20260211' in row 0", SAY),
        (datetime, ["1764118800"], ISO, "'1764118800' in row 0", SAY),
    ],
)
def test_the_first_value_that_is_none_is_told(
    kind: Any, texts: list[str], wanted: str, got: str, way_out: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        read(kind, texts, tmp_path)
    assert str(error.value) == (
        f"source 'values': '{tmp_path}/x.csv' cannot be read as declared: expected {wanted} for 'value', got {got}. "
        f"{way_out}"
    )


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ("%d/%m/%Y %H:%M", "11/02/2026 08:30"),
        ({"value": "%m/%d/%Y %I:%M %p"}, "2/11/2026 8:30 AM"),
        ({"value": "%d %b %Y %H:%M%z"}, "11 Feb 2026 14:00+0530"),
        ("%s", "1770798600"),
        ({}, "2026-02-11T08:30:00Z"),
    ],
)
def test_times_are_read_as_they_are_said_to_be_written(times: Any, text: str, tmp_path: Path) -> None:
    assert read(datetime, [text, ""], tmp_path, times=times) == [MORNING, None]


def test_a_time_in_another_format_than_given_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(datetime, ["11/02/2026", "11/13/2026"], tmp_path, times="%d/%m/%Y")
    assert str(error.value) == (
        f"source 'values': '{tmp_path}/x.csv' cannot be read as declared: expected a time as '%d/%m/%Y' for 'value', "
        "got '11/13/2026' in row 1. Mend times= of its ck.csv(…), or the file"
    )


ZONES = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.one_of(st.none(), ZONES))


@given(st.lists(st.tuples(MOMENTS, st.sampled_from("T "), st.sampled_from(["auto", "minutes", "milliseconds"]))))
def test_iso_8601_is_read_as_python_reads_it(written: list[tuple[datetime, str, str]]) -> None:
    texts = [moment.isoformat(sep, precision) for moment, sep, precision in written]
    expected = [datetime.fromisoformat(text) for text in texts]
    expected = [each.astimezone(UTC) if each.tzinfo else each.replace(tzinfo=UTC) for each in expected]
    frame = pl.LazyFrame({"at": texts}, schema={"at": pl.String()})
    for strict in (True, False):
        assert frame.select(at=from_text(pl.col("at"), TIME, None, strict=strict)).collect()["at"].to_list() == expected


@given(st.text("0123456789-+:.TZ /apm", max_size=22))
def test_what_is_no_iso_8601_is_no_time(text: str) -> None:
    frame = pl.LazyFrame({"at": [text]})
    loose = frame.select(at=from_text(pl.col("at"), TIME, None, strict=False)).collect()["at"].item()
    try:
        strict = frame.select(at=from_text(pl.col("at"), TIME, None, strict=True)).collect()["at"].item()
    except pl.exceptions.PolarsError:
        strict = None
    assert strict == loose
    if loose is not None and "60" not in text:  # a leap second
        python = datetime.fromisoformat(text)
        assert loose == (python.astimezone(UTC) if python.tzinfo else python.replace(tzinfo=UTC))


FIELDS = {"id": int, "at": datetime, "paid": float}


def sales(folder: Path, times: str) -> ck.Source:
    (folder / "x.csv").write_text(
        "id,at,paid\n1,01/02/2024,1.0\n1,02/02/2024,2.0\n2,03/02/2024,x\n".replace(",x", ",3")
    )
    return ck.Source("sales", FIELDS, ck.csv("x.csv", times=times), time="at", key="id")


def test_the_same_bytes_read_in_another_way_are_other_data(tmp_path: Path) -> None:
    stamps = {batches_of(sales(tmp_path, times), tmp_path)[0].stamp() for times in ("%d/%m/%Y", "%m/%d/%Y")}
    assert len(stamps) == 2


@pytest.mark.parametrize(("whole", "memory"), [(100, 100), (0, 100), (0, 0)])
def test_formats_hold_however_a_source_is_read(whole: int, memory: int, tmp_path: Path) -> None:
    declared = sales(tmp_path, "%d/%m/%Y")
    view = ck.FeatureView("sale", ck.Entity("id"), declared, latest=["at", "paid"])
    asked = pl.DataFrame({"id": [1, 2, 3], "asked_at": [datetime(2024, 2, 2, 12)] * 3})
    asked.write_parquet(tmp_path / "questions.parquet")
    plan = FeaturePlan((view,), {"id": int}, "asked_at", {}, ("sale.at", "sale.paid"))
    sources = Sources(tmp_path, {"sales": declared}, whole_rows=whole, memory_rows=memory)
    (part,) = backfill(plan, tmp_path / "questions.parquet", sources, tmp_path / "out")
    assert pl.read_parquet(part)["sale.at"].to_list() == [datetime(2024, 2, 2, tzinfo=UTC), None, None]


def test_rows_read_some_at_a_time_are_told_by_their_place_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charkha.features.pieces._MOST_ROWS", 2)
    declared = sales(tmp_path, "%d/%m/%Y")
    path = tmp_path / "x.csv"
    path.write_text(path.read_text().replace("03/02/2024", "2024-02-03"))
    (piece,) = pieces_of(declared, tmp_path, None, tmp_path / "spool")
    for reading in (lambda: list(piece.chunks(["at"])), lambda: piece.seekable(tmp_path / "seekable.arrow")):
        with pytest.raises(DataError, match="expected a time as '%d/%m/%Y' for 'at', got '2024-02-03' in row 2"):
            reading()
