"""A/A: months of models in which nothing happens, looked at every hour. How often does the sequential layer cry wolf?

Each simulated model has a healthy history, from which its nulls are learnt, and then a month of the same kind; every
alarm of that month is false. Checks are what real ones are: shares whose mean itself wanders, counts with a week in
them, statistics with heavy tails; hours are alike (first-order autoregressions), some much.
"""

import time
from collections.abc import Iterator

import numpy as np
from attrs import asdict, frozen
from claims import Measured
from diagnosis_bench import Bench
from suite import Found

from charkha.monitoring.sequential.alarms import alarms
from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.blocks import slots, usual, usual_apart
from charkha.monitoring.sequential.budget import HOURS_PER_YEAR, Budget
from charkha.monitoring.sequential.calibration import Calibrated, calibrated
from charkha.monitoring.sequential.counts import Counts
from charkha.monitoring.sequential.null import Null
from charkha.monitoring.sequential.ranks import Ranks
from charkha.monitoring.sequential.shares import Shares

MONTH_HOURS = 720
HISTORY_HOURS = 8 * 168
# Models that are simulated together: enough for NumPy, few enough for the memory.
TOGETHER = 10
# Of a model's checks.
SHARES, COUNTS = 0.4, 0.15

Observed = tuple[FloatArray, ...]


@frozen
class Quiet:
    """What A/A months showed. alarms: false, all of them. unusable: checks that could not be calibrated."""

    model_months: int
    checks: int
    alarms: int
    budget_alarms: float
    unusable: int
    widened_median: float
    seconds: float

    @property
    def per_model_year(self) -> float:
        """False alarms of a model in a year."""
        return self.alarms / (self.model_months * MONTH_HOURS / HOURS_PER_YEAR)


def quiet(model_months: int = 1_000, checks: int = 40, seed: int = 0, budget: Budget | None = None) -> Quiet:
    """Simulate months in which nothing happens. budget: of a model; one alarm a year of hourly looks unless given."""
    began, spent = time.perf_counter(), budget or Budget(1.0, 1.0, checks)
    false, unusable, widened = 0, 0, []
    for part, models in enumerate(_parts(model_months)):
        for null, month in _months(np.random.default_rng([seed, part]), models, checks, spent):
            rang = alarms(null.null.log_e(*month), null.null.alike, spent.log_level) & null.usable
            false, unusable = false + int(rang.sum()), unusable + int((~null.usable).sum())
            widened.append(null.null.width * null.null.alike)
    allowed = spent.alarms_per_year * model_months * MONTH_HOURS / HOURS_PER_YEAR
    typical = float(np.median(np.concatenate(widened)))
    return Quiet(model_months, checks, false, allowed, unusable, typical, time.perf_counter() - began)


def _parts(models: int) -> Iterator[int]:
    for first in range(0, models, TOGETHER):
        yield min(TOGETHER, models - first)


def _months(
    random: np.random.Generator, models: int, checks: int, budget: Budget
) -> Iterator[tuple[Calibrated[Null], Observed]]:
    """Yield nulls learnt from a history, and the month that followed it."""
    shares, counts = round(SHARES * checks) * models, round(COUNTS * checks) * models
    hits, rows = simulated_shares(random, shares)
    yield _learnt(Shares.of(*_history(hits, rows)), (hits, rows), budget)
    counted = simulated_counts(random, counts)
    slot, one = slots(0, len(counted), 168), np.ones_like(counted)
    past, per = _history(counted, one)
    then, now = slot[:HISTORY_HOURS], slot[HISTORY_HOURS:]
    expected = np.concatenate([usual_apart(past, per, then), usual(past, per, then, now)])
    yield _learnt(Counts.of(*_history(counted, expected)), (counted, expected), budget)
    values = simulated_values(random, checks * models - shares - counts)
    yield _learnt(Ranks.of(*_history(values)), (values,), budget)


