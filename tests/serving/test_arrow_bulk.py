"""Bulk calls as Arrow streams: the kinds of columns that are taken, what is refused, and hostile bytes."""

import io
import random
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from app_client import AppClient, app_client
from serving_project import Stage, open_stage

from charkha.serving.deadline import Deadline
from charkha.serving.desk import BULK_ROWS, Desk
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.protocols import arrow_bulk
from charkha.serving.protocols.arrow_tables import read_rows
from charkha.serving.refusals import Invalid, Malformed, TooLarge
from charkha.spec.fields import FieldType

PREDICT = "/v1/models/late_trip/predict"
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
FIELDS: dict[str, FieldType] = {"city": str, "km": float, "stops": int, "pooled": bool, "at": datetime}
NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("project")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[AppClient]:
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as opened:
        yield opened


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=3)
    return sink.getvalue()


def polars_stream(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_ipc_stream(sink)
    return sink.getvalue()


def requests(count: int) -> pl.DataFrame:
    cities = [("Pune", "Delhi", None)[number % 3] for number in range(count)]
    kms = [None if number % 5 == 0 else number / 7 for number in range(count)]
    columns = {"city": cities, "km": kms, "stops": [number % 4 for number in range(count)], "pooled": [True] * count}
    return pl.DataFrame(columns, schema={"city": pl.String, "km": pl.Float64, "stops": pl.Int64, "pooled": pl.Boolean})


def test_a_frame_goes_and_comes_back(client: AppClient, stage: Stage) -> None:
    frame = requests(90)
    before = len(list(stage.home.log.read(prediction_stream("late_trip"))))
    response = client.post(PREDICT, content=polars_stream(frame), headers=ARROW)
    assert (response.status_code, response.headers["content-type"]) == (200, ARROW["content-type"])
    answers = pl.read_ipc_stream(io.BytesIO(response.content))
    plain = client.post(PREDICT, json={"rows": frame.rows(named=True)}).json()["predictions"]
    assert answers.columns == ["id", "score", "decision", "version", "role", "rules", "fallback"]
    for column in ("score", "decision", "version", "role", "rules", "fallback"):
        assert answers[column].to_list() == [each[column] for each in plain]
    assert answers["id"].n_unique() == 90
    assert len(list(stage.home.log.read(prediction_stream("late_trip")))) == before + 2


def test_many_rows_are_logged_in_parts_and_answered_in_order(stage: Stage) -> None:
    parts = Desk(stage.service).answer_bulk("late_trip", requests(BULK_ROWS + 5).rows(), Deadline.within())
    assert [len(part.ids) for part in parts] == [BULK_ROWS, 5]


def table(**changed: Any) -> pa.Table:
    columns = {
        "city": pa.array(["Pune", None, "x", ""]),
        "km": pa.array([1.5, None, 0.0, -2.0]),
        "stops": pa.array([1, None, 3, -4], pa.int64()),
        "pooled": pa.array([True, None, False, True]),
        "at": pa.array([NOON, None, NOON, NOON], pa.timestamp("us", "UTC")),
    }
    return pa.table({name: column for name, column in {**columns, **changed}.items() if column is not None})


PLAIN = [
    ("Pune", 1.5, 1, True, NOON), (None,) * 5, ("x", 0.0, 3, False, NOON), ("", -2.0, -4, True, NOON),
]  # fmt: skip


def test_plain_columns_are_the_rows() -> None:
    assert read_rows(stream(table()), FIELDS, 10) == PLAIN
    assert read_rows(stream(table().select(["at", "pooled", "stops", "km", "city"])), FIELDS, 10) == PLAIN


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("city", pa.array(["Pune", None, "x", ""], pa.large_string())),
        ("city", pa.array(["Pune", None, "x", ""], pa.string_view())),
        ("city", pa.array(["Pune", None, "x", ""]).dictionary_encode()),
        ("city", pa.array(["Pune", None, "x", ""], pa.large_string()).dictionary_encode()),
        *(("stops", pa.array([1, None, 3, -4], kind)) for kind in (pa.int8(), pa.int16(), pa.int32())),
        ("stops", pa.array([1.0, float("nan"), 3.0, -4.0])),
        ("stops", pa.array([1.0, None, 3.0, -4.0], pa.float32())),
        ("km", pa.array([1.5, None, 0.0, -2.0], pa.float32())),
        ("km", pa.array([1.5, float("nan"), 0.0, -2.0])),
        ("at", pa.array([NOON, None, NOON, NOON], pa.timestamp("s", "UTC"))),
        ("at", pa.array([NOON, None, NOON, NOON], pa.timestamp("ns", "Asia/Kolkata"))),
        ("at", pa.array([NOON.replace(tzinfo=None), None, *[NOON.replace(tzinfo=None)] * 2], pa.timestamp("ms"))),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
)
def test_other_kinds_are_taken_where_nothing_is_lost(name: str, column: Any) -> None:
    assert read_rows(stream(table(**{name: column})), FIELDS, 10) == PLAIN


