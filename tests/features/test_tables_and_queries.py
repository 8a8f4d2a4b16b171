"""Tables of a lake and queries of a database: they read like Parquet, go the same ways, and say what is wrong."""

import sqlite3
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest

import charkha as ck
from charkha.engines.local import LocalEngine
from charkha.features.backfill import backfill, with_times
from charkha.features.batches import batches_of
from charkha.features.data_check import WHOLE, check_source
from charkha.features.data_decisions import NothingToDecide, Word
from charkha.features.declared import DataError
from charkha.features.file_decisions import mark_file
from charkha.features.offline import offline_features
from charkha.features.pieces import pieces_of
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.queries import _filled, _located, _typed, query_frames
from charkha.features.reading import Sources
from charkha.features.rows import FileBreaksContract, read_rows
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Files, Query
from charkha.storage.home import open_home
from charkha.storage.parts import PartsRefused

FIELDS = {"id": int, "city": str, "at": datetime, "seen": datetime, "amount": float, "paid": bool}
NOON = datetime(2024, 5, 1, 12)
URL = "sqlite:///orders.db"


def query_rows(of: ck.Source, query: Query, root: Path, **how: Any) -> pl.DataFrame:
    return pl.concat(query_frames(of, query, root, **how))


WORD = Word("asha", "it is right as it is", 1_000)


def source(data: Files | Query, **changes: Any) -> ck.Source:
    declared = {"time": "at", "known": "seen", "key": ["id"], **changes}
    return ck.Source("orders", FIELDS, data, **declared)


def orders(count: int = 7) -> pl.DataFrame:
    """Rows with nulls, whole and broken seconds, one never known and one repeated."""
    at = [NOON + timedelta(minutes=number, microseconds=250_000 * (number % 2)) for number in range(count)]
    return pl.DataFrame(
        {
            "id": [max(number - (number == 3), 0) for number in range(count)],
            "city": [None if number % 5 == 4 else f"c{number % 2}" for number in range(count)],
            "at": at,
            "seen": [None if number == 5 else moment + timedelta(hours=1) for number, moment in enumerate(at)],
            "amount": [None if number % 4 == 1 else float(number) for number in range(count)],
            "paid": [number % 3 == 0 for number in range(count)],
            "more": ["not declared"] * count,
        },
        schema_overrides={"city": pl.String(), "seen": pl.Datetime("us"), "amount": pl.Float64()},
    )


def write_delta(table: pl.DataFrame, root: Path) -> Files:
    table.write_delta(root / "lake" / "orders")
    return ck.delta("lake/orders")


def append_delta(table: pl.DataFrame, root: Path) -> Files:
    table.write_delta(root / "lake" / "orders", mode="append")
    return ck.delta("lake/orders")


def write_iceberg(table: pl.DataFrame, root: Path) -> Files:
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("test", uri=f"sqlite:///{root}/catalog.db", warehouse=f"file://{root}/ice")
    catalog.create_namespace_if_not_exists("shop")
    arrow = table.to_arrow()
    catalog.create_table_if_not_exists("shop.orders", schema=arrow.schema).append(arrow)
    catalog.close()
    return ck.iceberg("ice/shop/orders")


def write_sqlite(table: pl.DataFrame, root: Path) -> Query:
    texts = table.with_columns(
        pl.col(name).dt.to_string("iso:strict") for name in table.columns if table.schema[name].is_temporal()
    )
    with sqlite3.connect(root / "orders.db") as database:
        kinds = ", ".join(f"{name} {'real' if name == 'amount' else 'numeric'}" for name in table.columns)
        database.execute(f"create table if not exists orders ({kinds})")
        database.executemany(f"insert into orders values ({', '.join('?' * table.width)})", texts.rows())
    database.close()
    return ck.sql("select * from orders", url=URL)


WRITERS: dict[str, Callable[[pl.DataFrame, Path], Files | Query]] = {
    "delta": write_delta,
    "iceberg": write_iceberg,
    "sql": write_sqlite,
}
ADDERS = {**WRITERS, "delta": append_delta}  # the others add to a table that is there
each_kind = pytest.mark.parametrize("kind", WRITERS)


