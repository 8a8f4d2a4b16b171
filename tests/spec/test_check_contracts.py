"""Faults of a contract, each with its way out; a sound contract has none."""

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from test_check import build, sound_parts

import charkha as ck
from charkha.spec.check import check

SOUND = ck.Contract(
    fields={
        "distance": ck.Expect(low=0, high=6000, nulls=0),
        "carrier": ck.Expect(allowed=["AA", "UA"], nulls=0.01),
        "landed_at": ck.Expect(low=datetime(2013, 1, 1), high=datetime(2014, 1, 1, tzinfo=UTC)),
        "delay": ck.Expect(low=-90.5),
    },
    where={"lands after it departs": pl.col("landed_at") > pl.col("departed_at")},
    unique=True,
    max_age="2h",
    rows_per_day=[500, 1500],
)


def faults(contract: Any, source: str = "flights") -> list[str]:
    parts = sound_parts()
    parts[source]["contract"] = contract
    return [str(fault) for fault in check([build(parts)])]


def of(**expected: Any) -> ck.Contract:
    ((name, expect),) = expected.items()
    return ck.Contract(fields={name: expect})


def test_a_sound_contract_has_no_faults() -> None:
    assert faults(SOUND) == []


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        ("strict", "contract: expected a ck.Contract, got 'strict'. Write contract=ck.Contract(fields={…})."),
        (ck.Contract(), "contract: expected something to keep, got nothing. Leave contract= out, or let it be"),
        (ck.Contract(fields=["distance"]), "contract, fields: expected a dict, got ['distance']"),  # type: ignore[arg-type]
        (ck.Contract(where="x > 0"), "contract, where: expected a dict, got 'x > 0'"),  # type: ignore[arg-type]
        (of(distanse=ck.Expect(low=0)), "contract, fields: expected a field of source 'flights', got 'distanse'. Did"),
        (of(distance=(0, 6000)), "contract, field 'distance': expected a ck.Expect, got (0, 6000). Write ck.Expect"),
        (of(distance=ck.Expect()), "contract, field 'distance': expected something to expect, got nothing. Give low"),
        (of(carrier=ck.Expect(low=1)), "field 'carrier', low: expected a field of numbers or times, got str. List its"),
        (of(distance=ck.Expect(low="0")), "field 'distance', low: expected a finite number, got '0'"),  # type: ignore[arg-type]
        (of(distance=ck.Expect(high=float("nan"))), "field 'distance', high: expected a finite number, got nan. Leave"),
        (of(landed_at=ck.Expect(low=2013)), "field 'landed_at', low: expected a datetime, got 2013. Write datetime("),
        (of(distance=ck.Expect(low=9, high=1)), "'distance': expected low ≤ high, got low=9, high=1. Exchange the two"),
        (
            of(landed_at=ck.Expect(low=datetime(2014, 1, 1, tzinfo=UTC), high=datetime(2013, 1, 1))),
            "field 'landed_at': expected low ≤ high, got low=2014-01-01",
        ),
        (of(carrier=ck.Expect(allowed="AA")), "field 'carrier', allowed: expected a list of values, got 'AA'. Write"),
        (of(carrier=ck.Expect(allowed=[])), "field 'carrier', allowed: expected a list of values, got ()"),
        (of(carrier=ck.Expect(allowed=(1,))), "field 'carrier', allowed: expected values of type str, got 1. Write"),
        (of(carrier=ck.Expect(allowed=(None,))), "allowed: expected values of type str, got None. Say how many nulls"),
        (of(distance=ck.Expect(allowed=(True,))), "field 'distance', allowed: expected values of type int, got True"),
        (
            of(delay=ck.Expect(allowed=(1,))),
            "field 'delay', allowed: expected a field of type str, int or bool, got fl",
        ),
        (
            of(distance=ck.Expect(low=1, allowed=(1,))),
            "allowed: expected either allowed values, or low and high",
        ),
        (of(delay=ck.Expect(nulls=5)), "field 'delay', nulls: expected a share of the rows, 0 to 1, got 5. Give a num"),
        (ck.Contract(unique="yes"), "contract, unique: expected True or False, got 'yes'"),  # type: ignore[arg-type]
        (ck.Contract(max_age="2 hours"), 'contract, max_age: expected a duration such as "30s"'),
        (ck.Contract(rows_per_day=(9, 1)), "contract, rows_per_day: expected the fewest before the most, got (9, 1)"),
        (ck.Contract(rows_per_day=500), "contract, rows_per_day: expected the fewest and the most rows of a day, got"),
        (ck.Contract(rows_per_day=(-1, 2)), "contract, rows_per_day: expected a number of rows, got -1"),
        (ck.Contract(unique=True, requests="log"), 'contract, requests: expected "refuse" or "accept", got \'log\''),  # type: ignore[arg-type]
        (ck.Contract(where={"far": pl.col("delay")}), "contract, where 'far': expected a boolean, got Float64"),
        (ck.Contract(where={"x": pl.col("dely") > 1}), "contract, where 'x': expected a known column, got 'dely'. Did"),
        (
            ck.Contract(where={"a day": pl.col("delay") > pl.col("delay").mean()}),
            "contract, where 'a day': expected a value made from its own row alone",
        ),
        (ck.Contract(where={"": pl.col("delay") > 1}), "contract, where: expected a text that is not empty, got ''"),
    ],
)
def test_each_fault_says_where_and_the_way_out(contract: Any, expected: str) -> None:
    (found,) = faults(contract)
    assert found.startswith("source 'flights', ")
    assert expected in found


