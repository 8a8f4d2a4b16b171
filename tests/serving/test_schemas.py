"""Bodies become rows exactly, or are refused with the field, what was expected and what came."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_project import write_project

from charkha.serving.flaws import count_keys
from charkha.serving.label_schemas import label_schema
from charkha.serving.refusals import Refused
from charkha.serving.schemas import RowSchema, event_schema, request_frame, request_schema
from charkha.spec.fields import TIME

ID = "013dc2cb-b400-7000-8000-000000000000"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "city": st.none() | TEXT,
            "km": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "stops": st.none() | st.integers(-(2**63), 2**63 - 1),
            "pooled": st.none() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RowSchema]:
    project = write_project(tmp_path_factory.mktemp("project"))
    models = project.models
    return {
        "request": request_schema(models["late_trip"], 5),
        "event": event_schema(project.sources["trips"], 5),
        "label": label_schema(models["late_trip"], 5),
        "value": label_schema(models["how_far"], 5),
    }


@given(rows=ROWS, indent=st.sampled_from([None, 2]))
def test_any_valid_rows_come_through(
    schemas: dict[str, RowSchema], rows: list[dict[str, Any]], indent: int | None
) -> None:
    body = json.dumps({"rows": rows}, indent=indent, ensure_ascii=len(rows) % 2 == 0).encode()
    decoded, is_many = schemas["request"].decode(body)
    assert is_many
    values = [tuple(row[name] for name in ROW) for row in rows]
    assert decoded == values
    single, is_many = schemas["request"].decode(json.dumps(rows[0]).encode())
    assert (single, is_many) == (values[:1], False)


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_keys_are_counted_in_any_document(document: Any) -> None:
    def obvious(part: Any) -> int:
        if isinstance(part, dict):
            return len(part) + sum(obvious(value) for value in part.values())
        return sum(obvious(value) for value in part) if isinstance(part, list) else 0

    for text in (json.dumps(document), json.dumps(document, indent=1, ensure_ascii=False, separators=(" ,", " : "))):
        assert count_keys(text.encode("utf-8", "surrogatepass")) == obvious(document)


ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
EVENT = {
    "trip": 1, "city": "Pune", "driver": None, "km": None, "stops": None, "pooled": None, "asked_at": None,
    "ended_at": "2013-04-01T10:00:00Z", "late": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "body", "field", "message"),
    [
        ("request", {**ROW, "stops": 2.5}, "stops", "field 'stops': expected a whole number or null, got a decimal"),
        ("request", {**ROW, "stops": "2"}, "stops", "expected a whole number or null, got text"),
        ("request", {**ROW, "km": True}, "km", "expected a number or null, got a boolean"),
        ("request", {**ROW, "stops": 2**63}, "stops", "expected a whole number or null; Expected `int` <="),
        ("request", {**ROW, "city": "x" * 5000}, "city", "length <= 4096"),
        ("request", {"rows": [ROW, {**ROW, "city": 7}]}, "rows[1].city", "field 'rows[1].city': expected text or null"),
        ("request", {"rows": [ROW, [ROW]]}, "rows[1]", "expected an object with the fields city, km, stops, pooled"),
        ("request", {"rows": []}, "rows", "expected an array of 1 to 5 objects"),
        ("request", {"rows": [ROW] * 6}, "rows", "at most 5 rows"),
        ("request", {"city": "Pune"}, "km", "field 'km': expected a number or null, got nothing"),
        ("request", {**ROW, "kms": 1}, "kms", "field 'kms': expected one of city, km, stops, pooled, got an unknown"),
        ("request", [ROW], None, 'body: expected an object, or {"rows": [...]}, got an array'),
        ("event", {**EVENT, "trip": None}, "trip", "field 'trip': expected a whole number, got null"),
        ("event", {**EVENT, "ended_at": None}, "ended_at", "expected a time such as"),
        ("event", {**EVENT, "ended_at": 1364774400}, "ended_at", "expected a time such as"),
        ("event", {**EVENT, "ended_at": "yesterday"}, "ended_at", "Invalid RFC3339"),
        ("label", {"id": "12", "label": True}, "id", "expected the id of a prediction"),
        ("label", {"id": ID, "label": None}, "label", "expected true, false, 1 or 0, got null"),
        ("label", {"id": ID, "label": 2}, "label", "expected true, false, 1 or 0"),
        ("label", {"id": ID, "label": 0.5}, "label", "expected true, false, 1 or 0"),
        ("value", {"id": ID, "label": True}, "label", "expected a number, got a boolean"),
    ],
)
def test_what_does_not_fit_is_refused_by_field(
    schemas: dict[str, RowSchema], kind: str, body: object, field: str | None, message: str
) -> None:
    with pytest.raises(Refused) as refused:
        schemas[kind].decode(json.dumps(body).encode())
    assert refused.value.refusal.field == field
    assert message in refused.value.refusal.message
    assert refused.value.status in (413, 422)


def test_labels_are_numbers_or_truth_values(schemas: dict[str, RowSchema]) -> None:
    bodies = [{"id": ID, "label": value} for value in (True, False, 1, 0)]
    assert [schemas["label"].decode(json.dumps(body).encode())[0][0][1] for body in bodies] == [True, False, 1, 0]
    ((_, value),), _ = schemas["value"].decode(json.dumps({"id": ID, "label": 3}).encode())
    assert (value, type(value)) == (3.0, float)


def test_times_without_a_zone_are_utc(schemas: dict[str, RowSchema], tmp_path: Path) -> None:
    texts = ["2013-04-01T10:00:00", "2013-04-01T15:30:00+05:30", "2013-04-01T10:00:00Z"]
    rows = [schemas["event"].decode(json.dumps({**EVENT, "ended_at": text}).encode())[0][0] for text in texts]
    fields = write_project(tmp_path).sources["trips"].fields
    frame = request_frame(fields, rows)
    assert frame["ended_at"].dtype == TIME
    assert frame["ended_at"].to_list() == [datetime(2013, 4, 1, 10, tzinfo=UTC)] * 3
    assert frame["asked_at"].to_list() == [None] * 3
    assert frame.schema["trip"] == pl.Int64()


def test_fields_may_be_called_anything() -> None:
    import charkha as ck

    source = ck.Source("odd", {"class": int, "rows": float, "a b": str, "é": bool}, key=["class"], static=True)
    schema = event_schema(source, 3)
    row = {"class": 1, "rows": 2.0, "a b": None, "é": True}
    assert schema.decode(json.dumps(row).encode()) == ([(1, 2.0, None, True)], False)
    assert schema.decode(json.dumps({"rows": [row]}).encode()) == ([(1, 2.0, None, True)], True)
    assert schema.decode(json.dumps(dict(reversed(row.items()))).encode()) == ([(1, 2.0, None, True)], False)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"])
def test_a_time_that_utc_has_not_is_refused_in_every_form(schemas: dict[str, RowSchema], moment: str) -> None:
    event = dict(schemas["event"].example) | {"asked_at": moment}
    with pytest.raises(Refused, match=r"field 'asked_at': expected a time such as .* of the years 1 to 9999 in UTC"):
        schemas["event"].decode(json.dumps(event).encode())
    with pytest.raises(Refused, match=r"field 'rows\[0\].asked_at'"):
        schemas["event"].convert([event])
    first = json.dumps(event | {"asked_at": "0001-01-01T00:00:00Z"}).encode()
    assert schemas["event"].decode(first)[0][0][6].year == 1
