"""A row of a file is held to what a request is held to: the same rows are refused, for the same reasons."""

from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from test_contracts_over_http import bound_project

from charkha.serving.bulk.files import row_files
from charkha.serving.bulk.rows import RowReader, spread, without
from charkha.serving.contracts import ContractBroken, request_check
from charkha.serving.schemas import request_frame
from charkha.spec.model import Model
from charkha.spec.project import load_project

ROW = st.tuples(
    st.sampled_from(["Pune", "Delhi", "Goa", None]),
    st.none() | st.floats(-1, 501),
    st.none() | st.integers(-3, 5000),
    st.none() | st.booleans(),
)


def refusal(model: Model, row: tuple[Any, ...]) -> str | None:
    """Return what a server says of one row."""
    check = request_check(model)
    assert check is not None
    try:
        check.refuse([row], request_frame(model.request_fields, [row]), is_many=False)
    except ContractBroken as error:
        return str(error)
    return None


@given(rows=st.lists(ROW, min_size=1, max_size=20))
def test_the_same_rows_are_refused_as_by_a_server(rows: list[tuple[Any, ...]], tmp_path_factory: Any) -> None:
    root: Path = tmp_path_factory.mktemp("rows")
    model = bound_project(root).models["late_trip"]
    frame = request_frame(model.request_fields, rows)
    frame.write_parquet(root / "rows.parquet")
    files = row_files(["rows.parquet"], root)
    read, problems = RowReader.of(model, files, None).read(files.rows(0, len(rows)))
    expected = {number: said for number, row in enumerate(rows) if (said := refusal(model, row)) is not None}
    assert problems.keys() == expected.keys()
    for number, said in expected.items():
        assert problems[number] == said.removeprefix("body: ")
    places = pl.DataFrame({"n": range(len(rows))})
    kept = without(places, problems)
    assert spread(kept, len(rows), problems)["n"].to_list() == [
        None if number in expected else number for number in range(len(rows))
    ]
    assert read.columns == frame.columns


def test_a_contract_that_accepts_requests_checks_none(tmp_path: Path) -> None:
    bound_project(tmp_path)
    definition = tmp_path / "definition.py"
    definition.write_text(definition.read_text().replace("ck.Contract(", 'ck.Contract(requests="accept",'))
    model = load_project(tmp_path).models["late_trip"]
    rows: list[tuple[Any, ...]] = [("Goa", -4.0, 1, None)]
    request_frame(model.request_fields, rows).write_parquet(tmp_path / "rows.parquet")
    files = row_files(["rows.parquet"], tmp_path)
    assert RowReader.of(model, files, None).read(files.rows(0, 1))[1] == {}


def test_values_are_read_as_those_of_sources(tmp_path: Path) -> None:
    model = bound_project(tmp_path).models["late_trip"]
    odd = pl.DataFrame({"city": ["Pune"] * 3, "km": [2, 3, 4], "stops": [1.0, 2.5, None], "pooled": [None] * 3})
    odd.write_parquet(tmp_path / "rows.parquet")
    files = row_files(["rows.parquet"], tmp_path)
    rows, problems = RowReader.of(model, files, None).read(files.rows(0, 3))
    assert rows.dtypes == [pl.String, pl.Float64, pl.Int64, pl.Boolean]
    assert problems == {1: "field 'stops': expected int, got 2.5"}
    assert rows["stops"].to_list() == [1, None, None]