def _learnt(null: Null, observed: Observed, budget: Budget) -> tuple[Calibrated[Null], Observed]:
    return calibrated(null, _history(*observed), budget), tuple(each[HISTORY_HOURS:] for each in observed)


def _history(*observed: FloatArray) -> Observed:
    return tuple(each[:HISTORY_HOURS] for each in observed)


def alike(random: np.random.Generator, hours: int, correlation: FloatArray) -> FloatArray:
    """Return standard normal first-order autoregressions: float64 (hours, checks)."""
    noise = random.standard_normal((hours, len(correlation)))
    series = np.empty_like(noise)
    series[0] = noise[0]
    for hour in range(1, hours):
        series[hour] = correlation * series[hour - 1] + np.sqrt(1 - correlation**2) * noise[hour]
    return series


def _correlations(random: np.random.Generator, checks: int) -> FloatArray:
    """Return how alike the hours of each check are: a third not at all, the others up to 0.9."""
    drawn = random.uniform(0, 0.9, checks)
    drawn[random.random(checks) < 1 / 3] = 0.0
    return drawn


def simulated_shares(random: np.random.Generator, checks: int) -> tuple[FloatArray, FloatArray]:
    """Return hits and rows of shares from 0.02 % to 50 % whose log odds wander, some by much."""
    hours = HISTORY_HOURS + MONTH_HOURS
    day = 1 + 0.8 * np.sin(2 * np.pi * np.arange(hours) / 24)[:, None]
    rows = random.poisson(np.exp(random.uniform(np.log(30), np.log(3_000), checks)) * day).astype(np.float64)
    log_odds = random.uniform(-8.5, 0, checks)
    wander = random.choice([0.0, 0.05, 0.2, 0.5], checks) * alike(random, hours, _correlations(random, checks))
    return random.binomial(rows.astype(np.int64), 1 / (1 + np.exp(-log_odds - wander))).astype(np.float64), rows


def simulated_counts(random: np.random.Generator, checks: int) -> FloatArray:
    """Return counts from 5 to 5,000 an hour with a day and a week-end in them, and noise beyond Poisson's."""
    hours = np.arange(HISTORY_HOURS + MONTH_HOURS)
    day = 1 + 0.8 * np.sin(2 * np.pi * hours / 24)
    week = np.where(hours % 168 < 48, 0.5, 1.0)
    level = np.exp(random.uniform(np.log(5), np.log(5_000), checks))
    noise = random.choice([0.0, 0.05, 0.2], checks) * alike(random, len(hours), _correlations(random, checks))
    return random.poisson(level * (day * week)[:, None] * np.exp(noise)).astype(np.float64)


def simulated_values(random: np.random.Generator, checks: int) -> FloatArray:
    """Return statistics that are Gaussian, log-normal, or heavy-tailed (t with 4 degrees)."""
    normal = alike(random, HISTORY_HOURS + MONTH_HOURS, _correlations(random, checks))
    heavy = normal / np.sqrt(random.chisquare(4, normal.shape) / 4)
    kind = random.integers(0, 3, checks)
    return np.select([kind == 0, kind == 1], [normal, np.exp(normal)], heavy)


def months(model_months: int) -> dict[str, float]:
    """Simulate months in a process of its own."""
    found = quiet(model_months)
    return {**asdict(found), "per_model_year": found.per_model_year}


def model_months(bench: Bench) -> Found:
    """Months in which nothing happens, forty checks each: how many alarms a model-year would have."""
    found = bench.child("diagnosis_aa:months", model_months=bench.extent.model_months).values
    note = (
        f"{found['alarms']:.0f} in {found['model_months']:,.0f} model-months of {found['checks']:.0f} checks, "
        f"{found['budget_alarms']:.0f} allowed; {found['unusable']:.0f} checks not usable, variance widened "
        f"× {found['widened_median']:.1f} (median)"
    )
    yield "false_alarms_of_a_simulated_model_year", Measured(found["per_model_year"], note)