def in_parquet(table: pl.DataFrame, root: Path) -> Files:
    table.write_parquet(root / "orders.parquet")
    return ck.parquet("orders.parquet")


@each_kind
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_it_reads_like_parquet(kind: str, zone: str | None, tmp_path: Path) -> None:
    table = orders()
    if zone:
        table = table.with_columns(pl.col("at", "seen").dt.replace_time_zone("UTC").dt.convert_time_zone(zone))
    expected = read_rows(source(in_parquet(table, tmp_path)), tmp_path)
    # Iceberg keeps times with a zone as UTC, and takes no others.
    given = (
        table.with_columns(pl.col("at", "seen").dt.convert_time_zone("UTC")) if zone and kind == "iceberg" else table
    )
    found = read_rows(source(WRITERS[kind](given, tmp_path)), tmp_path)
    assert found.schema == expected.schema
    assert found.equals(expected)
    assert found.height == 7


@each_kind
@pytest.mark.parametrize("memory_rows", [0, 1000])
def test_it_joins_and_fills_back_like_parquet(kind: str, memory_rows: int, tmp_path: Path) -> None:
    table = orders(300).with_columns(id=pl.int_range(300))
    asked = pl.DataFrame({"city": ["c0", "c1", "c2", None] * 25}).with_columns(
        asked_at=pl.lit(NOON).dt.replace_time_zone("UTC") + pl.duration(minutes=3 * pl.int_range(100))
    )
    asked.write_parquet(tmp_path / "questions.parquet")
    results = {}
    for name, data in {"parquet": in_parquet(table, tmp_path), kind: WRITERS[kind](table, tmp_path)}.items():
        declared = source(data)
        view = ck.FeatureView(
            "city",
            ck.Entity("city"),
            declared,
            windows=[ck.count(over="1h"), ck.sum("amount", over="1d")],
            latest=["amount", "paid", "at"],
        )
        plan = FeaturePlan((view,), {"city": str}, "asked_at", {}, tuple(feature_names(view)))
        questions = tmp_path / "questions.parquet"
        sources = Sources(tmp_path, {"orders": declared}, memory_rows=memory_rows, bucket_rows=50)
        parts = backfill(plan, questions, sources, tmp_path / name, rows_at_once=30)
        results[name] = pl.concat([pl.read_parquet(part) for part in parts])
        wanted = with_times(plan, asked).select("city", "_at_us")
        joined = offline_features(plan, wanted, {"orders": read_rows(declared, tmp_path)}, LocalEngine(1))
        assert results[name].select(plan.names).equals(joined)
    assert results[kind].equals(results["parquet"])
    assert results[kind]["city.count_1h"].max() > 10  # type: ignore[operator]


@each_kind
def test_a_contract_holds_it_as_one_batch_and_a_person_decides(kind: str, tmp_path: Path) -> None:
    data = WRITERS[kind](orders(), tmp_path)
    contract = ck.Contract(fields={"amount": ck.Expect(high=5)})
    declared, name = source(data, contract=contract), "query" if kind == "sql" else str(getattr(data, "pattern", ""))
    with open_home(tmp_path / "home") as home:
        with pytest.raises(FileBreaksContract, match=f"'{name}' breaks its contract") as error:
            read_rows(declared, tmp_path, home.log)
        assert f"charkha data release orders@{name}" in str(error.value)
        assert [check.batch for check in check_source(declared, tmp_path, home.log, 0) if check.fails] == [name]
        with pytest.raises(FileBreaksContract):
            pieces_of(declared, tmp_path, home.log, tmp_path / "spool")
        mark_file(home, declared, tmp_path, name, mark="released", word=WORD)
        assert read_rows(declared, tmp_path, home.log).height == 7
        with pytest.raises(NothingToDecide):
            mark_file(home, declared, tmp_path, name, mark="released", word=WORD)
        # What was released was these rows: with others it must keep the contract again.
        ADDERS[kind](orders(1).with_columns(id=99), tmp_path)
        with pytest.raises(FileBreaksContract):
            read_rows(declared, tmp_path, home.log)
        mark_file(home, declared, tmp_path, name, mark="aside", word=WORD)
        assert read_rows(declared, tmp_path, home.log).height == 0


