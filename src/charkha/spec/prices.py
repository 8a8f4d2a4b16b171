"""What the machine costs: a table that the user owns. What has no price there is of unknown cost, never free."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from attrs import fields_dict, frozen

HOUR_SECONDS, GB = 3600, 1e9
MONTH_DAYS = 30.4375


@frozen(kw_only=True)
class Prices:
    """Prices in one currency; None is unknown.

    cpu_hour: of one core at work for an hour. gb_hour: of 10⁹ bytes of memory for an hour. gpu_hour: of one device held
    for an hour. gb_moved: of 10⁹ bytes read or written. gb_stored_month: of 10⁹ bytes kept for a month.
    """

    cpu_hour: float | None = None
    gb_hour: float | None = None
    gpu_hour: float | None = None
    gb_moved: float | None = None
    gb_stored_month: float | None = None
    currency: str = "INR"

    def of_work(
        self,
        *,
        cpu_seconds: float,
        memory_gb_seconds: float | None,
        gpu_seconds: float | None,
        moved_bytes: float | None,
    ) -> "Price":
        """Return what work costs. An amount of nothing costs nothing, whatever its price."""
        parts = {
            "processor": _times(cpu_seconds, self.cpu_hour, HOUR_SECONDS),
            "memory": _times(memory_gb_seconds, self.gb_hour, HOUR_SECONDS),
            "devices": _times(gpu_seconds, self.gpu_hour, HOUR_SECONDS),
            "moved bytes": _times(moved_bytes, self.gb_moved, GB),
        }
        known = [part for part in parts.values() if part is not None]
        return Price(sum(known), tuple(name for name, part in parts.items() if part is None), self.currency)


@frozen
class Price:
    """What something costs: the sum of what is known, and the names of what is not, which comes on top."""

    amount: float
    unknown: tuple[str, ...]
    currency: str

    @property
    def text(self) -> str:
        """The price in words, such as "12.30 INR and memory, which has no price"."""
        if not self.unknown:
            return f"{figure(self.amount)} {self.currency}"
        if not self.amount:
            return "unknown"
        return f"{figure(self.amount)} {self.currency} + unknown ({', '.join(self.unknown)})"


class BadPrices(ValueError):
    """A file that is no table of prices."""


def read_prices(path: Path) -> Prices:
    """Return the prices of a TOML file: the names of `Prices`, each with a number; `currency` with a text.

    Raises OSError and BadPrices.
    """
    try:
        found: Mapping[str, object] = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadPrices(f"{path}: expected prices in TOML: {error}") from None
    known = fields_dict(Prices)
    for name, value in found.items():
        if name not in known:
            raise BadPrices(f"{path}: expected one of {', '.join(known)}, got {name!r}. Prices have no other names")
        if not is_price(name, value):
            raise BadPrices(f"{path}, {name}: expected {'a text' if name == 'currency' else 'a price'}, got {value!r}")
    return Prices(**found)  # type: ignore[arg-type]


def is_price(name: str, value: object) -> bool:
    """Say whether a value may stand under a name of `Prices`: a number from 0 up; of the currency, a text."""
    if name == "currency":
        return isinstance(value, str) and bool(value)
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def figure(amount: float) -> str:
    """Return an amount of money with two decimals, or as many as show two figures of a small one."""
    return f"{amount:,.2f}" if not amount or round(amount, 2) >= 0.1 else f"{amount:.2g}"


def _times(quantity: float | None, price: float | None, unit: float) -> float | None:
    """Return the cost of a quantity, None where it or its price is not known; of none, 0."""
    if quantity == 0:
        return 0.0
    return None if quantity is None or price is None else quantity / unit * price
