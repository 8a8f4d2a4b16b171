"""Request features by a plain function: run once on expressions, of which alone anything is kept."""

from typing import Any

import polars as pl
import pytest

import charkha as ck
from charkha.features.expressions import expression_to_json
from charkha.spec.views import RequestFeatures


def written(group: RequestFeatures) -> dict[str, str]:
    return {name: expression_to_json(expression) for name, expression in group.by_full_name().items()}


WANTED = ck.RequestFeatures(
    "schedule", hour=pl.col("scheduled_at").dt.hour(), far=pl.col("distance") > pl.col("view.mean_km_7d") * 2
)


def test_a_function_of_the_row_makes_the_same_as_expressions() -> None:
    @ck.on_request
    def schedule(row: Any) -> dict[str, pl.Expr]:
        return {"hour": row["scheduled_at"].dt.hour(), "far": row["distance"] > row["view.mean_km_7d"] * 2}

    assert schedule.name == "schedule"
    assert written(schedule) == written(WANTED)


def test_a_function_of_named_columns_may_take_the_row_beside_them() -> None:
    def made(scheduled_at: pl.Expr, /, distance: pl.Expr, *, row: Any, times: int = 2) -> dict[str, pl.Expr]:
        return {"hour": scheduled_at.dt.hour(), "far": distance > row["view.mean_km_7d"] * times}

    assert written(ck.RequestFeatures.of("schedule", made)) == written(WANTED)


def test_a_decorator_takes_a_name_and_defaults() -> None:
    @ck.on_request(name="when", defaults={"hour": 12})
    def schedule(scheduled_at: pl.Expr) -> dict[str, pl.Expr]:
        return {"hour": scheduled_at.dt.hour()}

    assert list(schedule.by_full_name()) == ["when.hour"]
    assert schedule.defaults_by_full_name() == {"when.hour": 12}


def test_a_function_is_run_once() -> None:
    runs = []

    def made(km: pl.Expr) -> dict[str, pl.Expr]:
        runs.append(km)
        return {"far": km > 5}

    group = ck.RequestFeatures.of("trip", made)
    assert written(group) == written(group)
    assert len(runs) == 1


def broken(km: pl.Expr) -> Any:
    return {"far": 5 if km > 5 else 0}


def of_anything(*columns: pl.Expr) -> Any:
    return {}


@pytest.mark.parametrize(
    ("function", "expected", "found"),
    [
        (broken, "a function that makes expressions of columns", "TypeError: the truth value of an Expr is ambiguous"),
        (of_anything, "a function that makes expressions of columns", "TypeError: expected parameters that name col"),
        (lambda row: row[3], "a function that makes expressions of columns", "TypeError: expected the name of a col"),
        (lambda km: 1 / 0, "a function that makes expressions of columns", "ZeroDivisionError: division by zero"),
        (3, "a function that makes expressions of columns", "TypeError: 3 is not a callable object"),
        (lambda km: km > 5, "a dictionary of expressions by their names", "an object of type Expr"),
        (lambda km: None, "a dictionary of expressions by their names", "nothing"),
    ],
)
def test_a_function_that_makes_no_expressions_is_kept_as_a_fault(function: Any, expected: str, found: str) -> None:
    group = ck.RequestFeatures.of("trip", function)
    assert group.expressions == {}
    assert group.fault is not None
    assert group.fault.expected == expected
    assert group.fault.found.startswith(found)
