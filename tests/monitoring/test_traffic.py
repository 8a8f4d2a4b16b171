"""Traffic holds its schema, and the home's tables, sources and ledger become traffic."""

from datetime import datetime
from pathlib import Path

import attrs
import polars as pl
import pytest
from logged import BUNDLES, MODEL, START_US, Version, label, predict

import charkha as ck
from charkha.clock import SimulatedClock, to_datetime
from charkha.features.feed import Feed
from charkha.monitoring.changes import Change, ledger_changes
from charkha.monitoring.collect import collect, predictions_table
from charkha.monitoring.performance import Span
from charkha.monitoring.recorded import arrivals, read_traffic
from charkha.monitoring.traffic import PREDICTIONS, BadTraffic, empty_traffic
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import Model
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Draft
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

SPAN = Span(START_US, START_US + DAY_US)
EMPTY = empty_traffic(
    "late",
    SPAN,
    features={"traffic.count_1h": pl.Float64(), "plane.maker": pl.String()},
    request={"carrier": pl.String()},
    views=["traffic"],
)


def test_its_columns_say_what_they_are() -> None:
    assert EMPTY.features == ("traffic.count_1h", "plane.maker")
    assert EMPTY.request_fields == ("carrier",)
    assert EMPTY.views == ("traffic",)


@pytest.mark.parametrize(
    ("frame", "column"),
    [
        ("predictions", "replica"),
        ("labels", "label"),
        ("arrivals", "late_s"),
        ("vitals", "sheds"),
        ("recomputed", "id"),
    ],
)
def test_a_missing_column_is_named(frame: str, column: str) -> None:
    with pytest.raises(BadTraffic, match=rf"{frame}, column '{column}': expected .+, got no such column") as raised:
        attrs.evolve(EMPTY, **{frame: getattr(EMPTY, frame).drop(column)})
    assert (raised.value.frame, raised.value.column) == (frame, column)


@pytest.mark.parametrize("column", ["score", "traffic.count_1h", "age.traffic"])
def test_a_column_of_another_type_is_named(column: str) -> None:
    bent = EMPTY.predictions.with_columns(pl.col(column).cast(pl.Int32))
    with pytest.raises(BadTraffic, match=rf"predictions, column '{column}': .+, got Int32"):
        attrs.evolve(EMPTY, predictions=bent)


def test_a_column_of_no_meaning_is_named() -> None:
    with pytest.raises(BadTraffic, match="'colour': expected the full name of a feature"):
        attrs.evolve(EMPTY, predictions=EMPTY.predictions.with_columns(colour=pl.lit("red")))


def test_recomputed_features_are_those_that_were_served() -> None:
    with pytest.raises(BadTraffic, match=r"recomputed, column 'plane\.maker'"):
        attrs.evolve(EMPTY, recomputed=EMPTY.recomputed.drop("plane.maker"))


FLIGHTS = ck.Source(
    "flights",
    {"flight": int, "carrier": str, "late": bool, "left_at": datetime, "landed_at": datetime},
    ck.parquet("flights.parquet"),
    time="left_at",
    known="landed_at",
    key="flight",
)


def model() -> Model:
    return ck.Model(
        MODEL,
        label=ck.Label(FLIGHTS, pl.col("late"), at="left_at", delay="1d"),
        request=["carrier"],
        features=[
            ck.FeatureView("traffic", ck.Entity("carrier"), FLIGHTS, windows=[ck.count(over="1h")]),
            ck.RequestFeatures("plane", maker=pl.col("carrier")),
        ],
        estimator=ck.Linear(),
        purpose="tests",
        owner="tests",
    )


def write_flights(root: Path) -> None:
    left = [START_US + hour * HOUR_US for hour in (0, 0, 1, 0)]
    landed = [START_US + hour * HOUR_US for hour in (2, 2, 3, 2)]
    frame = pl.DataFrame({"flight": [1, 2, 3, 1], "carrier": "AA", "late": True, "left_at": left, "landed_at": landed})
    times = [pl.col(name).cast(pl.Datetime("us", "UTC")) for name in ("left_at", "landed_at")]
    frame.with_columns(times).write_parquet(root / "flights.parquet")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    write_flights(tmp_path)
    return open_home(tmp_path / "home")


