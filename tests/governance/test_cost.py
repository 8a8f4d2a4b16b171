"""What was used, priced by the user's table: sums, shares, and the unknown, which is never 0."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from charkha.bundles.manifest import Measured, RuntimeChoice
from charkha.governance.cost.report import BY, UNATTRIBUTED, By, report
from charkha.governance.cost.serving import cost_in_words, expected_cost, served_lately
from charkha.governance.cost.stored import stored, stored_bytes
from charkha.spec.durations import DAY_US
from charkha.spec.gates import CostsAtMost
from charkha.spec.prices import BadPrices, Prices, read_prices
from charkha.storage.ledger import WHOLE, Ledger, Usage
from charkha.training.costs import check_cost

PRICES = Prices(cpu_hour=3.6, gb_hour=0.36, gpu_hour=180, gb_moved=1, gb_stored_month=2)


def usage(run: str = "late/train/1", stage: str = "fit", **changes: Any) -> Usage:
    row = Usage(
        id=f"{run}#a/{stage}",
        kind="training",
        run=run,
        model="late",
        team="eta",
        stage=stage,
        began_us=0,
        wall_seconds=10.0,
        cpu_seconds=100.0,
        peak_bytes=10**9,
        memory_gb_seconds=10.0,
        read_bytes=500_000_000,
        written_bytes=500_000_000,
        gpu_seconds=0.0,
    )
    return evolve(row, **changes)


def test_a_run_costs_what_its_processes_used() -> None:
    found = report(
        [usage(stage=WHOLE), usage(cpu_seconds=60.0), usage(stage="features", cpu_seconds=30.0)],
        {"late": PRICES},
        "model",
    )
    (line,) = found.lines
    assert line.price.unknown == ()
    assert line.price.amount == pytest.approx(100 * 0.001 + 10 * 0.0001 + 1)
    assert line.unattributed == pytest.approx(0.1)
    assert found.total is not None
    assert found.total.price == line.price


def test_by_stage_the_rest_has_a_line_of_its_own() -> None:
    found = report(
        [usage(stage=WHOLE), usage(cpu_seconds=60.0, read_bytes=0, written_bytes=0)], {"late": PRICES}, "stage"
    )
    lines = {line.name: line for line in found.lines}
    assert {name: line.used.cpu_seconds for name, line in lines.items()} == {"fit": 60.0, UNATTRIBUTED: 40.0}
    assert lines["fit"].unattributed is None
    assert found.unattributed == pytest.approx(0.4)


def test_what_has_no_price_or_was_not_measured_is_unknown() -> None:
    only_cpu = Prices(cpu_hour=3.6)
    (line,) = report([usage(stage=WHOLE)], {"late": only_cpu}, "model").lines
    assert line.price.unknown == ("memory", "moved bytes")
    assert line.price.text == "0.10 INR + unknown (memory, moved bytes)"
    (line,) = report([usage(stage=WHOLE)], {}, "model").lines
    assert (line.price.text, line.price.unknown) == ("unknown", ("processor", "memory", "moved bytes"))
    (line,) = report([usage(stage=WHOLE, gpu_seconds=None)], {"late": PRICES}, "model").lines
    assert line.price.unknown == ("devices",)
    (line,) = report([usage(stage=WHOLE, cpu_seconds=0.0)], {"late": Prices(gb_hour=0, gb_moved=0)}, "model").lines
    assert (line.price.amount, line.price.unknown) == (0.0, ())


def test_who_died_with_its_parent_counts_as_the_sum_of_its_stages() -> None:
    found = report([usage(stage="features"), usage()], {"late": PRICES}, "run")
    (line,) = found.lines
    assert (line.name, line.used.cpu_seconds, line.unattributed) == ("late/train/1", 200.0, 0.0)


def test_amounts_in_two_currencies_are_not_added_up() -> None:
    rows = [usage(stage=WHOLE), usage("eta/train/1", WHOLE, model="eta")]
    found = report(rows, {"late": PRICES, "eta": evolve(PRICES, currency="EUR")}, "team")
    (line,) = found.lines
    assert line.price.unknown == ("amounts in EUR",)
    assert line.price.amount == pytest.approx(1.101)


def test_nothing_metered_is_nothing_to_tell() -> None:
    assert report([], {}, "model").total is None


stages = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z"]), st.floats(0, 1e5)), min_size=1, max_size=12
)


@given(stages, st.sampled_from(BY))
def test_lines_add_up_to_the_total_however_they_are_cut(rows: list[tuple[str, str, float]], by: By) -> None:
    parts = [
        usage(f"{model}/run/{number}", stage, model=model, team=model, cpu_seconds=cpu)
        for number, (model, stage, cpu) in enumerate(rows)
    ]
    wholes = [
        evolve(each, stage=WHOLE, id=each.id.rpartition("/")[0] + "/whole", cpu_seconds=each.cpu_seconds + 1)
        for each in parts
    ]
    found = report([*parts, *wholes], {"a": PRICES}, by)
    assert found.total is not None
    assert sum(line.used.cpu_seconds for line in found.lines) == pytest.approx(found.total.used.cpu_seconds)
    assert sum(line.price.amount for line in found.lines) == pytest.approx(found.total.price.amount)
    assert sum(each.cpu_seconds for each in wholes) == pytest.approx(found.total.used.cpu_seconds)


def test_a_table_of_prices_is_read_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('cpu_hour = 3\ngb_hour = 0.5\ncurrency = "EUR"\n')
    assert read_prices(path) == Prices(cpu_hour=3, gb_hour=0.5, currency="EUR")
    for text, said in (
        ("cpu = 3", "expected one of cpu_hour, .* got 'cpu'"),
        ("cpu_hour = -1", "cpu_hour: expected a price, got -1"),
        ("cpu_hour = true", "expected a price, got True"),
        ("cpu_hour = inf", "expected a price, got inf"),
        ("cpu_hour =", "expected prices in TOML"),
    ):
        path.write_text(text)
        with pytest.raises(BadPrices, match=said):
            read_prices(path)


def runtime(one_row_us: float) -> RuntimeChoice:
    return RuntimeChoice(name="own", rows=10, measured={"own": Measured(one_row_us, 1.0, 0.0)})


def served(rows: int, cpu_seconds: float) -> Usage:
    return usage(
        "late/serving/d", "serving", kind="serving", rows=rows, cpu_seconds=cpu_seconds, memory_gb_seconds=None
    )


def test_a_version_costs_what_serving_does_and_what_it_takes_longer_for_a_row() -> None:
    cost = expected_cost(served(10_000, 5.0), PRICES, runtime(300), runtime(100))
    assert cost.cpu_seconds == pytest.approx(1000 * (0.0005 + 0.0002))
    assert cost.amount == pytest.approx(0.7 / 3600 * 3.6 + 0.1)  # and a gigabyte that was moved, for 10,000
    assert "10,000 predictions of the last 28 days" in cost.basis
    assert cost.unknown == ("memory",)
    unmetered = evolve(served(10_000, 5.0), read_bytes=None, gpu_seconds=None)
    assert expected_cost(unmetered, PRICES, None, None).unknown == ("memory", "devices", "moved bytes")
    assert check_cost(CostsAtMost(0.10071), cost).passed
    dear = check_cost(CostsAtMost(0.10069), cost)
    assert (dear.passed, dear.value and dear.value.n) == (False, 10_000)
    assert "at most 0.10069 INR is asked for" in dear.reason


def test_a_device_that_serving_held_is_priced() -> None:
    held = evolve(served(100_000, 10.0), read_bytes=0, written_bytes=0, gpu_seconds=3600.0)
    cost = expected_cost(held, PRICES, None, None)
    assert cost.amount == pytest.approx(0.1 / 3600 * 3.6 + 180 / 100)
    assert expected_cost(held, evolve(PRICES, gpu_hour=None), None, None).unknown == ("memory", "devices")


def test_before_anything_is_served_the_models_own_time_counts_and_it_is_said() -> None:
    cost = expected_cost(None, PRICES, runtime(300), None)
    assert cost.cpu_seconds == pytest.approx(0.3)
    assert "so features, HTTP and log come on top" in cost.basis


def test_an_unknown_price_passes_no_gate() -> None:
    cost = expected_cost(served(10_000, 5.0), Prices(gb_hour=1), runtime(1), runtime(1))
    assert cost.amount is None
    result = check_cost(CostsAtMost(1e9), cost)
    assert (result.passed, result.value) == (False, None)
    assert "cost unknown" in result.reason
    assert cost_in_words(expected_cost(None, PRICES, None, None)).startswith("unknown: nothing was served yet")


def test_what_was_served_lately_is_of_28_days_and_of_enough_rows(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    now_us = 100 * DAY_US
    for day, rows in ((60, 5000), (80, 600), (90, 500)):
        ledger.record_usage([evolve(served(rows, 1.0), id=f"{day}/serving", began_us=day * DAY_US)])
        ledger.record_usage([evolve(served(rows, 9.0), id=f"{day}/whole", stage=WHOLE, began_us=day * DAY_US)])
    found = served_lately(ledger, "late", now_us)
    assert found is not None
    assert (found.rows, found.cpu_seconds) == (1100, 2.0)
    assert served_lately(ledger, "late", 112 * DAY_US) is None  # 500 rows are too few


def test_what_a_model_keeps_on_disk(tmp_path: Path) -> None:
    for path in ("bundles/late/v1/x", "tables/predictions/late/y", "predictions/model=late/z", "online/data"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(8192))
    found, others = stored_bytes(tmp_path, ["late", "eta"])
    assert found["late"] == 3 * others > 0
    assert found["eta"] == 0
    assert stored("late", 10**9, PRICES).month.text == "2.00 INR"
    assert stored("late", 10**9, None).month.text == "unknown"
