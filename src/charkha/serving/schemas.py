"""The bodies that the routes take, as types made from the definition, and how a body becomes rows of values.

Every field of a definition must be there and no other may be; a value may be null where data may be missing. Numbers
are never read from text or from booleans, and integers never from decimals: a client that sends "12" has a fault that
it should hear of.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from difflib import get_close_matches
from functools import partial
from math import isfinite
from typing import Annotated, Any, TypeVar

import msgspec
import polars as pl
from attrs import frozen
from msgspec import UNSET, Meta, UnsetType

from charkha.clock import to_datetime, to_micros
from charkha.serving.flaws import count_keys, duplicate, malformed, may_hold_nul, nul_field
from charkha.serving.refusals import Invalid, Malformed, TooLarge
from charkha.spec.fields import TIME, FieldType, polars_schema
from charkha.spec.model import Model
from charkha.spec.sources import Source

LONGEST_TEXT = 4096
ROWS = "rows"

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
_Time = Annotated[datetime, Meta(extra_json_schema={"format": "date-time"})]
_TYPES: Mapping[FieldType, Any] = {str: _Text, int: _Int64, float: float, bool: bool, datetime: _Time}
_WORDS: Mapping[FieldType, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    datetime: "a time such as 2013-04-01T06:30:00Z",
}
_EXAMPLES: Mapping[FieldType, object] = {
    str: "text",
    int: 1,
    float: 1.5,
    bool: True,
    datetime: "2013-04-01T06:30:00Z",
}

# The whole body is {"rows": [...]}. A field called "rows" cannot be meant: no field holds an array.
_MANY = re.compile(rb'\s*\{\s*"rows"\s*:\s*[^\s"0-9tf-]')
_AT = " - at `"
_WRONG_FIELD = re.compile(r"Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_ROW_NUMBER = re.compile(r"^rows\[\d+\]\.?")
_FOUND = re.compile(r", got `(?P<kind>\w+)`$")
_KINDS = {"str": "text", "int": "a whole number", "float": "a decimal", "bool": "a boolean", "null": "null"}

Row = tuple[Any, ...]
Schema = TypeVar("Schema", bound="RowSchema")
_define = partial(msgspec.defstruct, forbid_unknown_fields=True, frozen=True, module=__name__)


@frozen(eq=False)
class RowSchema:
    """The rows that one route takes: one object, or `{"rows": [...]}` of at most `limit` of them.

    words: field → what is expected of it, in words. example: field → a value it could have. row, rows: the types.
    times: the places of fields that are times.
    """

    words: Mapping[str, str]
    example: Mapping[str, object]
    limit: int
    row: type[msgspec.Struct]
    rows: type[msgspec.Struct]
    one: "msgspec.json.Decoder[msgspec.Struct]"
    many: "msgspec.json.Decoder[Any]"
    times: tuple[int, ...] = ()

    def decode(self, body: bytes) -> tuple[list[Row], bool]:
        """Return the rows of a body, values in the order of the fields, and whether it was an object with `rows`.

        Raises Malformed, Invalid and TooLarge, naming the field.
        """
        is_many = _MANY.match(body) is not None
        try:
            structs = self.many.decode(body).rows if is_many else [self.one.decode(body)]
        except msgspec.ValidationError as error:
            raise self._invalid(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(body, str(error)) from None
        keys = self._keys(structs) + is_many
        # As many colons as keys: none is there twice. With more, some may be in text.
        if body.count(b":") != keys and count_keys(body) != keys:
            raise duplicate(body)
        if may_hold_nul(body) and (field := nul_field(msgspec.json.decode(body))) is not None:
            raise Malformed(f"field '{field}': expected text without NUL characters", field)
        rows = [msgspec.structs.astuple(struct) for struct in structs]
        if self.times:
            self._refuse_times_that_are_none(rows, is_many=is_many)
        return rows, is_many

    def _keys(self, structs: Sequence[msgspec.Struct]) -> int:
        """Return how many keys rows have, those of objects in them too."""
        return len(structs) * len(self.words)

    def convert(self, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Return rows that came in another form than as our JSON, held to the same types.

        rows: field → a value as JSON has it, or a datetime. Raises Malformed, Invalid and TooLarge, naming the field.
        """
        try:
            structs = msgspec.convert({ROWS: list(rows)}, self.rows).rows  # type: ignore[attr-defined]
        except msgspec.ValidationError as error:
            raise self._invalid(str(error)) from None
        converted = [msgspec.structs.astuple(struct) for struct in structs]
        for number, row in enumerate(converted):
            for name, value in zip(self.words, row, strict=True):
                self._refuse_what_json_has_not(f"{ROWS}[{number}].{name}", name, value)
        self._refuse_times_that_are_none(converted, is_many=True)
        return converted

    def _refuse_times_that_are_none(self, rows: Sequence[Row], *, is_many: bool) -> None:
        """Refuse times of the first and the last year that are of another one in UTC, which no calendar here has."""
        names = list(self.words)
        for number, row in enumerate(rows):
            for place in self.times:
                if row[place] is not None and row[place].year in (MINYEAR, MAXYEAR) and not _has_utc(row[place]):
                    path = f"{ROWS}[{number}].{names[place]}" if is_many else names[place]
                    said = f"expected {self.words[names[place]]} of the years 1 to 9999 in UTC, got {row[place]}"
                    raise Invalid(f"field '{path}': {said}", path)

    def _refuse_what_json_has_not(self, path: str, name: str, value: Any) -> None:
        if isinstance(value, float) and not isfinite(value):
            raise Invalid(f"field '{path}': expected {self.words[name]}, got {value}", path)
        if isinstance(value, str) and "\x00" in value:
            raise Malformed(f"field '{path}': expected text without NUL characters", path)

    def _invalid(self, error: str) -> Invalid | TooLarge:
        said, _, path = error.partition(_AT)
        path = path.rstrip("`").removeprefix("$").removeprefix(".")
        wrong = _WRONG_FIELD.match(said)
        if wrong is not None:
            return self._wrong_field(path, wrong["name"], missing="missing" in wrong["fault"])
        if path == ROWS and said.startswith("Expected `array` of length <="):
            return TooLarge("too_many_rows", f"expected at most {self.limit} rows in a request, got more", ROWS)
        return Invalid(f"{_where(path)}: expected {self._expected(path)}{_found(said)}", path or None)

    def _wrong_field(self, path: str, name: str, *, missing: bool) -> Invalid:
        field = f"{path}.{name}" if path else name
        if missing:
            said = f"expected {self.words[name]}, got nothing; every field must be sent"
            return Invalid(f"{_where(field)}: {said}", field)
        meant = get_close_matches(name, self.words, 1)
        hint = f". Did you mean '{meant[0]}'?" if meant else ""
        return Invalid(f"{_where(field)}: expected one of {', '.join(self.words)}, got an unknown field{hint}", field)

    def _expected(self, path: str) -> str:
        """Return what belongs at a path, in words."""
        if not path:
            return 'an object, or {"rows": [...]}'
        if path == ROWS:
            return f"an array of 1 to {self.limit} objects"
        name = _ROW_NUMBER.sub("", path)
        return self.words[name] if name else f"an object with the fields {', '.join(self.words)}"


