"""The flights example: its times, on the awkward nights of the year, and its definition."""

import importlib.util
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from charkha.spec.project import load_project
from charkha.spec.views import FeatureView

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "flights"
AIRPORTS = pl.DataFrame({
    "faa": ["BOS", "LAX", "PHX", "HNL", "ROC"],
    "tzone": ["America/New_York", "America/Los_Angeles", "America/Phoenix", "Pacific/Honolulu", "America/New_York"],
})  # fmt: skip


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("flights_prepare", FOLDER / "prepare.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(FOLDER / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["flights_prepare"] = module
    spec.loader.exec_module(module)
    return module


def raw(
    day: str, departs: int, arrives: int, dest: str, dep_delay: int | None = 0, delay: int | None = 0
) -> pl.DataFrame:
    """Return one flight as the package has it; `day` is New York's, `departs` and `arrives` are clock times."""
    local = datetime.strptime(f"{day} {departs // 100:02}", "%Y-%m-%d %H").replace(tzinfo=UTC)
    hour = pl.Series([local.replace(tzinfo=None)]).dt.replace_time_zone("America/New_York").dt.convert_time_zone("UTC")
    return pl.DataFrame({
        "time_hour": hour.dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "minute": [departs % 100],
        "sched_arr_time": [arrives],
        "dep_delay": [dep_delay],
        "arr_delay": [delay],
        "air_time": [60],
        "distance": [200],
        "carrier": ["B6"],
        "flight": [1],
        "tailnum": ["N1"],
        "origin": ["JFK"],
        "dest": [dest],
    }, schema_overrides={"dep_delay": pl.Int64, "arr_delay": pl.Int64})  # fmt: skip


def prepared(prepare: ModuleType, flights: pl.DataFrame) -> dict[str, object]:
    return dict(prepare.prepare_flights(flights, AIRPORTS).row(0, named=True))


@pytest.mark.parametrize(
    ("day", "departs", "arrives", "dest", "minutes"),
    [
        pytest.param("2013-06-01", 800, 910, "BOS", 70, id="same zone"),
        pytest.param("2013-06-01", 800, 1100, "LAX", 360, id="three hours west"),
        pytest.param("2013-01-15", 900, 1500, "HNL", 660, id="five hours west"),
        pytest.param("2013-06-01", 2300, 10, "BOS", 70, id="past midnight"),
        pytest.param("2013-06-01", 2200, 20, "LAX", 320, id="past midnight there, and here long before"),
        pytest.param("2013-01-15", 1200, 1530, "PHX", 330, id="two hours west in winter"),
        pytest.param("2013-07-15", 1200, 1430, "PHX", 330, id="three hours west in summer: Arizona has none"),
        pytest.param("2013-01-15", 1200, 1700, "SJU", 240, id="Puerto Rico, one hour east in winter"),
        pytest.param("2013-07-15", 1200, 1600, "SJU", 240, id="Puerto Rico, no hour east in summer"),
        pytest.param("2013-06-01", 800, 910, "XXX", 70, id="an airport nobody knows shares New York's zone"),
        pytest.param("2013-11-03", 2245, 3, "ROC", 78, id="the evening after a night of 25 hours"),
        pytest.param("2013-11-02", 2330, 45, "BOS", 75, id="into a night of 25 hours"),
        pytest.param("2013-03-09", 2330, 310, "BOS", 160, id="over the hour that a night of 23 hours lacks"),
    ],
)
def test_arrivals_are_found_from_clock_times(
    prepare: ModuleType, day: str, departs: int, arrives: int, dest: str, minutes: int
) -> None:
    flight = prepared(prepare, raw(day, departs, arrives, dest))

    assert flight["scheduled_minutes"] == minutes


def test_landing_is_the_scheduled_arrival_and_the_delay(prepare: ModuleType) -> None:
    flight = prepared(prepare, raw("2013-06-01", 800, 910, "BOS", dep_delay=40, delay=25))

    assert flight["scheduled_at"] == datetime(2013, 6, 1, 12, 0, tzinfo=UTC)
    assert flight["landed_at"] == datetime(2013, 6, 1, 13, 35, tzinfo=UTC)


def test_a_cancelled_or_diverted_flight_never_lands(prepare: ModuleType) -> None:
    cancelled = prepared(prepare, raw("2013-06-01", 800, 910, "BOS", dep_delay=None, delay=None))
    diverted = prepared(prepare, raw("2013-06-01", 800, 910, "BOS", dep_delay=5, delay=None))

    assert (cancelled["landed_at"], diverted["landed_at"]) == (None, None)


def test_a_landing_that_cannot_be_is_refused(prepare: ModuleType) -> None:
    with pytest.raises(prepare.ImplausibleFlights, match="between 15 minutes and 36 hours"):
        prepared(prepare, raw("2013-06-01", 800, 910, "BOS", delay=-60))


def test_weather_is_known_only_after_it_was_measured(prepare: ModuleType) -> None:
    measures = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
    stamp = pl.DataFrame({"origin": ["JFK"], "time_hour": ["2013-06-01T12:00:00Z"]})
    weather = stamp.with_columns(pl.lit(1.0).alias(name) for name in measures)

    row = prepare.prepare_weather(weather).row(0, named=True)

    assert row["observed_at"] == datetime(2013, 6, 1, 12, 51, tzinfo=UTC)
    assert row["known_at"] == datetime(2013, 6, 1, 12, 56, tzinfo=UTC)


def test_the_definition_has_no_fault_and_a_modest_size() -> None:
    model = load_project(FOLDER).models["late_arrival"]
    windows = [window for view in model.views for window in view.all_windows()]

    assert len(windows) <= 30
    assert model.label.delay_us == 86_400_000_000


def test_no_view_knows_a_delay_before_its_flight_was_due() -> None:
    """The label's own row is not among what its windows see: its delay is known after the scheduled departure."""
    model = load_project(FOLDER).models["late_arrival"]
    known = {view.source.known for view in model.views if isinstance(view, FeatureView) and view.windows}

    assert known == {"landed_at"}
