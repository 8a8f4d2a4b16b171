"""The bodies of `/invocations`, as MLflow's scoring server takes them: four forms in JSON, and CSV.

A whole number may come as a decimal without a fraction: pandas makes one of an integer column that has a null.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from attrs import frozen

from charkha.serving.protocols.documents import as_kind, decode_document
from charkha.serving.refusals import Invalid, Malformed, TooLarge
from charkha.spec.fields import FieldType

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_WHOLE, _TRUTHS = re.compile(r"[+-]?\d{1,19}"), {"true": True, "false": False}
_LARGEST_EXACT = 2.0**53

Record = Mapping[str, Any]


class Split(msgspec.Struct, frozen=True):
    """A table as pandas writes it with `orient="split"`; its index says nothing of a request."""

    columns: list[str]
    data: list[list[Any]]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What else a call may ask. details: whole predictions in place of scores."""

    details: bool = False


@frozen(eq=False)
class Invocation:
    """What is asked: records by field, their values not checked yet."""

    records: Sequence[Record]
    details: bool


def read_json(body: bytes, fields: Mapping[str, FieldType], limit: int) -> Invocation:
    """Return what a JSON body asks. Raises Malformed, Invalid and TooLarge."""
    document = decode_document(body)
    forms = [form for form in FORMS if form in document] if isinstance(document, dict) else []
    if len(forms) != 1 or not {*document} <= {forms[0], "params"}:
        found = f"the fields {', '.join(map(str, document))}"[:200] if isinstance(document, dict) else "no object"
        raise Invalid(f"body: expected one of {', '.join(FORMS)}, and perhaps params, got {found}", None)
    params = as_kind(document.get("params") or {}, Params)
    records = [_whole_numbers(record, fields) for record in _records(forms[0], document[forms[0]], limit)]
    return Invocation(records, params.details)


def _records(form: str, given: Any, limit: int) -> Iterator[Record]:
    if form == "dataframe_split":
        split = as_kind(given, Split)
        if len({*split.columns}) != len(split.columns):
            raise Invalid("field 'dataframe_split.columns': expected each column once, got one twice", form)
        rows: Sequence[Any] = split.data
        columns = split.columns
    elif isinstance(given, dict) and form in ("instances", "inputs"):
        rows, columns = _turned(form, given), list(given)
    else:
        rows, columns = given, []
    if not isinstance(rows, list):
        raise Invalid(f"field '{form}': expected an array of objects, one for each row, got no array", form)
    if len(rows) > limit:
        raise TooLarge("too_many_rows", f"expected at most {limit} rows in a request, got {len(rows)}", form)
    for number, row in enumerate(rows):
        yield _record(form, number, row, columns)


def _record(form: str, number: int, row: Any, columns: Sequence[str]) -> Record:
    if not columns and isinstance(row, dict):
        return row
    if columns and isinstance(row, list) and len(row) == len(columns):
        return dict(zip(columns, row, strict=True))
    expected = f"an array of {len(columns)} values" if columns else "an object"
    raise Invalid(f"field '{form}': expected {expected} for each row, got something else in row {number}", form)


def _turned(form: str, columns: Mapping[str, Any]) -> list[list[Any]]:
    """Return columns as rows."""
    values = list(columns.values())
    if not all(isinstance(column, list) and len(column) == len(values[0]) for column in values):
        raise Invalid(f"field '{form}': expected arrays of one length by field, got something else", form)
    return [list(row) for row in zip(*values, strict=True)]


def _whole_numbers(record: Record, fields: Mapping[str, FieldType]) -> Record:
    return {name: whole(value) if fields.get(name) is int else value for name, value in record.items()}


def whole(value: Any) -> Any:
    """Return a decimal without a fraction as the whole number that it is; anything else as it came."""
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT
    return int(value) if exact else value


def read_csv(body: bytes, fields: Mapping[str, FieldType], limit: int) -> Invocation:
    """Return what a CSV body asks: a header and rows; nothing between two commas is null. Raises as `read_json`."""
    try:
        rows = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(rows, [])
        lines = [line for line, _ in zip((row for row in rows if row), range(limit + 1), strict=False)]
    except UnicodeDecodeError as error:
        raise Malformed(f"body: expected CSV in UTF-8, got other bytes: {error.reason}", code="malformed_csv") from None
    except csv.Error as error:
        raise Malformed(f"body: expected CSV, got something else: {error}", code="malformed_csv") from None
    if len(lines) > limit:
        raise TooLarge("too_many_rows", f"expected at most {limit} rows in a request, got more")
    if len({*header}) != len(header):
        raise Invalid("body: expected each column of the header once, got one twice", None)
    for number, line in enumerate(lines):
        if len(line) != len(header):
            raise Invalid(f"body: expected {len(header)} values in row {number}, got {len(line)}", None)
    records = [{name: _cell(fields.get(name), cell) for name, cell in zip(header, line, strict=True)} for line in lines]
    return Invocation(records, details=False)


def _cell(kind: FieldType | None, cell: str) -> Any:
    """Return a cell as a value of its field's type; as it came, to be refused, where it is none."""
    if cell == "":
        return None
    read = _READERS.get(kind) if kind is not None else None
    try:
        return cell if read is None else read(cell)
    except ValueError:
        return cell


def _integer(cell: str) -> Any:
    return int(cell) if _WHOLE.fullmatch(cell) else whole(float(cell))


_READERS: Mapping[FieldType, Callable[[str], Any]] = {
    bool: lambda cell: _TRUTHS.get(cell.lower(), cell),
    int: _integer,
    float: float,
    datetime: lambda cell: cell.replace(" ", "T", 1),
}
