from datetime import datetime

import polars as pl

import charkha as ck

# One row per rating: a viewer sat down to a film, and hours later the world knew what they thought of it.
ratings = ck.Source(
    "ratings",
    {"rating_id": int, "user_id": int, "movie_id": int, "started_at": datetime, "rated_at": datetime, "rating": float},
    ck.parquet("data/ratings.parquet"),
    time="started_at",
    known="rated_at",
    key="rating_id",
)

viewer = ck.FeatureView(
    "viewer",
    ck.Entity("viewer", keys="user_id"),
    ratings,
    windows=[ck.mean("rating", over=["7d", "28d"]), ck.count(over="28d")],
)
film = ck.FeatureView(
    "film",
    ck.Entity("film", keys="movie_id"),
    ratings,
    windows=[ck.mean("rating", over=["1d", "7d", "28d"]), ck.count(over=["1d", "28d"])],
)
taste = ck.RequestFeatures("taste", gap=pl.col("film.mean_rating_28d") - pl.col("viewer.mean_rating_28d"))

likes = ck.Model(
    "likes",
    label=ck.Label(ratings, pl.col("rating") >= 8, at="started_at", delay="2h"),
    request=["user_id", "movie_id"],
    features=[viewer, film, taste],
    estimator=ck.LightGBM(leaves=7),
    split=ck.Split(validation="4d", test="5d"),
    gates=[ck.beats_trivial("log_loss")],
    rollout=ck.shadow("2d") >> ck.compare("log_loss"),
    retrain=ck.Retrain(every="7d", cooldown="3d"),
    purpose="choose what to suggest to a viewer tonight",
    owner="suggestions-team",
)