def request_schema(model: Model, limit: int) -> RowSchema:
    """Return what the predict route of a model takes: its request fields, each of which may be null."""
    return _row_schema(f"{model.name}_request", model.request_fields, frozenset(), limit)


def event_schema(source: Source, limit: int) -> RowSchema:
    """Return what the events route of a source takes: its fields; its key and event time may not be null."""
    needed = {*source.key, source.time} - {None}
    return _row_schema(f"{source.name}_event", source.fields, frozenset(needed), limit)


def request_frame(fields: Mapping[str, FieldType], rows: Sequence[Row]) -> pl.DataFrame:
    """Return decoded rows as the table that `Service.predict` takes; times without a zone are UTC."""
    columns = list(zip(*rows, strict=True))
    schema = polars_schema(fields)
    return pl.DataFrame([_series(n, dtype, v) for (n, dtype), v in zip(schema.items(), columns, strict=True)])


def utc_rows(fields: Mapping[str, FieldType], rows: Sequence[Row]) -> Sequence[Row]:
    """Return decoded rows with their times in UTC, as a table of them has them; times without a zone are UTC."""
    times = {place for place, kind in enumerate(fields.values()) if kind is datetime}
    if not times:
        return rows
    return [tuple(_in_utc(value) if place in times else value for place, value in enumerate(row)) for row in rows]


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else to_datetime(to_micros(moment))


def _has_utc(moment: datetime) -> bool:
    try:
        to_datetime(to_micros(moment))
    except OverflowError:
        return False
    return True


def _series(name: str, dtype: pl.DataType, values: Sequence[Any]) -> pl.Series:
    if dtype == TIME:
        values = [None if moment is None else to_micros(moment) for moment in values]
    return pl.Series(name, values, dtype=dtype)


def _row_schema(name: str, fields: Mapping[str, FieldType], needed: frozenset[str | None], limit: int) -> RowSchema:
    types = {field: _TYPES[kind] if field in needed else _TYPES[kind] | None for field, kind in fields.items()}
    words = {field: _WORDS[kind] if field in needed else f"{_WORDS[kind]} or null" for field, kind in fields.items()}
    times = tuple(place for place, kind in enumerate(types.values()) if kind in (_Time, _Time | None))
    example = {field: _EXAMPLES[kind] for field, kind in fields.items()}
    return schema_of(RowSchema, struct_of(name, types), words, example, limit, times=times)


def struct_of(name: str, types: Mapping[str, Any], optional: Collection[str] = ()) -> type[msgspec.Struct]:
    """Make the type of an object with these fields and no other; `optional` ones are UNSET where they are left out.

    Attributes are numbered, since a field may be called anything, also `class`.
    """
    attributes = {f"f{number}": field for number, field in enumerate(types)}
    fields = [
        (attribute, types[field] | UnsetType, UNSET) if field in optional else (attribute, types[field])
        for attribute, field in attributes.items()
    ]
    return _define(name, fields, rename=attributes)


def schema_of(
    kind: Callable[..., Schema],
    row: type[msgspec.Struct],
    words: Mapping[str, str],
    example: Mapping[str, object],
    limit: int,
    **more: Any,
) -> Schema:
    """Make the schema of a kind that takes rows of a type. more: what the kind has of its own."""
    rows = _define(f"{row.__name__}s", [(ROWS, Annotated[list[row], Meta(min_length=1, max_length=limit)])])  # type: ignore[valid-type]
    return kind(words, example, limit, row, rows, msgspec.json.Decoder(row), msgspec.json.Decoder(rows), **more)


def _where(path: str) -> str:
    return f"field '{path}'" if path else "body"


def _found(said: str) -> str:
    """Return what came, from a sentence of the decoder: its kind where it says so, else the sentence."""
    found = _FOUND.search(said)
    return f"; {said}" if found is None else f", got {_KINDS.get(found['kind'], 'an ' + found['kind'])}"
