"""Columns of other types than declared: taken where no value changes what it says, refused by name where one would."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import charkha as ck
from charkha.features.declared import DataError
from charkha.features.pieces import pieces_of
from charkha.features.rows import read_rows
from charkha.spec.fields import POLARS_TYPES

MAY = datetime(2024, 5, 1, tzinfo=UTC)
WRITERS: dict[str, Callable[..., object]] = {
    "parquet": pl.DataFrame.write_parquet,
    "arrow": pl.DataFrame.write_ipc,
    "delta": pl.DataFrame.write_delta,
}


def read(kind: Any, column: pl.Series, folder: Path, form: str = "parquet") -> pl.Series:
    WRITERS[form](column.to_frame("value"), folder / "x")
    values = ck.Source("values", {"value": kind}, getattr(ck, form)("x"), static=True)
    return read_rows(values, folder)["value"]


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        (int, pl.Series([1, None], dtype=pl.Int8), [1, None]),
        (int, pl.Series([2**63 - 1], dtype=pl.UInt64), [2**63 - 1]),
        (int, pl.Series([-(2**63)], dtype=pl.Int128), [-(2**63)]),
        (int, pl.Series([5001.0, None, float("nan"), -0.0]), [5001, None, None, 0]),
        (int, pl.Series([5001.0], dtype=pl.Float32), [5001]),
        (int, pl.Series([Decimal("12345678901234567.00")]), [12345678901234567]),
        (float, pl.Series([1, None], dtype=pl.UInt16), [1.0, None]),
        (float, pl.Series([0.5], dtype=pl.Float32), [0.5]),
        (float, pl.Series([Decimal("1.25")]), [1.25]),
        (str, pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        (str, pl.Series(["a", None], dtype=pl.Enum(["a"])), ["a", None]),
        (datetime, pl.Series([date(2024, 5, 1)]), [MAY]),
        (datetime, pl.Series([datetime(2024, 5, 1)], dtype=pl.Datetime("ms")), [MAY]),
        (datetime, pl.Series([MAY]).dt.convert_time_zone("Asia/Kolkata").dt.cast_time_unit("ns"), [MAY]),
        *((kind, pl.Series([None, None], dtype=pl.Null), [None, None]) for kind in (str, int, float, bool, datetime)),
        *((kind, pl.Series([None], dtype=pl.Boolean), [None]) for kind in (str, int, float, datetime)),
        *((kind, pl.Series([None], dtype=pl.List(pl.String)), [None]) for kind in (int, bool, datetime)),
    ],
)
def test_what_says_the_same_is_taken(kind: Any, column: pl.Series, expected: list[Any], tmp_path: Path) -> None:
    found = read(kind, column, tmp_path)
    assert (found.dtype, found.to_list()) == (POLARS_TYPES[kind], expected)


@pytest.mark.parametrize(
    ("kind", "column", "got"),
    [
        (int, pl.Series([None, "7100000"]), "String, such as '7100000' in row 1"),
        (int, pl.Series([True]), "Boolean, such as True in row 0"),
        (int, pl.Series([date(2024, 5, 1)]), "Date, such as datetime.date(2024, 5, 1) in row 0"),
        (int, pl.Series([5001.0, None, 5001.7, 2.5]), "5001.7 in row 2"),
        (int, pl.Series([1e19]), "1e+19 in row 0"),
        (int, pl.Series([Decimal("1.50")]), "Decimal('1.50') in row 0"),
        (int, pl.Series([0, 2**64 - 1], dtype=pl.UInt64), "18446744073709551615 in row 1"),
        (float, pl.Series([None, True]), "Boolean, such as True in row 1"),
        (float, pl.Series(["1.5"]), "String, such as '1.5' in row 0"),
        (str, pl.Series([5]), "Int64, such as 5 in row 0"),
        (str, pl.Series([b"a"]), "Binary, such as b'a' in row 0"),
        (bool, pl.Series([1]), "Int64, such as 1 in row 0"),
        (bool, pl.Series(["true"]), "String, such as 'true' in row 0"),
        (datetime, pl.Series([1764118800]), "Int64, such as 1764118800 in row 0"),
        (datetime, pl.Series(["2024-05-01"]), "String, such as '2024-05-01' in row 0"),
    ],
)
def test_what_would_say_something_else_is_refused(kind: Any, column: pl.Series, got: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read(kind, column, tmp_path)
    assert str(error.value) == (
        f"source 'values': '{tmp_path}/x' cannot be read as declared: expected {kind.__name__} for 'value', got {got}. "
        "Mend the source's fields, or what holds its rows"
    )


@pytest.mark.parametrize("form", WRITERS)
def test_every_kind_of_file_is_held_to_its_types(form: str, tmp_path: Path) -> None:
    assert read(int, pl.Series([1.0, 2.0]), _made(tmp_path / "a"), form).to_list() == [1, 2]
    with pytest.raises(DataError, match="expected int for 'value', got Boolean, such as True in row 0"):
        read(int, pl.Series([True]), _made(tmp_path / "b"), form)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


PAYMENTS = ck.Source(
    "payments",
    {"tx_id": int, "mcc": int, "amount": float, "at": datetime},
    ck.parquet("x.parquet"),
    time="at",
    key="tx_id",
)


def test_all_columns_of_other_types_are_told_at_once_and_before_a_value_is_read(tmp_path: Path) -> None:
    odd = pl.DataFrame({"tx_id": ["7100000"], "mcc": [5001.7], "amount": [True], "at": [1764118800]})
    odd.write_parquet(tmp_path / "x.parquet")
    for reading in (lambda: read_rows(PAYMENTS, tmp_path), lambda: pieces_of(PAYMENTS, tmp_path, None, tmp_path / "s")):
        with pytest.raises(DataError) as error:
            reading()
        assert str(error.value) == (
            f"source 'payments': '{tmp_path}/x.parquet' cannot be read as declared: expected int for 'tx_id', got "
            "String, such as '7100000' in row 0; expected float for 'amount', got Boolean, such as True in row 0; "
            "expected datetime for 'at', got Int64, such as 1764118800 in row 0. Mend the source's fields, or what "
            "holds its rows"
        )


def test_a_value_is_found_whichever_way_the_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charkha.features.pieces._MOST_ROWS", 2)
    rows = {"tx_id": [1, 2, 3, 4], "mcc": [1.0, 2.0, 3.0, 5001.7], "amount": [1.0] * 4, "at": [MAY] * 4}
    pl.DataFrame(rows).write_parquet(tmp_path / "x.parquet")
    (piece,) = pieces_of(PAYMENTS, tmp_path, None, tmp_path / "spool")
    for reading in (
        lambda: piece.read(["mcc"]),
        lambda: piece.fetch(["mcc"], pl.Series([0])),
        lambda: list(piece.chunks(["mcc"])),
    ):
        with pytest.raises(DataError, match=r"expected int for 'mcc', got 5001\.7 in row 3\. Mend"):
            reading()
