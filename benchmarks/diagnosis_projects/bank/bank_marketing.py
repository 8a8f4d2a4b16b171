"""Will this customer open a deposit? Asked when a bank calls; known when the call is over. Portugal, 2008 to 2010."""

from datetime import datetime

import polars as pl

import charkha as ck

calls = ck.Source(
    "calls",
    {
        "call_id": int,
        "called_at": datetime,
        "over_at": datetime,
        "age": float,
        "job": str,
        "marital": str,
        "education": str,
        "balance": float,
        "housing": str,
        "loan": str,
        "contact": str,
        "campaign": float,
        "days_since_last": float,
        "previous": float,
        "outcome_before": str,
        "deposit": float,
    },
    ck.parquet("data/calls.parquet"),
    time="called_at",
    known="over_at",
    key="call_id",
)

views = [
    ck.FeatureView(
        "job", ck.Entity("job"), calls, windows=[ck.mean("deposit", over=["1d", "7d", "28d"]), ck.count(over="7d")]
    ),
    ck.FeatureView(
        "channel",
        ck.Entity("contact"),
        calls,
        windows=[
            ck.mean("deposit", over=["6h", "7d"]),
            ck.mean("balance", over="7d"),
            ck.mean("campaign", over="1d"),
            ck.count(over="1d"),
        ],
    ),
    ck.FeatureView(
        "home",
        ck.Entity("home", keys=["marital", "housing"]),
        calls,
        windows=[ck.mean("deposit", over="28d"), ck.mean("age", over="7d")],
    ),
]
customer = ck.RequestFeatures(
    "customer",
    age=pl.col("age"),
    job=pl.col("job"),
    marital=pl.col("marital"),
    education=pl.col("education"),
    balance=pl.col("balance"),
    housing=pl.col("housing"),
    loan=pl.col("loan"),
    contact=pl.col("contact"),
    campaign=pl.col("campaign"),
    days_since_last=pl.col("days_since_last"),
    previous=pl.col("previous"),
    outcome_before=pl.col("outcome_before"),
    hour=pl.col("called_at").dt.hour(),
)

bank_deposit = ck.Model(
    "bank_deposit",
    label=ck.Label(calls, pl.col("deposit") > 0, at="called_at", delay="1d"),
    request=[
        *("age", "job", "marital", "education", "balance", "housing", "loan", "contact", "campaign"),
        *("days_since_last", "previous", "outcome_before"),
    ],
    features=[*views, customer],
    estimator=ck.LightGBM(trees=150, leaves=15, min_rows_per_leaf=100),
    calibrate="sigmoid",
    split=ck.Split(validation="10d", test="7d"),
    costs=ck.Costs(false_positive=1.0, false_negative=8.0),
    slices=["job", "contact"],
    purpose="choose whom to call",
    owner="campaign-team",
)
