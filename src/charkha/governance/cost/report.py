"""What was used and what it cost: by model, team, stage or run, with what could not be put down to any work.

Of every process the whole is metered, and the stages within it. What the stages leave of the whole, such as starting
up, waiting and following the ledger, is unattributed: it is shown, and is nobody's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, frozen

from charkha.governance.cost.serving import moved_bytes
from charkha.spec.prices import Price, Prices
from charkha.storage.ledger import WHOLE, Usage

By = Literal["model", "team", "stage", "run"]
BY: tuple[By, ...] = ("model", "team", "stage", "run")
UNATTRIBUTED = "(unattributed)"
NO_PRICES = Prices()


@frozen(kw_only=True)
class Line:
    """What one model, team, stage or run used and cost. used: summed, the peak the highest. runs: how many.

    unattributed: the share of its processor time that was put down to no stage, 0 to 1; None by stage.
    per_1000: what a thousand of its answered predictions cost, where there are any.
    """

    name: str
    used: Usage
    runs: int
    price: Price
    unattributed: float | None
    per_1000: Price | None


@frozen(kw_only=True)
class Report:
    """All lines, the dearest first, and all together. unattributed: as of `Line`, of all."""

    by: By
    lines: tuple[Line, ...]
    total: Line | None

    @property
    def unattributed(self) -> float | None:
        """The share of all processor time that was put down to no stage."""
        return None if self.total is None else self.total.unattributed


def report(usages: Sequence[Usage], prices: Mapping[str, Prices | None], by: By) -> Report:
    """Return what usages cost. prices: of each model; a model that is not there has none.

    A process whose whole nobody metered, for its parent died, counts as the sum of its stages.
    """
    wholes, parts = _wholes(usages), [each for each in usages if each.stage != WHOLE]
    if not wholes:
        return Report(by=by, lines=(), total=None)
    if by == "stage":
        rest = _rest(wholes, parts)
        named = [(each.stage, each) for each in parts] + [(UNATTRIBUTED, each) for each in rest]
        groups = _grouped(named)
        lines = [_line(name, group, None, prices) for name, group in groups.items()]
    else:
        attributed = _grouped((getattr(each, by), each) for each in parts)
        groups = _grouped((getattr(each, by), each) for each in wholes)
        lines = [_line(name, group, attributed.get(name, []), prices) for name, group in groups.items()]
    lines.sort(key=lambda line: (-line.price.amount, -line.used.cpu_seconds, line.name))
    return Report(by=by, lines=tuple(lines), total=_line("total", wholes, parts, prices))


def _wholes(usages: Sequence[Usage]) -> list[Usage]:
    """Return what is known of each process as a whole."""
    told = [each for each in usages if each.stage == WHOLE]
    known = {_process(each) for each in told}
    orphans = _grouped((_process(each), each) for each in usages if each.stage != WHOLE and _process(each) not in known)
    return told + [_sum(group) for group in orphans.values()]


def _rest(wholes: Sequence[Usage], parts: Sequence[Usage]) -> list[Usage]:
    """Return of each process what its stages leave of the whole; never less than nothing."""
    attributed = _grouped((_process(each), each) for each in parts)
    rest = []
    for whole in wholes:
        stages = attributed.get(_process(whole))
        rest.append(whole if stages is None else _less(whole, _sum(stages)))
    return rest


def _less(whole: Usage, stages: Usage) -> Usage:
    def left(all_of_it: float | None, part: float | None) -> float | None:
        return None if all_of_it is None or part is None else max(0.0, all_of_it - part)

    moved = [left(whole.read_bytes, stages.read_bytes), left(whole.written_bytes, stages.written_bytes)]
    return evolve(
        whole,
        rows=0,
        wall_seconds=max(0.0, whole.wall_seconds - stages.wall_seconds),
        cpu_seconds=max(0.0, whole.cpu_seconds - stages.cpu_seconds),
        memory_gb_seconds=left(whole.memory_gb_seconds, stages.memory_gb_seconds),
        read_bytes=None if moved[0] is None else int(moved[0]),
        written_bytes=None if moved[1] is None else int(moved[1]),
        gpu_seconds=left(whole.gpu_seconds, stages.gpu_seconds),
    )


def _process(usage: Usage) -> str:
    return usage.id.rpartition("/")[0]


def _grouped(named: Iterable[tuple[str, Usage]]) -> dict[str, list[Usage]]:
    groups: dict[str, list[Usage]] = {}
    for name, usage in named:
        groups.setdefault(name, []).append(usage)
    return groups


def _sum(usages: Sequence[Usage]) -> Usage:
    together = usages[0]
    for each in usages[1:]:
        together = together.plus(each)
    return together


def _line(
    name: str, usages: Sequence[Usage], attributed: Sequence[Usage] | None, prices: Mapping[str, Prices | None]
) -> Line:
    used, price = _sum(usages), price_of(usages, prices)
    served = [each for each in usages if each.rows]
    rows = sum(each.rows for each in served)
    return Line(
        name=name,
        used=used,
        runs=len({each.run for each in usages}),
        price=price,
        unattributed=None if attributed is None else _unattributed(used, attributed),
        per_1000=_per(price_of(served, prices), rows / 1000) if rows else None,
    )


def _unattributed(used: Usage, attributed: Sequence[Usage]) -> float:
    done = sum(each.cpu_seconds for each in attributed)
    return max(0.0, 1 - done / used.cpu_seconds) if used.cpu_seconds else 0.0


def price_of(usages: Sequence[Usage], prices: Mapping[str, Prices | None]) -> Price:
    """Return what usages cost together, each by the prices of its model; in the currency of the first that has any."""
    tables = [prices.get(each.model) or NO_PRICES for each in usages]
    priced = [_price(each, table) for each, table in zip(usages, tables, strict=True)]
    currency = next((each.currency for each in priced if each.amount), priced[0].currency if priced else "INR")
    other = {each.currency for each in priced if each.amount and each.currency != currency}
    unknown = dict.fromkeys(name for each in priced for name in each.unknown)
    unknown |= dict.fromkeys(f"amounts in {each}" for each in sorted(other))
    amount = sum(each.amount for each in priced if each.currency == currency)
    return Price(amount, tuple(unknown), currency)


def _price(usage: Usage, prices: Prices) -> Price:
    return prices.of_work(
        cpu_seconds=usage.cpu_seconds,
        memory_gb_seconds=usage.memory_gb_seconds,
        gpu_seconds=usage.gpu_seconds,
        moved_bytes=moved_bytes(usage),
    )


def _per(price: Price, thousands: float) -> Price:
    return Price(price.amount / thousands, price.unknown, price.currency)