def test_whole_numbers_are_numbers_and_nothing_but_nulls_is_any_kind() -> None:
    rows = read_rows(stream(table(km=pa.array([1, 2, None, 4], pa.uint16()), city=pa.nulls(4))), FIELDS, 10)
    assert [row[:2] for row in rows] == [(None, 1.0), (None, 2.0), (None, None), (None, 4.0)]


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("city", None, "column 'city': expected text, got nothing; every field must be sent"),
        ("city", pa.array([1, 2, 3, 4]), "column 'city': expected text, got int64"),
        ("city", pa.array([b"a"] * 4), "column 'city': expected text, got binary"),
        ("city", pa.array([["a"]] * 4), "column 'city': expected text, got list"),
        ("km", pa.array(["1.5"] * 4), "column 'km': expected numbers, got string"),
        ("km", pa.array([True] * 4), "column 'km': expected numbers, got bool"),
        ("km", pa.array([2**53 + 1, 1, 1, 1]), "column 'km': expected numbers that a decimal of 64 bits holds"),
        ("km", pa.array([1.0, 2.0, float("inf"), 1.0]), "field 'rows[2].km': expected a finite number or null"),
        ("stops", pa.array([1, 2, 3, 2**63], pa.uint64()), "column 'stops': expected whole numbers of 64 bits"),
        ("stops", pa.array([1.0, 2.5, 3.0, 4.0]), "column 'stops': expected whole numbers of 64 bits"),
        ("stops", pa.array([1e300, 1.0, 1.0, 1.0]), "column 'stops': expected whole numbers of 64 bits"),
        ("pooled", pa.array([1, 0, 1, 0]), "column 'pooled': expected booleans, got int64"),
        ("at", pa.array([date(2013, 4, 1)] * 4), "column 'at': expected timestamps, got date32"),
        ("at", pa.array([1, 2, 3, 4], pa.timestamp("ns")), "column 'at': expected whole microseconds"),
        ("at", pa.array([0, 2**62, 0, 0], pa.timestamp("us")), "field 'rows[1].at': expected a time of a year"),
        ("at", pa.array([0, 2**62, 0, 0], pa.timestamp("s")), "column 'at': expected whole microseconds"),
        ("city", pa.array(["a", "b", "c", "x" * 5000]), "field 'rows[3].city': expected text of at most 4096"),
        ("city", pa.array(["a", "b\x00", "c", "d"]).dictionary_encode(), "field 'rows[1].city': expected text"),
        ("late", pa.array([1, 2, 3, 4]), "column 'late': expected one of city, km, stops, pooled, at"),
    ],
)  # fmt: skip
def test_columns_that_are_not_the_fields_are_refused(name: str, column: Any, said: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_rows(stream(table(**{name: column})), FIELDS, 10)
    assert refused.value.refusal.message.startswith(said)


def test_a_column_twice_is_refused() -> None:
    with pytest.raises(Invalid, match="expected numbers, got 2 of that name"):
        read_rows(stream(table().append_column("km", pa.array([1.0] * 4))), FIELDS, 10)


def test_more_or_fewer_rows_than_are_taken_are_refused() -> None:
    with pytest.raises(TooLarge, match="at most 3 rows"):
        read_rows(stream(table()), FIELDS, 3)
    with pytest.raises(Invalid, match="at least one row"):
        read_rows(stream(table().slice(0, 0)), FIELDS, 3)


@pytest.mark.parametrize("length", [2**31, 2**40, 2**62])
def test_rows_that_take_no_room_are_counted_all_the_same(length: int) -> None:
    written = stream(pa.table({name: pa.nulls(3) for name in FIELDS}))
    endless = written.replace(struct.pack("<q", 3), struct.pack("<q", length))
    assert endless != written
    with pytest.raises((TooLarge, Malformed)):
        read_rows(endless, FIELDS, 10)


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view()])
def test_texts_that_many_rows_share_are_counted_as_often(kind: Any) -> None:
    words = pa.array(["x" * 4000], kind)
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), words)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.schema([("city", shared.type)])) as writer:
        writer.write_table(pa.table({"city": shared}))
    with pytest.raises(TooLarge, match="bytes of text"):
        read_rows(sink.getvalue(), {"city": str}, 100_000)


