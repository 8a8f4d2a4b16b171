"""What a contract says of requests and pushes, as the client reads it.

A request is one row on the hot path: it is checked by plain Python, field by field, made once from the contract. A
model whose label source has no contract has no check at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
from attrs import frozen

from charkha.features.contracts import NEVER_NULL, expected_words, said
from charkha.features.quarantine import BatchBreaksContract
from charkha.serving.refusals import Refused
from charkha.spec.contracts import Expect
from charkha.spec.failures import POLARS_FAILS
from charkha.spec.model import Model

Holds = Callable[[Any], bool]
_SHOWN = 3  # violations in an answer, each with so many rows
_LONGEST = 200


class ContractBroken(Refused):
    """A request with a value that the contract of the model's label source forbids."""

    def __init__(self, message: str, field: str | None) -> None:
        super().__init__(422, "contract_broken", message, field)


@frozen(eq=False)
class RequestCheck:
    """What a model's requests must keep. fields: place, name, what is expected, and whether a value is that."""

    source: str
    fields: Sequence[tuple[int, str, str, Holds]]
    rules: Mapping[str, pl.Expr]

    def refuse(self, rows: Sequence[Sequence[Any]], frame: pl.DataFrame, *, is_many: bool) -> None:
        """Raise ContractBroken at the first value or row that breaks the contract.

        rows: values in the order of the request fields. frame: the same as a table. is_many: they came as `rows`.
        """
        for number, row in enumerate(rows):
            for place, name, words, holds in self.fields:
                if not holds(row[place]):
                    path = f"rows[{number}].{name}" if is_many else name
                    expected = NEVER_NULL if row[place] is None else words
                    raise ContractBroken(f"field '{path}': expected {expected}, got {said(row[place])}", path)
        for name, rule in self.rules.items():
            broken = _first_broken(rule, frame)
            if broken is not None:
                at = f"rows[{broken}]" if is_many else None
                raise ContractBroken(f"{at or 'body'}: expected {name}, got values that are not so", at)


def _first_broken(rule: pl.Expr, frame: pl.DataFrame) -> int | None:
    """Return the first row of which a rule is false; the first of all where it cannot be computed."""
    try:
        broken = frame.with_columns((~rule).fill_null(value=False).alias("_broken"))["_broken"].arg_true()
    except POLARS_FAILS:
        return 0
    return int(broken[0]) if len(broken) else None


def request_check(model: Model) -> RequestCheck | None:
    """Return what the requests of a model are checked for; None where there is nothing, or they are all accepted."""
    source = model.label.source
    contract = source.contract
    if contract is None or contract.requests == "accept":
        return None
    fields = list(_fields(model.request, contract.fields))
    known = set(model.request)
    rules = {name: rule for name, rule in contract.where.items() if known.issuperset(rule.meta.root_names())}
    return RequestCheck(source.name, fields, rules) if fields or rules else None


def _fields(request: Sequence[str], expected: Mapping[str, Expect]) -> Iterator[tuple[int, str, str, Holds]]:
    for place, name in enumerate(request):
        expect = expected.get(name)
        if expect is None:
            continue
        required, words = expect.nulls == 0, expected_words(expect)
        if words or required:
            text = words or "a value"
            yield place, name, text if required else f"{text}, or null", _holds(expect, required=required)


def _holds(expect: Expect, *, required: bool) -> Holds:
    """Return a function that says whether a value is what is expected."""
    allowed = None if expect.allowed is None else frozenset(expect.allowed)
    low, high = _aware(expect.low), _aware(expect.high)

    def holds(value: Any) -> bool:
        if value is None:
            return not required
        if allowed is not None:
            return value in allowed
        if isinstance(value, datetime):
            value = _aware(value)
        return (low is None or value >= low) and (high is None or value <= high)

    return holds


def _aware(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


class BrokenRule(msgspec.Struct, frozen=True):
    """A rule that pushed rows break; `rows` are the places of the first of them."""

    rule: str
    column: str | None
    broken: int
    rows: list[int]
    message: str


class Quarantined(msgspec.Struct, frozen=True):
    """Why a push was refused, and where it is kept: `quarantine` is its id, or null when there was no room."""

    code: str
    message: str
    field: str | None
    quarantine: str | None
    violations: list[BrokenRule]


class EventsRefused(msgspec.Struct, frozen=True):
    """Why a push was refused whose rows break the contract of their source."""

    error: Quarantined


def events_refused(error: BatchBreaksContract) -> EventsRefused:
    """Return what the client is told of rows that were set aside."""
    first = error.violations[0]
    field = f"rows[{first.places[0]}]" + (f".{first.column}" if first.column else "")
    rules = [
        BrokenRule(_cut(each.rule), each.column, each.rows, list(each.places[:_SHOWN]), _cut(each.message))
        for each in error.violations
    ]
    return EventsRefused(Quarantined("quarantined", str(error), field, error.batch, rules))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
