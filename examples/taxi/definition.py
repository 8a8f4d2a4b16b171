"""How long will this taxi trip take? Asked when the passenger gets in, of yellow taxis in New York, 2018 and 2019.

A trip's duration is known once it is over. A window sees a trip from that moment, so that "the pace of the last six
hours" is that of the trips that were over by then, not of those that had begun.
"""

from datetime import datetime

import polars as pl

import charkha as ck

trips = ck.Source(
    "trips",
    {
        "trip_id": int,
        "pickup_at": datetime,
        "dropoff_at": datetime,
        "weekend": bool,
        "hour": int,
        "pickup_zone": int,
        "dropoff_zone": int,
        "rate": int,
        "trip_distance": float,
        "trip_seconds": float,
    },
    ck.parquet("data/trips.parquet"),
    time="pickup_at",
    known="dropoff_at",
    key="trip_id",
)

# Columns of a trip that say where and when: the clock is that on New York's walls, so it is a column of the data.
clock = ck.Entity("clock", keys=["weekend", "hour"])
zone = ck.Entity("zone", keys="pickup_zone")
zone_hour = ck.Entity("zone_hour", keys=["pickup_zone", "hour"])
pair = ck.Entity("pair", keys=["pickup_zone", "dropoff_zone"])
pair_time = ck.Entity("pair_time", keys=["pickup_zone", "dropoff_zone", "weekend"])

views = [
    ck.FeatureView(
        "clock",
        clock,
        trips,
        windows=[ck.sum("trip_seconds", over=["6h", "28d"]), ck.sum("trip_distance", over=["6h", "28d"])],
    ),
    ck.FeatureView(
        "zone",
        zone,
        trips,
        windows=[ck.mean("trip_seconds", over=["24h", "7d", "28d"]), ck.count(over=["24h", "28d"])],
    ),
    ck.FeatureView(
        "zone_hour",
        zone_hour,
        trips,
        windows=[
            ck.mean("trip_seconds", over=["28d", "84d"]),
            ck.mean("trip_distance", over="84d"),
            ck.count(over="84d"),
        ],
    ),
    ck.FeatureView(
        "pair",
        pair,
        trips,
        windows=[
            ck.mean("trip_seconds", over=["28d", "84d"]),
            ck.variance("trip_seconds", over="84d"),
            ck.max("trip_seconds", over="28d"),
            ck.count(over="84d"),
        ],
        latest=["trip_seconds", "trip_distance"],
        max_age="28d",
    ),
    ck.FeatureView("pair_time", pair_time, trips, windows=[ck.mean("trip_seconds", over="84d")]),
]

pace_by_clock = pl.col("clock.sum_trip_seconds_28d") / pl.col("clock.sum_trip_distance_28d")
pace_now = pl.col("clock.sum_trip_seconds_6h") / pl.col("clock.sum_trip_distance_6h")

trip = ck.RequestFeatures(
    "trip",
    weekend=pl.col("weekend"),
    hour=pl.col("hour"),
    pickup_zone=pl.col("pickup_zone"),
    dropoff_zone=pl.col("dropoff_zone"),
    rate=pl.col("rate"),
    distance=pl.col("trip_distance"),
    month=pl.col("pickup_at").dt.month(),
    # How long the trip would take at the pace of the city at this hour, over four weeks and today.
    by_clock=pl.col("trip_distance") * pace_by_clock,
    by_today=pl.col("trip_distance") * pace_now,
    # The same at the pace of the trips that began in this zone at this hour.
    by_zone_hour=pl.col("trip_distance")
    * pl.col("zone_hour.mean_trip_seconds_84d")
    / pl.col("zone_hour.mean_trip_distance_84d"),
)

trip_time = ck.Model(
    "trip_time",
    task="regression",
    label=ck.Label(trips, pl.col("trip_seconds"), at="pickup_at", delay="2h"),
    request=["weekend", "hour", "pickup_zone", "dropoff_zone", "rate", "trip_distance"],
    features=[*views, trip],
    estimator=ck.LightGBM(trees=400, leaves=31, min_rows_per_leaf=100),
    split=ck.Split(validation="21d", test="28d"),
    metrics=["mae", "rmse", "r2"],
    slices=["weekend", "rate"],
    gates=[ck.at_least("mae", 260), ck.beats_champion("mae"), ck.beats_trivial("mae")],
    rollout=ck.shadow("14d", min_labels=2_000) >> ck.compare("absolute_error"),
    retrain=ck.Retrain(every="60d", cooldown="28d"),
    monitors=ck.Monitors(window="28d", max_source_age={"trips": "12h"}),
    purpose="tell passengers when they get in when they will arrive",
    owner="eta-team",
)