def test_the_tables_of_collect_become_traffic(home: Home, tmp_path: Path) -> None:
    ids = predict(home, START_US + 1, [Version("v0001", "champion", [0.1, 0.2])])
    predict(home, START_US + DAY_US, [Version("v0001", "champion", [0.3])])  # after the span
    label(home, ids, [1.0, 0.0], START_US + HOUR_US)
    label(home, ids[:1], [0.0], START_US + 3 * HOUR_US)
    collect(home, model(), BUNDLES)
    early = read_traffic(home, model(), SPAN, START_US + 2 * HOUR_US, root=tmp_path)
    assert early.predictions["id"].to_list() == ids
    assert early.predictions["score"].to_list() == [0.1, 0.2]
    assert early.predictions.columns[: len(PREDICTIONS)] == PREDICTIONS.names()
    assert early.features == ("traffic.count_1h", "plane.maker")
    assert early.predictions["request.carrier"].to_list() == ["UA", "AA"]
    assert early.labels["label"].to_list() == [1.0, 0.0]
    late = read_traffic(home, model(), SPAN, START_US + 4 * HOUR_US, root=tmp_path)
    assert late.labels["label"].to_list() == [1.0, 0.0, 0.0]
    assert late.vitals.is_empty()
    assert late.recomputed.is_empty()


def test_what_was_not_logged_is_missing(home: Home, tmp_path: Path) -> None:
    predict(home, START_US + 1, [Version("v0001", "champion", [0.1, 0.2])])
    collect(home, model(), BUNDLES)
    (part,) = home.tables.parts(predictions_table(MODEL))
    old = home.tables.read(predictions_table(MODEL), part)
    younger = [name for name in ("replica", "bundle", "features_logged", "age.traffic") if name in old.columns]
    home.tables.write(predictions_table(MODEL), part, old.drop(younger))
    rows = read_traffic(home, model(), SPAN, SPAN.until_us, root=tmp_path).predictions
    assert rows.select("replica", "bundle", "age.traffic").null_count().row(0) == (2, 2, 2)
    assert rows["features_logged"].to_list() == [True, True]
    assert rows["traffic.count_1h"].null_count() == 0


def test_a_home_without_predictions_is_traffic_without_rows(home: Home, tmp_path: Path) -> None:
    found = read_traffic(home, model(), SPAN, SPAN.until_us, root=tmp_path)
    assert found.predictions.is_empty()
    assert found.features == ("traffic.count_1h", "plane.maker")
    assert found.arrivals.rows() == [
        ("flights", START_US + 2 * HOUR_US, 3, 7200.0, 1),
        ("flights", START_US + 3 * HOUR_US, 1, 7200.0, 0),
    ]


def test_arrivals_are_of_the_span_alone(tmp_path: Path) -> None:
    write_flights(tmp_path)
    span = Span(START_US + 3 * HOUR_US, SPAN.until_us)
    assert arrivals(FLIGHTS, tmp_path, None, span)["rows"].to_list() == [1]


def test_a_row_that_was_pushed_and_is_in_the_files_came_once(tmp_path: Path) -> None:
    write_flights(tmp_path)
    log, clock = SegmentLog(tmp_path / "log"), SimulatedClock(START_US + 4 * HOUR_US)
    feed = Feed({"flights": FLIGHTS}, [], log, LmdbOnline(tmp_path / "online"), clock)
    left, landed = (to_datetime(START_US + hour * HOUR_US) for hour in (1, 3))
    feed.push("flights", [(3, "AA", True, left, landed), (4, "AA", True, left, landed)])  # the file has the first
    came = arrivals(FLIGHTS, tmp_path, log, SPAN)
    assert came.select("rows", "duplicates").rows() == [(3, 1), (2, 0)]
    assert came["rows"].sum() == arrivals(FLIGHTS, tmp_path, None, SPAN)["rows"].sum() + 1


def test_the_ledger_tells_what_was_changed(home: Home) -> None:
    evidence: dict[str, object] = {}
    noted = Draft("a", START_US + 1, MODEL, "ann", "hold", "wait", evidence)
    deployed = Draft("b", START_US + 2, MODEL, "ann", "deploy", "first", evidence)
    home.ledger.decide(noted)
    home.ledger.decide(deployed, deploy=[Assignment("v0001", "champion")])
    assert ledger_changes(home.ledger, BUNDLES, MODEL, SPAN) == (
        Change(START_US + 1, "decision", "hold", "hold by ann: wait"),
        Change(START_US + 2, "deploy", "v0001", "deploy by ann: first"),
    )
    assert ledger_changes(home.ledger, BUNDLES, MODEL, Span(0, START_US)) == ()
