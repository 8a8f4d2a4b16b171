"""Will this small business's loan be charged off within five years? Asked at its approval, known years later.

Loans guaranteed by the US Small Business Administration. A loan that goes on has its label five years after it was
approved; one that is charged off, on that day. So a model of 2002 knows the loans of 1997, and nothing newer.
"""

from datetime import datetime

import polars as pl

import charkha as ck

REQUEST = ["state", "bank_state", "bank", "sector", "employees", "new_business", "jobs_created", "jobs_retained"]
REQUEST += ["urban", "revolving", "low_doc", "franchise", "amount", "guaranteed"]

loans = ck.Source(
    "loans",
    {
        "loan_id": int,
        "approved_at": datetime,
        "settled_at": datetime,
        "state": str,
        "bank_state": str,
        "bank": str,
        "sector": str,
        "employees": int,
        "new_business": bool,
        "jobs_created": int,
        "jobs_retained": int,
        "urban": bool,
        "revolving": bool,
        "low_doc": bool,
        "franchise": bool,
        "amount": float,
        "guaranteed": float,
        "charged_off": bool,
    },
    ck.parquet("data/loans.parquet"),
    time="approved_at",
    known="settled_at",
    key="loan_id",
)
# The same rows as they are known at once: who lends how much where.
approvals = ck.Source(
    "approvals",
    {"loan_id": int, "approved_at": datetime, "bank": str, "state": str, "amount": float},
    ck.parquet("data/loans.parquet"),
    time="approved_at",
    key="loan_id",
    lag="1m",
)

lending = ck.FeatureView(
    "lending",
    ck.Entity("bank"),
    approvals,
    windows=[ck.mean("amount", over=["28d", "90d"]), ck.count(over=["7d", "90d"])],
)
demand = ck.FeatureView(
    "demand", ck.Entity("state"), approvals, windows=[ck.mean("amount", over="90d"), ck.count(over="28d")]
)
loan = ck.RequestFeatures(
    "loan",
    state=pl.col("state"),
    sector=pl.col("sector"),
    employees=pl.col("employees"),
    new_business=pl.col("new_business"),
    jobs=pl.col("jobs_created") + pl.col("jobs_retained"),
    urban=pl.col("urban"),
    revolving=pl.col("revolving"),
    low_doc=pl.col("low_doc"),
    franchise=pl.col("franchise"),
    amount=pl.col("amount"),
    guaranteed_share=pl.col("guaranteed") / pl.col("amount"),
    away=pl.col("bank_state") != pl.col("state"),
    against_bank=pl.col("amount") / pl.col("lending.mean_amount_90d"),
)

charged_off = ck.Model(
    "charged_off",
    label=ck.Label(loans, pl.col("charged_off"), at="approved_at", delay="1827d"),
    request=REQUEST,
    features=[lending, demand, loan],
    estimator=ck.LightGBM(trees=150, leaves=7, min_rows_per_leaf=100),
    calibrate="sigmoid",
    # Gaps as long as a label takes would leave nothing to learn from.
    split=ck.Split(validation="14d", test="14d", gap="1d"),
    costs=ck.Costs(false_positive=1.0, false_negative=6.0),
    metrics=["log_loss", "roc_auc", "brier"],
    slices=["revolving", "urban"],
    gates=[ck.beats_champion("log_loss"), ck.calibrated(0.05)],
    rollout=ck.shadow("28d", min_labels=500) >> ck.compare("log_loss"),
    retrain=ck.Retrain(cooldown="180d"),
    monitors=ck.Monitors(window="90d"),
    fallback=ck.Fallback(decision=True),
    reasons={"loan.revolving": "a revolving line of credit", "loan.guaranteed_share": "how much of it is guaranteed"},
    purpose="price the guarantee of a loan",
    owner="credit-team",
)
