"""What the operator uses is put down to its models, and a promotion knows what its predictions cost."""

from pathlib import Path

from attrs import evolve
from operator_world import FIRST_DAY, NAME, Traffic, make_model, make_project, midnight, trainer

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.operations.costs import with_cost
from charkha.operations.metering import OperatorMeter
from charkha.operations.operator import Operator
from charkha.operations.steps import Promote, Reject
from charkha.spec.check import check
from charkha.storage.home import open_home
from charkha.storage.ledger import WHOLE, Usage
from charkha.training.tracking import NoTracker

PRICES = ck.Prices(cpu_hour=3.6)
COST = ck.costs_at_most(inr_per_1000=1)


def test_ticks_add_up_by_the_day(tmp_path: Path) -> None:
    project = make_project(tmp_path, gates=(ck.beats_champion("log_loss"),), prices=PRICES)
    clock = SimulatedClock(midnight(FIRST_DAY))
    with open_home(project.home) as home:
        meter, tracker = OperatorMeter(home.ledger, clock), NoTracker()
        operator = Operator(project, home, clock, trainer(home, clock, tracker), tracker, meter=meter)
        traffic = Traffic(project, home, clock)
        operator.tick(NAME)
        once = {each.stage: each for each in home.ledger.usage(NAME)}
        operator.tick(NAME)
        twice = {each.stage: each for each in home.ledger.usage(NAME)}
        traffic.day(FIRST_DAY)
        clock.advance_to(midnight(FIRST_DAY + 1))
        operator.tick(NAME)
        days = {each.run for each in home.ledger.usage(NAME)}
    assert set(once) == set(twice) == {"monitoring", "deciding", WHOLE}
    assert days == {f"{NAME}/operator/2013-01-25", f"{NAME}/operator/2013-01-26"}
    parts = once["monitoring"].cpu_seconds + once["deciding"].cpu_seconds
    assert 0 < parts <= once[WHOLE].cpu_seconds
    assert all(twice[stage].cpu_seconds > once[stage].cpu_seconds for stage in once)
    assert {each.kind for each in once.values()} == {"operator"}


def served(rows: int) -> Usage:
    return Usage(
        id="served",
        kind="serving",
        run="d",
        model=NAME,
        team="tests",
        stage="serving",
        began_us=midnight(1),
        wall_seconds=60,
        cpu_seconds=rows / 1000,
        rows=rows,
    )


def test_a_promotion_knows_what_its_predictions_cost(tmp_path: Path) -> None:
    model = make_model(prices=PRICES)
    step = Promote(version="v2", generation=1, reason="better", evidence={"version": "v2"})
    with open_home(tmp_path) as home:
        assert with_cost(step, home, make_model(), midnight(2)) == step  # nothing to tell
        home.ledger.record_usage([served(50_000)])
        told = with_cost(step, home, model, midnight(2)).evidence["cost"]
        reject = Reject(version="v2", generation=1, reason="worse", evidence={})
        assert with_cost(reject, home, model, midnight(2)) == reject
    assert isinstance(told, dict)
    assert (round(told["amount_per_1000"], 9), told["currency"], told["rows"]) == (0.001, "INR", 50_000)
    assert told["unknown"] == ("memory", "devices", "moved bytes")  # without a price, or not metered


def test_the_gate_rests_on_what_was_served(tmp_path: Path) -> None:
    """A version that is too dear is rejected, with the figures in the reason."""
    dear = ck.costs_at_most(inr_per_1000=0.0001)
    project = make_project(tmp_path, gates=(dear,), prices=PRICES)
    clock = SimulatedClock(midnight(FIRST_DAY))
    with open_home(project.home) as home:
        home.ledger.record_usage([evolve(served(50_000), began_us=midnight(FIRST_DAY - 1))])
        tracker = NoTracker()
        Operator(project, home, clock, trainer(home, clock, tracker), tracker).tick(NAME)
        rejected = home.ledger.decisions(NAME)[-1]
    assert rejected.action == "reject"
    assert rejected.evidence["failed_gates"] == ["costs_at_most"]
    assert "50,000 predictions of the last 28 days" in rejected.reason
    assert "at most 0.0001 INR is asked for" in rejected.reason


def test_a_gate_on_cost_without_its_price_is_a_fault() -> None:
    def faults(**changes: object) -> str:
        return "; ".join(str(fault) for fault in check([make_model(**changes)]))

    assert "a price of a processor hour" in faults(gates=(COST,))
    assert "prices in INR" in faults(gates=(COST,), prices=ck.Prices(cpu_hour=1, currency="EUR"))
    assert "rupees above 0" in faults(gates=(ck.costs_at_most(inr_per_1000=0),), prices=PRICES)
    assert "a price from 0 up" in faults(prices=ck.Prices(cpu_hour=-1))
    assert "a ck.Prices" in faults(prices={"cpu_hour": 1})
    assert "price" not in faults(gates=(COST,), prices=PRICES)
