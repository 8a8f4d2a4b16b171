"""Many small files are read as few: the same rows in the same order, and an error still names the file at fault."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import charkha as ck
from charkha.features.data_decisions import Word
from charkha.features.declared import DataError
from charkha.features.file_decisions import mark_file
from charkha.features.pieces import EVENT, KNOWN, Piece, fetched, pieces_of
from charkha.features.rows import FileBreaksContract, read_rows
from charkha.storage.home import open_home

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIELDS = {"id": int, "lane": int, "at": datetime, "paid": float, "note": str}
WRITERS: dict[str, Any] = {"parquet": pl.DataFrame.write_parquet, "csv": pl.DataFrame.write_csv}
WRITERS["arrow"] = pl.DataFrame.write_ipc
NAMES = [*FIELDS, EVENT, KNOWN]


def source(kind: str = "parquet", **more: Any) -> Any:
    return ck.Source("sales", FIELDS, getattr(ck, kind)(f"data/**/*.{kind}"), time="at", **more)


def rows(first: int, count: int, paid: Any = pl.Float64, **more: Any) -> pl.DataFrame:
    ids = range(first, first + count)
    at = pl.Series([NOON + timedelta(minutes=number) for number in ids], dtype=pl.Datetime("us", "UTC"))
    notes = pl.Series([f"n{number}" for number in ids], dtype=pl.String)
    columns = {"id": pl.Series(ids, dtype=pl.Int64), "at": at, "paid": pl.Series([*ids], dtype=paid), "note": notes}
    return pl.DataFrame({**columns, **more})


def write(root: Path, number: int, frame: pl.DataFrame, *, kind: str = "parquet", lane: int = 1) -> str:
    path = root / "data" / f"lane={lane}" / f"part-{number:03d}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "csv":
        frame = frame.with_columns(pl.col("at").dt.to_string("iso:strict"))
    WRITERS[kind](frame, path)
    return path.relative_to(root).as_posix()


def of_all(pieces: list[Piece]) -> pl.DataFrame:
    return pl.concat([piece.read(NAMES) for piece in pieces])


# Of each file how many rows it has, the folder it lies in, and what makes its columns other than those of the others.
some_files = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from(["", "narrow", "more", "empty"])), min_size=1
)


@settings(max_examples=50)
@given(some_files, st.sampled_from(sorted(WRITERS)), st.integers(1, 4), st.randoms(use_true_random=False))
def test_files_in_runs_have_the_rows_of_files(files: Any, kind: str, most_files: int, random: Any) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("charkha.features.pieces._MOST_VALUES", 3)
        root, first = Path(folder), 0
        for number, (count, lane, other) in enumerate(files):
            more: Any = {"more": pl.Series([1] * count, dtype=pl.Int64)} if other == "more" else {}
            frame = rows(first, count, pl.Float32 if other == "narrow" else pl.Float64, **more)
            if other == "empty":  # a column without any value may be of any type
                frame = frame.with_columns(paid=pl.lit(None, pl.String))
            write(root, number, frame, kind=kind, lane=lane)
            first += count
        declared, spool = source(kind), root / "spool"
        pieces = pieces_of(declared, root, None, spool, most_files)
        expected = read_rows(declared, root).drop("_pushed", "_first")
        found = of_all(pieces)
        assert found.sort(KNOWN).equals(expected)
        chunks = [chunk for piece in pieces for chunk in piece.chunks(NAMES)]
        assert pl.concat([found.clear(), *chunks]).equals(found)
        in_files = [piece.seekable(spool / f"{number}.arrow") for number, piece in enumerate(pieces)]
        assert of_all(in_files).equals(found)
        places = np.array([random.randrange(-1, first) for _ in range(20)])
        some = fetched(pieces, NAMES, places)
        kept = [None if place < 0 else found.row(place) for place in places.tolist()]
        assert some.rows() == [row or (None,) * len(NAMES) for row in kept]


def test_thousands_of_files_are_a_few_pieces(tmp_path: Path) -> None:
    for number in range(300):
        write(tmp_path / f"data/day={number % 2}", number, rows(number, 1))  # which no field is called
    assert [piece.height for piece in pieces_of(source(), tmp_path, None, tmp_path / "spool")] == [256, 44]


def test_what_cannot_be_taken_is_told_of_its_file(tmp_path: Path) -> None:
    names = [write(tmp_path, number, rows(number, 3, pl.Float64)) for number in range(5)]
    declared = ck.Source("sales", {**FIELDS, "paid": int}, ck.parquet("data/*/*.parquet"), time="at")
    write(tmp_path, 3, rows(3, 3).with_columns(paid=pl.Series([1.0, 2.5, 3.0])))
    (piece,) = pieces_of(declared, tmp_path, None, tmp_path / "spool")
    place = f"'{tmp_path}/{names[3]}' cannot be read as declared: expected int for 'paid', got 2.5 in row 1"
    for reading in (
        lambda: piece.read(["paid"]),
        lambda: piece.fetch(["id", "paid"], pl.Series([0])),
        lambda: list(piece.chunks(["paid"])),
    ):
        with pytest.raises(DataError) as error:
            reading()
        assert place in str(error.value)


def test_a_type_that_is_not_taken_is_told_of_its_file(tmp_path: Path) -> None:
    names = [write(tmp_path, number, rows(number, 3)) for number in range(5)]
    write(tmp_path, 3, rows(3, 3).with_columns(paid=pl.lit("much")))
    with pytest.raises(DataError, match="expected float for 'paid', got String, such as 'much' in row 0") as error:
        pieces_of(source(), tmp_path, None, tmp_path / "spool")
    assert names[3] in str(error.value)


@pytest.mark.parametrize("how", ["cut short", "gone"])
def test_a_file_that_is_spoilt_while_it_is_read_is_named(tmp_path: Path, how: str) -> None:
    names = [write(tmp_path, number, rows(number, 3)) for number in range(5)]
    (piece,) = pieces_of(source(), tmp_path, None, tmp_path / "spool")
    spoilt = tmp_path / names[2]
    if how == "gone":
        spoilt.unlink()
    else:
        spoilt.write_bytes(spoilt.read_bytes()[:100])
    with pytest.raises(DataError) as error:
        piece.read(["paid"])
    assert f"'{spoilt}' cannot be read as declared" in str(error.value)


def test_a_contract_and_marks_are_kept_file_by_file(tmp_path: Path) -> None:
    names = [write(tmp_path, number, rows(10 * number, 3)) for number in range(5)]
    declared = source(contract=ck.Contract(fields={"id": ck.Expect(high=30)}))
    with open_home(tmp_path / "home") as home:
        with pytest.raises(FileBreaksContract) as error:
            pieces_of(declared, tmp_path, home.log, tmp_path / "spool")
        assert error.value.file == names[3]
        word = Word("asha", "a test", 1)
        mark_file(home, declared, tmp_path, names[3], mark="aside", word=word)
        mark_file(home, declared, tmp_path, names[4], mark="released", word=word)
        pieces = pieces_of(declared, tmp_path, home.log, tmp_path / "spool")
        assert pl.concat([piece.read(["id"]) for piece in pieces])["id"].to_list() == [
            *(0, 1, 2),
            *(10, 11, 12),
            *(20, 21, 22),
            *(40, 41, 42),
        ]