@pytest.mark.parametrize("data", [ck.delta("lake/*"), ck.sql("select * from gone", URL)])
def test_what_cannot_be_read_is_a_finding_and_can_be_set_aside(data: Any, tmp_path: Path) -> None:
    write_delta(orders(), tmp_path)
    write_sqlite(orders(), tmp_path)
    (tmp_path / "lake" / "broken").mkdir()
    declared, name = source(data), "query" if isinstance(data, Query) else "lake/broken"
    with open_home(tmp_path / "home") as home:
        (found,) = [check for check in check_source(declared, tmp_path, home.log, 0) if check.fails]
        assert (found.batch, "source 'orders': " in found.problem) == (name, True)
        with pytest.raises(DataError):
            mark_file(home, declared, tmp_path, name, mark="released", word=WORD)
        mark_file(home, declared, tmp_path, name, mark="aside", word=WORD)
        assert not any(check.fails for check in check_source(declared, tmp_path, home.log, 0))
        assert read_rows(declared, tmp_path, home.log).height == (0 if isinstance(data, Query) else 7)


def test_a_source_without_any_file_is_a_finding(tmp_path: Path) -> None:
    with open_home(tmp_path / "home") as home:
        (found,) = check_source(source(ck.parquet("gone.parquet")), tmp_path, home.log, 0)
    assert (found.batch, found.fails) == (WHOLE, True)
    assert "no file matches 'gone.parquet'" in found.problem


def test_another_version_of_a_table_is_another_backfill(tmp_path: Path) -> None:
    declared = source(write_delta(orders(), tmp_path))
    view = ck.FeatureView("city", ck.Entity("city"), declared, latest="amount")
    plan = FeaturePlan((view,), {"city": str}, "asked_at", {}, tuple(feature_names(view)))
    questions, sources = tmp_path / "questions.parquet", Sources(tmp_path, {"orders": declared})
    pl.DataFrame({"city": ["c0"], "asked_at": [NOON]}).write_parquet(questions)
    backfill(plan, questions, sources, tmp_path / "out")
    backfill(plan, questions, sources, tmp_path / "out")
    append_delta(orders(), tmp_path)
    with pytest.raises(PartsRefused):
        backfill(plan, questions, sources, tmp_path / "out")


def test_a_batch_stays_what_it_was_when_it_was_first_looked_at(tmp_path: Path) -> None:
    for kind in ("delta", "sql"):
        (batch,) = batches_of(source(WRITERS[kind](orders(), tmp_path)), tmp_path)
        before = batch.digest()
        ADDERS[kind](orders(), tmp_path)
        assert batch.read().height == 7
        assert batch.digest() == before
    assert read_rows(source(ck.delta("lake/*"), key=[]), tmp_path).height == 14


