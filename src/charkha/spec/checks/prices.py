"""Checks of what things cost: the table of prices, and the gate that rests on it."""

from collections.abc import Iterator

from attrs import fields_dict

from charkha.spec.checks.values import number_faults, quote
from charkha.spec.faults import Fault
from charkha.spec.gates import CostsAtMost
from charkha.spec.model import Model
from charkha.spec.policies import Retrain
from charkha.spec.prices import Prices, is_price


def price_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with a model's prices, if it has any."""
    inner, prices = f"{where}, prices", model.prices
    if prices is None:
        return
    if not isinstance(prices, Prices):
        yield Fault(inner, "a ck.Prices", quote(prices), "Write ck.Prices(cpu_hour=3.5, gb_hour=0.4).")
        return
    for name in fields_dict(Prices):
        value = getattr(prices, name)
        if value is not None and not is_price(name, value):
            expected = "a text such as 'INR'" if name == "currency" else "a price from 0 up, or None where unknown"
            yield Fault(f"{inner}.{name}", expected, quote(value), "Leave it out where you do not know it.")


def training_price_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with the price of trainings: two that differ, or none where money is bounded."""
    retrain, prices = model.retrain, model.prices
    if not isinstance(retrain, Retrain) or not isinstance(prices, Prices | None):
        return
    own, table = retrain.inr_per_cpu_hour, prices.cpu_hour if prices and prices.currency == "INR" else None
    if own is not None and table is not None and own != table:
        remedy = "An hour of a processor has one price: leave inr_per_cpu_hour= out, and that of ck.Prices holds."
        expected = f"{quote(table)}, as in prices.cpu_hour"
        yield Fault(f"{where}, retrain.inr_per_cpu_hour", expected, quote(own), remedy)
    if retrain.budget_inr is not None and own is None and table is None:
        remedy = "Give prices=ck.Prices(cpu_hour=…) in INR, or inr_per_cpu_hour=, or write budget_cpu_hours= instead."
        yield Fault(f"{where}, retrain.budget_inr", "a price of what is bounded", "none", remedy)


def costs_gate_faults(where: str, gate: CostsAtMost, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with a gate on what predictions cost."""
    yield from number_faults(where, gate.inr_per_1000, "rupees above 0", 1e-12)
    prices = model.prices
    if not isinstance(prices, Prices) or prices.cpu_hour is None:
        remedy = "Give the model prices=ck.Prices(cpu_hour=…): without them it would never pass."
        yield Fault(where, "a price of a processor hour", "none", remedy)
    elif prices.currency != "INR":
        yield Fault(where, "prices in INR", quote(prices.currency), "Give prices in rupees, or leave the gate out.")
