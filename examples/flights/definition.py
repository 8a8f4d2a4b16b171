"""Will this flight arrive more than 15 minutes late? Asked at its scheduled departure, of all flights from New York.

A flight's delay is known once it has landed, hours after it was asked about. A window sees a row from that moment, so
that the delays "of the last hour" are those that an operations centre would have had on its screens.
"""

from datetime import datetime

import polars as pl

import charkha as ck

FLIGHTS = ck.parquet("data/flights.parquet")

flights = ck.Source(
    "flights",
    {
        "flight_id": int,
        "scheduled_at": datetime,
        "landed_at": datetime,
        "carrier": str,
        "flight": int,
        "tailnum": str,
        "origin": str,
        "dest": str,
        "distance": float,
        "scheduled_minutes": float,
        "arr_delay": float,
    },
    FLIGHTS,
    time="scheduled_at",
    known="landed_at",
    key="flight_id",
)
observations = ck.Source(
    "observations",
    {
        "origin": str,
        "observed_at": datetime,
        "known_at": datetime,
        "temp": float,
        "dewp": float,
        "humid": float,
        "wind_speed": float,
        "precip": float,
        "pressure": float,
        "visib": float,
    },
    ck.parquet("data/weather.parquet"),
    time="observed_at",
    known="known_at",
    key=["origin", "observed_at"],
)
planes = ck.Source(
    "planes",
    {"tailnum": str, "year": float, "seats": float},
    ck.parquet("data/planes.parquet"),
    key="tailnum",
    static=True,
)

airport = ck.Entity("airport", keys="origin")
airline = ck.Entity("airline", keys="carrier")
hub = ck.Entity("hub", keys=["carrier", "origin"])
route = ck.Entity("route", keys=["origin", "dest"])
destination = ck.Entity("destination", keys="dest")
number = ck.Entity("number", keys=["carrier", "flight"])
aircraft = ck.Entity("aircraft", keys="tailnum")

views = [
    ck.FeatureView(
        "airport", airport, flights, windows=[ck.mean("arr_delay", over=["30m", "1h", "3h"]), ck.count(over="1h")]
    ),
    ck.FeatureView("hub", hub, flights, windows=[ck.mean("arr_delay", over="2h")]),
    ck.FeatureView("airline", airline, flights, windows=[ck.mean("arr_delay", over=["3h", "7d"])]),
    ck.FeatureView("route", route, flights, windows=[ck.mean("arr_delay", over=["24h", "30d"]), ck.count(over="7d")]),
    ck.FeatureView("destination", destination, flights, windows=[ck.mean("arr_delay", over=["2h", "6h"])]),
    ck.FeatureView("number", number, flights, windows=[ck.mean("arr_delay", over="30d")]),
    ck.FeatureView(
        "aircraft", aircraft, flights, windows=[ck.last("arr_delay", over="12h"), ck.mean("arr_delay", over="7d")]
    ),
    ck.FeatureView(
        "weather",
        airport,
        observations,
        latest=["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"],
        max_age="3h",
    ),
    ck.FeatureView("plane", aircraft, planes, latest=["year", "seats"]),
]

# Rush hours follow the clock on New York's walls, summer and winter.
local = pl.col("scheduled_at").dt.convert_time_zone("America/New_York")
MINUTES_PER_MILE = 0.12  # at 500 miles an hour

schedule = ck.RequestFeatures(
    "schedule",
    carrier=pl.col("carrier"),
    origin=pl.col("origin"),
    weekday=local.dt.weekday(),
    time_of_day=local.dt.hour() + local.dt.minute() / 60,
    distance=pl.col("distance"),
    minutes=pl.col("scheduled_minutes"),
    slack=pl.col("scheduled_minutes") - pl.col("distance") * MINUTES_PER_MILE,
    # How much worse the airport is now than the airline was all week.
    against_week=pl.col("airport.mean_arr_delay_1h") - pl.col("airline.mean_arr_delay_7d"),
)

late_arrival = ck.Model(
    "late_arrival",
    label=ck.Label(flights, pl.col("arr_delay") > 15, at="scheduled_at", delay="1d"),
    request=["carrier", "flight", "tailnum", "origin", "dest", "distance", "scheduled_minutes"],
    features=[*views, schedule],
    # Few leaves with many rows in each: what is finer than that does not last until the next season.
    estimator=ck.LightGBM(trees=200, learning_rate=0.08, leaves=15, min_rows_per_leaf=500, feature_share=0.4, l2=10.0),
    calibrate="sigmoid",
    split=ck.Split(validation="7d", test="14d"),
    # A passenger warned in vain loses patience; one not warned loses a connection.
    costs=ck.Costs(false_positive=1.0, false_negative=2.0),
    metrics=["roc_auc", "log_loss", "average_precision", "brier"],
    slices=["carrier", "origin"],
    rules=[
        ck.Rule(
            "gridlock",
            pl.col("airport.mean_arr_delay_1h") > 60,
            reason="what landed in the last hour from this airport came more than an hour late on average",
        )
    ],
    gates=[
        ck.at_least("roc_auc", 0.68),
        ck.beats_champion("log_loss"),
        ck.beats_rules("roc_auc"),
        ck.beats_trivial("log_loss"),
        ck.calibrated(0.08),
    ],
    # Days of one weather are alike: three weeks tell a better model from a lucky one.
    rollout=ck.shadow("21d", min_labels=5_000) >> ck.compare("log_loss"),
    retrain=ck.Retrain(every="60d", cooldown="30d"),
    monitors=ck.Monitors(window="28d", max_source_age={"flights": "12h", "observations": "12h"}),
    purpose="tell passengers at departure whether to expect a delay",
    owner="eta-team",
)