@each_kind
def test_a_column_that_is_not_there_or_not_of_its_type_is_said(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    without = source(WRITERS[kind](orders().drop("amount"), tmp_path / "a"))
    with pytest.raises(DataError, match=r"it has no column 'amount'; there are 'more' that") as error:
        read_rows(without, tmp_path / "a")
    assert "source 'orders': " in str(error.value)
    wrong = source(WRITERS[kind](orders().with_columns(city=pl.lit("x"), amount=pl.lit("n/a")), tmp_path / "b"))
    with pytest.raises(DataError, match=r"source 'orders': .* cannot be read as declared: .*n/a"):
        read_rows(wrong, tmp_path / "b")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (ck.delta("gone"), "no file matches 'gone'"),
        (ck.iceberg("gone"), "no file matches 'gone'"),
        (ck.delta("empty"), "cannot be read as a table of Delta Lake: .*Name the folder that holds _delta_log"),
        (ck.iceberg("empty"), "expected the newest metadata of an Iceberg table in .*, found none. Name the file"),
        (ck.iceberg("empty/x.json"), "cannot be read as a table of Iceberg"),
        (ck.sql("select * from gone", URL), "its query cannot be run: no such table: gone. Check its SQL"),
        (ck.sql("selec 1", URL), 'its query cannot be run: near "selec": syntax error'),
        (ck.sql("create table x (y)", URL), "it has no columns 'id', 'city', "),
        (ck.sql("select *, id from orders", URL), r"each column of its query once, got \['id'\] more than once"),
        (ck.sql("select 1", "sqlite:///gone.db"), "no SQLite database '.*gone.db'"),
        (ck.sql("select 1", "nonsense://x"), "its query cannot be run: .*nonsense"),
        (ck.sql("select 1", "oracle+cx_oracle://x"), "needs the package cx_Oracle, which is not installed. Install it"),
        (ck.sql("select 1", "${UNSET_URL}"), "expected the environment variable UNSET_URL, .* export UNSET_URL=…"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_way_out(data: Any, says: str, tmp_path: Path) -> None:
    write_sqlite(orders(), tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x.json").write_text("{}")
    with pytest.raises(DataError, match=says) as error:
        read_rows(source(data), tmp_path)
    assert str(error.value).startswith("source 'orders': ")


@pytest.mark.parametrize(("kind", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_a_package_that_is_missing_is_said(
    kind: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders").mkdir()
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"package {package}, .* pip install 'charkha\[lake\]'"):
        read_rows(source(Files(kind, "orders")), tmp_path)  # type: ignore[arg-type]


def test_two_newest_metadata_are_not_guessed_between(tmp_path: Path) -> None:
    declared = source(write_iceberg(orders(), tmp_path))
    (newest,) = (tmp_path / "ice/shop/orders/metadata").glob("00001-*.metadata.json")
    (newest.parent / "00001-lost.metadata.json").write_bytes(newest.read_bytes())
    with pytest.raises(DataError, match="one of them lost a race"):
        read_rows(declared, tmp_path)
    exact = source(ck.iceberg(newest.relative_to(tmp_path).as_posix()))
    assert read_rows(exact, tmp_path).height == 7


def test_a_hint_of_a_table_is_followed(tmp_path: Path) -> None:
    declared = source(write_iceberg(orders(), tmp_path))
    folder = tmp_path / "ice/shop/orders/metadata"
    (first,) = folder.glob("00000-*.metadata.json")
    (folder / "version-hint.text").write_text(first.name.removesuffix(".metadata.json"))
    assert read_rows(declared, tmp_path).height == 0  # as it was made, before rows came


def test_a_query_is_read_in_pieces_that_need_not_be_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = orders().with_columns(city=pl.when(pl.int_range(7) < 4).then(None).otherwise("city"))
    query = write_sqlite(table, tmp_path)
    whole = query_rows(source(query), query, tmp_path)
    pieces: list[int] = []

    def counted(of: ck.Source, columns: Any, rows: Any) -> pl.DataFrame:
        pieces.append(len(rows))
        return _typed(of, columns, rows)

    monkeypatch.setattr("charkha.features.queries._typed", counted)
    for rows_at_once, expected in ((1, [1] * 7), (3, [3, 3, 1]), (100, [7])):
        pieces.clear()
        assert query_rows(source(query), query, tmp_path, rows_at_once=rows_at_once).equals(whole)
        assert pieces == expected
    none = ck.sql("select * from orders where id > 1e9", URL)
    assert query_rows(source(none), none, tmp_path).schema == whole.schema


def test_a_query_goes_to_the_database_as_it_is_written(tmp_path: Path) -> None:
    write_sqlite(orders(), tmp_path)
    query = ck.sql("select * from orders where more <> ':name' and city like 'c%' and more not like '%s'", URL)
    assert query_rows(source(query), query, tmp_path).height == 6


def test_values_of_several_types_in_a_column_are_refused_or_brought_together(tmp_path: Path) -> None:
    write_sqlite(orders().with_columns(amount=pl.lit(None, pl.Float64)), tmp_path)
    amount = "select id, city, at, seen, paid, case id when 1 then {} else 2.5 end as amount from orders"
    mixed = ck.sql(amount.format("2"), URL)
    assert set(query_rows(source(mixed), mixed, tmp_path)["amount"]) == {2.0, 2.5}
    strange = ck.sql(
        "select id, city, at, seen, paid, case id when 1 then x'00' else 2.5 end as amount from orders", URL
    )
    with pytest.raises(DataError, match="its query cannot be read as declared"):
        query_rows(source(strange), strange, tmp_path)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (float, [Decimal("1.5"), Decimal("1.25"), None], [1.5, 1.25, None]),
        (float, [Decimal("NaN"), Decimal("1"), Decimal("-Infinity")], [None, 1.0, None]),
        (int, [Decimal("12345678901234567"), Decimal("2")], [12345678901234567, 2]),
        (str, [UUID(int=1), None], [str(UUID(int=1)), None]),
        (bool, [1, 0, None], [True, False, None]),
        (datetime, [date(2024, 5, 1), None], [datetime(2024, 5, 1, tzinfo=UTC), None]),
        (datetime, [NOON.replace(tzinfo=timezone(timedelta(hours=5)))], [datetime(2024, 5, 1, 7, tzinfo=UTC)]),
    ],
)
def test_what_drivers_give_becomes_what_is_declared(kind: Any, values: list[Any], expected: list[Any]) -> None:
    declared = ck.Source("values", {"value": kind}, ck.sql("select", URL), static=True)
    found = _typed(declared, ["other", "value"], [(None, value) for value in values])["value"]
    assert found.to_list() == expected
    assert found.dtype == polars_schema(declared.fields)["value"]


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (int, "12", "expected int for 'value', got String, such as '12'. Mend"),
        (int, 1.5, "expected int for 'value', got 1.5. Mend"),
        (float, True, "expected float for 'value', got Boolean, such as True. Mend"),
        (bool, 2, "expected bool for 'value', got 2. Mend"),
        (datetime, "01/05/2024", "expected datetime for 'value', got '01/05/2024'. Mend"),
        (datetime, 1764118800, "expected datetime for 'value', got Int64, such as 1764118800. Mend"),
    ],
)
def test_what_drivers_give_of_another_type_is_refused(kind: Any, value: Any, says: str) -> None:
    declared = ck.Source("values", {"value": kind}, ck.sql("select", URL), static=True)
    with pytest.raises(DataError) as error:
        _typed(declared, ["value"], [(None,), (value,)])
    assert f"source 'values': its query cannot be read as declared: {says}" in str(error.value)


SECRET = "hun:ter/2@x?"


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("${WAREHOUSE}", "sqlite:///gone.db?password=hun:ter/2@x?"),
        ("${WAREHOUSE}", "nonsense://me:hun%3Ater%2F2%40x%3F@host/db"),
        ("${WAREHOUSE}", SECRET),
        ("nonsense://me:${WAREHOUSE}@host/db", SECRET),
        ("sqlite:///file:orders.db?uri=true&mode=${WAREHOUSE}", SECRET),
    ],
)
def test_a_password_never_appears(url: str, value: str, tmp_path: Path) -> None:
    write_sqlite(orders(), tmp_path)
    query = ck.sql("select * from gone", url)
    with pytest.raises(DataError) as error:
        query_rows(source(query), query, tmp_path, environment={"WAREHOUSE": value})
    shown = "".join(traceback.format_exception(error.value))
    for secret in (SECRET, "hun%3Ater%2F2%40x%3F"):
        assert secret not in shown
    assert "WAREHOUSE" not in str(error.value) or value not in str(error.value)


def test_a_password_is_put_into_its_place_whatever_is_in_it(tmp_path: Path) -> None:
    query = ck.sql("select 1", "postgresql://${USER_NAME}:${PASSWORD}@${HOST}/db")
    values = {"USER_NAME": "me", "PASSWORD": SECRET, "HOST": "db.example.com:5432"}
    url = _located(source(query), _filled(source(query), query.url, values), tmp_path)
    assert (url.username, url.password, url.host, url.port) == ("me", SECRET, "db.example.com", 5432)


def test_a_definition_shows_no_password_that_was_written_into_it() -> None:
    assert "hunter2" not in repr(source(ck.sql("select 1", "postgresql://me:hunter2@host/db?sslpassword=hunter2")))
    assert "${PASSWORD}@host" in repr(ck.sql("select 1", "postgresql://me:${PASSWORD}@host/db"))
