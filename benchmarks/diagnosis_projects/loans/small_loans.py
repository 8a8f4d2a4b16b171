"""Will this small business default on its loan? Asked at the approval by the US Small Business Administration.

Known when it is charged off, or paid in full: years later, of which data/README.md makes weeks.
"""

from datetime import datetime

import polars as pl

import charkha as ck

loans = ck.Source(
    "loans",
    {
        "loan_id": int,
        "approved_at": datetime,
        "settled_at": datetime,
        "state": str,
        "bank": str,
        "sector": str,
        "existing": float,
        "urban": float,
        "revolving": str,
        "low_doc": str,
        "employees": float,
        "jobs_created": float,
        "jobs_retained": float,
        "franchise": float,
        "amount": float,
        "guaranteed": float,
        "defaulted": float,
    },
    ck.parquet("data/loans.parquet"),
    time="approved_at",
    known="settled_at",
    key="loan_id",
)
applications = ck.Source(
    "applications",
    {"loan_id": int, "approved_at": datetime, "state": str, "sector": str, "bank": str, "amount": float},
    ck.parquet("data/loans.parquet"),
    time="approved_at",
    key="loan_id",
    lag="1s",
)

state, sector, bank = ck.Entity("state"), ck.Entity("sector"), ck.Entity("bank")
views = [
    ck.FeatureView("state", state, loans, windows=[ck.mean("defaulted", over="84d"), ck.count(over="28d")]),
    ck.FeatureView("sector", sector, loans, windows=[ck.mean("defaulted", over="84d")]),
    ck.FeatureView("bank", bank, loans, windows=[ck.mean("defaulted", over="84d"), ck.count(over="84d")]),
    ck.FeatureView(
        "demand",
        state,
        applications,
        windows=[ck.mean("amount", over=["7d", "28d"]), ck.count(over=["1d", "28d"])],
        latest=["amount"],
    ),
    ck.FeatureView("trade", sector, applications, windows=[ck.mean("amount", over="28d"), ck.count(over="7d")]),
]
loan = ck.RequestFeatures(
    "loan",
    state=pl.col("state"),
    sector=pl.col("sector"),
    existing=pl.col("existing"),
    urban=pl.col("urban"),
    revolving=pl.col("revolving"),
    low_doc=pl.col("low_doc"),
    employees=pl.col("employees"),
    jobs_created=pl.col("jobs_created"),
    jobs_retained=pl.col("jobs_retained"),
    franchise=pl.col("franchise"),
    amount=pl.col("amount"),
    guaranteed_share=pl.col("guaranteed") / pl.col("amount"),
    against_state=pl.col("amount") / pl.col("demand.mean_amount_28d"),
)

loan_default = ck.Model(
    "loan_default",
    label=ck.Label(loans, pl.col("defaulted") > 0, at="approved_at", delay="28d"),
    request=[
        *("state", "bank", "sector", "existing", "urban", "revolving", "low_doc", "employees"),
        *("jobs_created", "jobs_retained", "franchise", "amount", "guaranteed"),
    ],
    features=[*views, loan],
    estimator=ck.LightGBM(trees=120, leaves=7, min_rows_per_leaf=100),
    calibrate="sigmoid",
    split=ck.Split(validation="10d", test="7d"),
    costs=ck.Costs(false_positive=1.0, false_negative=5.0),
    slices=["state", "sector"],
    purpose="price the guarantee of a loan",
    owner="credit-team",
)