def test_views_that_share_a_text_are_counted_as_often() -> None:
    text = b"x" * 4000
    view = struct.pack("<i4sii", len(text), text[:4], 0, 0)
    views = pa.Array.from_buffers(pa.string_view(), 20_000, [None, pa.py_buffer(view * 20_000), pa.py_buffer(text)])
    with pytest.raises(TooLarge, match="bytes of text"):
        read_rows(stream(pa.table({"city": views})), {"city": str}, 100_000)


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_compressed_buffers_are_refused(codec: str) -> None:
    zeros = pa.table({"city": pa.array(["x" * 1000] * 3).dictionary_encode()})
    with pytest.raises(Invalid, match="not compressed"):
        read_rows(stream(zeros, compression=codec), {"city": str}, 10)


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"ARROW1\x00\x00" + b"\x00" * 90, b"PAR1", b'{"city": 1}', b"\xff" * 1000, b"\xff\xff\xff\x7f" * 9],
)  # fmt: skip
def test_what_is_no_stream_is_malformed(client: AppClient, body: bytes) -> None:
    response = client.post(PREDICT, content=body, headers=ARROW)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_arrow")


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield broken copies: cut off, with bytes flipped, with lengths that are huge, negative or zero."""
    chance = random.Random(seed)
    lengths = [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"\x00\x00\x00\x00"]
    for number in range(count):
        broken = bytearray(data)
        if number % 4 == 0:
            broken = broken[: chance.randrange(len(broken))]
        elif number % 4 == 1:
            place = chance.randrange(len(broken) - 8)
            broken[place : place + 4] = chance.choice(lengths)
        else:
            for _ in range(chance.randrange(1, 6)):
                end = len(broken) if chance.random() < 0.5 else min(len(broken), 1500)
                broken[chance.randrange(end)] = chance.randrange(256)
        yield bytes(broken)


def hostile() -> Sequence[bytes]:
    encoded = table(city=pa.array(["Pune", None, "x", ""]).dictionary_encode())
    frame = pl.DataFrame(table().to_pydict(), schema_overrides={"city": pl.String})
    return [stream(table()), stream(encoded), polars_stream(frame), polars_stream(frame.cast({"city": pl.Categorical}))]


@pytest.mark.parametrize("which", range(4))
def test_hostile_streams_are_refused_and_end_nothing(which: int) -> None:
    refused = 0
    for broken in mutations(hostile()[which], 500, seed=which):
        try:
            read_rows(broken, FIELDS, 10)
        except (Malformed, Invalid, TooLarge):
            refused += 1
    assert refused > 250


def test_other_types_are_refused(client: AppClient) -> None:
    response = client.post(PREDICT, content=b"x", headers={"content-type": "application/vnd.apache.arrow.file"})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_type")


def test_a_server_without_the_library_says_what_to_install(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_bulk, "find_spec", lambda name: None)
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as bare:
        response = bare.post(PREDICT, content=polars_stream(requests(1)), headers=ARROW)
    assert (response.status_code, response.json()["error"]["code"]) == (415, "arrow_missing")
    assert "charkha[arrow]" in response.json()["error"]["message"]