def test_what_needs_time_or_a_key_is_not_asked_of_a_source_without() -> None:
    (no_age,) = faults(ck.Contract(max_age="1h"), "planes")
    assert "source 'planes', contract, max_age: expected a source with time, got a static one" in no_age
    (no_key,) = faults(ck.Contract(unique=True), "weather")
    assert "source 'weather', contract, unique: expected a source with a row key, got none" in no_key


def test_several_faults_are_found_at_once() -> None:
    contract = ck.Contract(fields={"distanse": ck.Expect(low=0), "delay": ck.Expect(nulls=2)}, unique=1)  # type: ignore[arg-type]
    assert len(faults(contract)) == 3


def test_a_spelling_of_null_is_a_text() -> None:
    parts = sound_parts()
    parts["weather"]["data"] = ck.csv("weather.csv", nulls=["n/a", 9])  # type: ignore[list-item]
    (found,) = [str(fault) for fault in check([build(parts)])]
    assert found == (
        "source 'weather', data, nulls: expected a text, got 9. Write it as it stands in the file: nulls=[\"n/a\"]."
    )


DAY = 'that tells a day, and all of the time or none, got {}. Write all its parts, such as "%d/%m/%Y %H:%M"'


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ("%d/%m %H:%M", DAY.format("'%d/%m %H:%M'")),
        ("%d/%m/%Y %H", DAY.format("'%d/%m/%Y %H'")),
        ("%d/%m/%Y %I:%M", DAY.format("'%d/%m/%Y %I:%M'")),
        ("%Q", DAY.format("'%Q'")),
        ("", DAY.format("''")),
        (3, DAY.format("3")),
        ({"observed_at": "day first"}, DAY.format("'day first'")),
        ({"wind": "%Y-%m-%d"}, "expected fields that are times (observed_at), got 'wind'. Name one of them."),
    ],
)
def test_a_format_of_times_must_tell_the_day_of_a_time(times: Any, expected: str) -> None:
    parts = sound_parts()
    parts["weather"]["data"] = ck.csv("weather.csv", times=times)
    (found,) = [str(fault) for fault in check([build(parts)])]
    assert found.startswith("source 'weather', data, times: expected ")
    assert expected in found


@pytest.mark.parametrize("times", ["%d/%m/%Y", "%d %b %y %I:%M %p", "%s", "%Y-%m-%dT%H:%M:%S%.f%#z", "%+"])
def test_formats_that_tell_a_day_are_sound(times: str) -> None:
    parts = sound_parts()
    parts["weather"]["data"] = ck.csv("weather.csv", times=times)
    assert check([build(parts)]) == []


@pytest.mark.parametrize("kind", [date, pl.Date, pl.Datetime, "datetime"])
def test_a_day_is_declared_as_a_time(kind: Any) -> None:
    parts = sound_parts()
    parts["weather"]["fields"] = {**parts["weather"]["fields"], "day": kind}
    (found,) = [str(fault) for fault in check([build(parts)])]
    assert found.endswith("for 'day'. Write datetime, of the module datetime: a day is its midnight in UTC.")


@pytest.mark.parametrize("separator", ["", ";;", '"', "\n", "→", 7])
def test_a_separator_is_one_character(separator: Any) -> None:
    parts = sound_parts()
    parts["weather"]["data"] = ck.csv("weather.csv", separator=separator)
    (found,) = [str(fault) for fault in check([build(parts)])]
    assert found.startswith("source 'weather', data, separator: expected one plain character, got ")
