"""Arrow streams, as bulk calls send and get them: record batches in, columns of plain values out, and back.

They are read by PyArrow, which takes a hostile stream for what it is: Polars' reader ends the process at some. Nothing
of a stream is believed before it is looked at: first its schema, then how many rows there are, then every offset, text
and index (`Table.validate`), then the values. Compressed buffers are refused: a few bytes can become any number.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from charkha.clock import to_datetime
from charkha.serving.protocols.arrow_guards import is_compressed, text_bytes
from charkha.serving.refusals import Invalid, Malformed, TooLarge
from charkha.serving.schemas import LONGEST_TEXT
from charkha.serving.scoring import Answers, Row
from charkha.spec.fields import FieldType

# Of all texts of a call, written out: a dictionary can say a long one many times at no cost.
MOST_TEXT_BYTES = 64 << 20
MOST_BATCHES = 10_000
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("score", pa.float64()),
        ("decision", pa.bool_()),
        ("version", pa.string()),
        ("role", pa.string()),
        ("rules", pa.list_(pa.string())),
        ("fallback", pa.string()),
    ]
)
_WORDS: Mapping[FieldType, str] = {
    str: "text",
    int: "whole numbers",
    float: "numbers",
    bool: "booleans",
    datetime: "timestamps",
}


def read_rows(body: bytes, fields: Mapping[str, FieldType], limit: int) -> list[Row]:
    """Return the rows of a stream, values in the order of the fields. Raises Malformed, Invalid and TooLarge."""
    table = _read(body, fields, limit)
    columns = [_values(name, kind, table.column(name)) for name, kind in fields.items()]
    return list(zip(*columns, strict=True))


def write_answers(answers: Sequence[Answers]) -> bytes:
    """Return the answers as one stream, in their order."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as stream:
        for part in answers:
            rules = [list(hits) for hits in part.rules]
            columns = (part.ids, part.scores, part.decisions, part.versions, part.roles, rules, part.causes)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
            stream.write_batch(pa.record_batch(arrays, schema=SCHEMA))
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _read(body: bytes, fields: Mapping[str, FieldType], limit: int) -> pa.Table:
    """Return a stream as a table that holds what it says."""
    try:
        buffer = pa.py_buffer(body)
        if any(is_compressed(message.metadata.to_pybytes()) for message in pa.ipc.MessageReader.open_stream(buffer)):
            raise Invalid("body: expected an Arrow stream that is not compressed, got compressed buffers", None)
        with pa.ipc.open_stream(buffer) as stream:
            _refuse_other_columns(stream.schema, fields)
            table = pa.Table.from_batches(list(_batches(stream, limit)), stream.schema)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError, struct.error) as error:
        said = f"body: expected an Arrow stream, got one that cannot be read: {str(error)[:200]}"
        raise Malformed(said, code="malformed_arrow") from None
    if not table.num_rows:
        raise Invalid("body: expected at least one row, got none", None)
    if sum(text_bytes(chunk) for column in table.columns for chunk in column.chunks) > MOST_TEXT_BYTES:
        raise TooLarge("body_too_large", f"expected at most {MOST_TEXT_BYTES} bytes of text, got more. Send fewer rows")
    return table


def _batches(stream: Any, limit: int) -> Iterator[Any]:
    rows = 0
    for number, batch in enumerate(stream):
        rows += batch.num_rows
        if rows > limit:
            raise TooLarge("too_many_rows", f"expected at most {limit} rows in a bulk call, got more")
        if number >= MOST_BATCHES:
            raise TooLarge("body_too_large", f"expected at most {MOST_BATCHES} record batches, got more")
        yield batch


def _refuse_other_columns(schema: Any, fields: Mapping[str, FieldType]) -> None:
    """Refuse a schema that is not one column for every field, each of a type that can hold its values."""
    for name in schema.names:
        if name not in fields:
            raise Invalid(f"column '{name}': expected one of {', '.join(fields)}, got an unknown column", name)
    for name, kind in fields.items():
        count = len(schema.get_all_field_indices(name))
        if count != 1:
            found = "nothing; every field must be sent" if not count else f"{count} of that name"
            raise Invalid(f"column '{name}': expected {_WORDS[kind]}, got {found}", name)
        found_type = schema.field(name).type
        if not (pa.types.is_null(found_type) or _HOLDS[kind](found_type)):
            raise Invalid(f"column '{name}': expected {_WORDS[kind]}, got {str(found_type)[:80]}", name)


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type) and not pa.types.is_dictionary(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


_HOLDS: Mapping[FieldType, Callable[[Any], bool]] = {
    str: _is_text,
    int: _is_number,
    float: _is_number,
    bool: pa.types.is_boolean,
    datetime: pa.types.is_timestamp,
}


def _values(name: str, kind: FieldType, column: Any) -> Sequence[Any]:
    """Return a column as values of its field. Raises Invalid where that would lose something."""
    if pa.types.is_null(column.type):
        return [None] * len(column)
    if kind is str:
        return _texts(name, column)
    if kind is bool:
        return _listed(column)
    if kind is datetime:
        micros = _cast(name, column.cast(pa.timestamp(column.type.unit)), pa.timestamp("us"), "whole microseconds")
        return [
            None if each is None else _moment(name, row, each) for row, each in enumerate(_listed(micros.cast("int64")))
        ]
    column = _without_nan(name, column) if pa.types.is_floating(column.type) else column
    if kind is int:
        return _listed(_cast(name, column, pa.int64(), "whole numbers of 64 bits"))
    return _listed(_cast(name, column, pa.float64(), "numbers that a decimal of 64 bits holds exactly"))


def _cast(name: str, column: Any, kind: Any, words: str) -> Any:
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        raise Invalid(f"column '{name}': expected {words}, got others: {str(error)[:120]}", name) from None


def _without_nan(name: str, column: Any) -> Any:
    """Return decimals with NaN as null, as in files; an infinite one is no number."""
    column = column.cast(pa.float64())
    infinite = pc.index(pc.is_inf(column), True).as_py()
    if infinite >= 0:
        raise _at(name, infinite, "a finite number or null", "an infinite one")
    return pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)


def _moment(name: str, row: int, micros: int) -> datetime:
    try:
        return to_datetime(micros)
    except OverflowError:
        raise _at(name, row, "a time of a year from 1 to 9999", "another") from None


def _texts(name: str, column: Any) -> Sequence[str | None]:
    """Return texts; those of a dictionary are there once, however many rows say them."""
    texts = list(chain.from_iterable(_texts_of(chunk) for chunk in column.chunks))
    for row, text in enumerate(texts):
        if text is not None and (len(text) > LONGEST_TEXT or "\x00" in text):
            raise _at(name, row, f"text of at most {LONGEST_TEXT} characters, without NUL", "other text")
    return texts


def _texts_of(chunk: Any) -> Sequence[str | None]:
    if not pa.types.is_dictionary(chunk.type):
        return _listed(chunk)
    known = _listed(chunk.dictionary)
    return [None if place is None else known[place] for place in _listed(chunk.indices)]


def _listed(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values


def _at(name: str, row: int, expected: str, got: str) -> Invalid:
    return Invalid(f"field 'rows[{row}].{name}': expected {expected}, got {got}", f"rows[{row}].{name}")
