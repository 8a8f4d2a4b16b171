"""CSV files that are cut short, or odd: refused with the file and the line, whatever their values are."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.features import csv_files
from charkha.features.batches import batches_of
from charkha.features.csv_files import csv_flaw
from charkha.features.declared import DataError
from charkha.features.rows import read_rows
from charkha.spec.fields import FieldType

FIELDS: dict[str, FieldType] = {"id": int, "k": str, "paid": float}


def source(**changes: Any) -> ck.Source:
    return ck.Source("pay", FIELDS, ck.csv("pay*.csv", **changes), static=True, key="id")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,k,paid\n1,a,2\n9001,k1\n", "expected 3 fields in every row, got 2 in line 3: 'paid' is not there"),
        ("id,k,paid\n1,a,2\n9001,k1", "got 2 in line 3"),
        ("id,k,paid\n1,a,2\n9", "got 1 in line 3: 'k' is not there"),
        ("id,k,paid\r\n1,a\r\n2,b,3\r\n", "got 2 in line 2"),
        ('id,k,paid\n1,"a,\nb",2\n2,"c,d"\n', "got 2 in line 4"),
        ("id,k,paid\n\n1,a,2\n2,b\n", "got 2 in line 4"),
        ("id,paid,k,paid\n1,2,a,3\n", "expected each column once, got 'paid' twice in its header"),
        ("\ufeffid,k,paid\n1,a\n", "got 2 in line 2"),
    ],
)
def test_rows_that_are_cut_and_columns_that_are_there_twice_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "pay1.csv").write_text("id,k,paid\n7,a,2\n")
    (tmp_path / "pay2.csv").write_text(text, newline="")
    with pytest.raises(DataError, match=r"pay2\.csv") as error:
        read_rows(source(), tmp_path)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text", ["id,k,paid\n1,a,2\n\n", "id,k,paid\n1,,\n2,b,", 'id,k,paid\n1,"a,b",2\n', "id,k,paid"]
)
def test_empty_cells_and_lines_are_no_cut(tmp_path: Path, text: str) -> None:
    (tmp_path / "pay.csv").write_text(text)
    assert csv_flaw(tmp_path / "pay.csv", ",") is None


CELLS = st.text(st.sampled_from('ab,"\n 1é'), max_size=4)


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6), st.integers(0, 100), st.sampled_from([5, 1 << 20])
)
def test_a_row_that_lacks_a_field_is_found_wherever_it_is(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], place: int, chunk: int
) -> None:
    """By counting and by taking rows apart alike, whatever is quoted."""
    short = place % len(rows)
    lines = [",".join(_cell(cell) for cell in (row[:2] if n == short else row)) for n, row in enumerate(rows)]
    file = tmp_path_factory.mktemp("csv") / "pay.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "_CHUNK_BYTES", chunk)
        file.write_text("\n".join(["id,k,paid", *lines, ""]), newline="")
        flaw = csv_flaw(file, ",")
        assert flaw is not None
        assert "got 2 in line" in flaw
        whole = [",".join(map(_cell, row)) for row in rows]
        other = file.with_name("whole.csv")
        other.write_text("\n".join(["id,k,paid", *whole, ""]), newline="")
        assert csv_flaw(other, ",") is None


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set('",\n') else text


def test_another_separator_is_declared_and_hinted_at(tmp_path: Path) -> None:
    (tmp_path / "pay.csv").write_text("id;k;paid\n1;a,b;2.5\n")
    with pytest.raises(DataError, match=r"header reads 'id;k;paid'. Say how .* ck\.csv\(…, separator=\";\"\)"):
        read_rows(source(), tmp_path)
    rows = read_rows(source(separator=";"), tmp_path)
    assert rows.select(list(FIELDS)).rows() == [(1, "a,b", 2.5)]
    (comma,), (semicolon,) = (batches_of(each, tmp_path) for each in (source(), source(separator=";")))
    assert comma.stamp() != semicolon.stamp()
    (tmp_path / "pay.csv").write_text("id;k;paid\n1;a\n")
    with pytest.raises(DataError, match="got 2 in line 2"):
        read_rows(source(separator=";"), tmp_path)


def test_a_missing_column_is_named_alone(tmp_path: Path) -> None:
    (tmp_path / "pay.csv").write_text("id,k,amount\n1,a,2\n")
    with pytest.raises(DataError, match=r"it has no column 'paid'; there are 'amount' that are not declared\. Mend"):
        read_rows(source(), tmp_path)


def test_text_that_is_no_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pay1.csv").write_bytes(b"id,k,paid\n1,a,2\n")
    (tmp_path / "pay2.csv").write_bytes(b"id,k,paid\n1,a,2\n2,caf\xe9,2\n")
    with pytest.raises(DataError, match=r"pay2\.csv.* in line 3\. Write the file in UTF-8"):
        read_rows(source(), tmp_path)
