"""What in rows breaks a contract, as data: one pure function for a batch, one for a source as a whole."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import polars as pl
from attrs import evolve, field, frozen

from charkha.clock import to_iso, to_micros
from charkha.features.evaluate import Failure, with_values
from charkha.spec.contracts import Bound, Contract, Expect
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.failures import POLARS_FAILS
from charkha.spec.fields import TIME
from charkha.spec.sources import Source

Kind = Literal["range", "allowed", "nulls", "where", "unique", "max_age", "rows_per_day"]
# So many offending rows are shown of each rule.
SHOWN = 5
_LISTED = 8


@frozen
class Violation:
    """A rule that rows break.

    column: the field, or None for a rule over several. rule: it in words, such as "distance from 0 to 6000".
    rows: how many break it, of `of`. places: where the first of them stand in the batch. examples: those rows.
    """

    kind: Kind
    column: str | None
    rule: str
    rows: int
    of: int
    places: tuple[int, ...] = ()
    examples: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    found: str = ""

    @property
    def share(self) -> float:
        """The share of the rows that break it."""
        return self.rows / self.of if self.of else 0.0

    @property
    def message(self) -> str:
        """It in one sentence."""
        if self.kind in ("max_age", "rows_per_day"):
            return f"expected {self.rule}, got {self.found}"
        return f"expected {self.rule}, got {self.rows:,} of {self.of:,} rows that are not so, such as {self.found}"


@frozen(eq=False)
class _Rule:
    """One rule as an expression that is true where a row breaks it. most: the share of rows that may."""

    kind: Kind
    column: str | None
    words: str
    breaks: pl.Expr
    most: float = 0.0


def violations(rows: pl.DataFrame, source: Source, *, shares: bool = True) -> list[Violation]:
    """Return the rules of a source's contract that a batch breaks; none for a source without a contract.

    rows: the source's fields. shares: also judge shares of nulls, for which a batch must be large, such as a file.
    """
    contract = source.contract
    if contract is None or rows.is_empty():
        return []
    rules = [rule for rule in _rules(contract, source) if shares or not rule.most]
    if not rules:
        return []
    try:
        return list(_broken(rules, rows))
    except POLARS_FAILS:
        return [found for rule in rules for found in _alone(rule, rows)]


@frozen
class Volume:
    """How many rows of a source were known at a time (µs), of them before and on the last whole day; and the newest."""

    as_of_us: int
    rows: int
    before: int
    last_day: int
    newest_us: int | None

    @classmethod
    def of(cls, known_us: Iterable[pl.Series], as_of_us: int) -> "Volume":
        """Count rows. known_us: when they became known, in pieces; null for never."""
        until_us = as_of_us // DAY_US * DAY_US
        rows = before = last_day = 0
        newest: list[int] = []
        for some in known_us:
            known = some.filter(some <= as_of_us)
            rows += len(known)
            before += int((known < until_us - DAY_US).sum())
            last_day += int(known.is_between(until_us - DAY_US, until_us, closed="left").sum())
            newest += known.top_k(1).to_list()
        return cls(as_of_us, rows, before, last_day, max(newest, default=None))


def source_violations(volume: Volume, source: Source) -> list[Violation]:
    """Return what a source breaks as a whole: no new rows, or too few or too many on the last whole day.

    A source without a row breaks `max_age`; its volume is judged from the first whole day on that it has rows before.
    """
    contract = source.contract
    return [] if contract is None else [*_age(volume, contract), *_rows_per_day(volume, contract)]


# What a field is expected to have that may not be null.
NEVER_NULL = "a value in every row (nulls=0)"


def expected_words(expect: Expect) -> str:
    """Return the values that a field may have in words, such as "from 0 to 6000"; nothing for any value."""
    if expect.allowed is not None:
        values = [repr(value) for value in expect.allowed]
        more = f", … ({len(values)} in all)" if len(values) > _LISTED else ""
        return f"one of {', '.join(values[:_LISTED])}{more}"
    if expect.low is not None and expect.high is not None:
        return f"from {_text(expect.low)} to {_text(expect.high)}"
    if expect.low is not None:
        return f"at least {_text(expect.low)}"
    return "" if expect.high is None else f"at most {_text(expect.high)}"


def unexpected(column: pl.Expr, expect: Expect) -> pl.Expr:
    """Return where a value is none that is expected; null where there is none, or any is."""
    return ~column.is_in(list(expect.allowed)) if expect.allowed is not None else _outside(column, expect)


def _rules(contract: Contract, source: Source) -> Iterator[_Rule]:
    for name, expect in contract.fields.items():
        column, words = pl.col(name), expected_words(expect)
        if words:
            kind: Kind = "range" if expect.allowed is None else "allowed"
            yield _Rule(kind, name, f"{name} {words}", unexpected(column, expect))
        if expect.nulls is not None:
            words = f"{name} in every row" if not expect.nulls else f"{name} in all but {expect.nulls:.2%} of the rows"
            yield _Rule("nulls", name, words, column.is_null(), expect.nulls)
    for name, expression in contract.where.items():
        yield _Rule("where", None, name, ~expression)
    if contract.unique:
        yield _Rule("unique", None, f"each key ({', '.join(source.key)}) once", pl.struct(source.key).is_duplicated())


def _broken(rules: Sequence[_Rule], rows: pl.DataFrame) -> Iterator[Violation]:
    """Yield what rows break of rules, which are all computed in one go."""
    names = [str(place) for place in range(len(rules))]
    breaks = [rule.breaks.fill_null(value=False).alias(name) for rule, name in zip(rules, names, strict=True)]
    broken = rows.with_columns(breaks).select(names)
    for rule, name, count in zip(rules, names, broken.sum().row(0), strict=True):
        if count > rule.most * rows.height:
            yield _violation(rule, rows, broken[name], count)


def _alone(rule: _Rule, rows: pl.DataFrame) -> Iterator[Violation]:
    """Yield what rows break of one rule; it is broken by those of which it cannot be computed."""
    breaks, failures = [rule.breaks.cast(pl.Boolean).alias("0")], list[Failure]()
    try:
        broken = with_values(rows, breaks, {"0": True}, failures.append)["0"]
        failing = broken.ne_missing(with_values(rows, breaks, {"0": False})["0"])
    except POLARS_FAILS as error:  # wrong with every row
        broken = failing = pl.Series([True]).new_from_index(0, rows.height)
        failures.append(Failure("0", rows.height, rows.height, str(error).partition("\n")[0]))
    broken = broken.fill_null(value=False)
    count = int(broken.sum())
    if count > rule.most * rows.height:
        found = _violation(rule, rows, broken, count)
        if failing[found.places[0]]:
            found = evolve(found, found=f"row {found.places[0]}, for it cannot be computed: {failures[0].reason}")
        yield found


def _outside(column: pl.Expr, expect: Expect) -> pl.Expr:
    low = pl.lit(value=False) if expect.low is None else column < _literal(expect.low)
    return low if expect.high is None else low | (column > _literal(expect.high))


def _literal(bound: Bound) -> pl.Expr:
    return pl.lit(to_micros(bound)).cast(TIME) if isinstance(bound, datetime) else pl.lit(bound)


def _text(bound: Bound) -> str:
    return to_iso(to_micros(bound)) if isinstance(bound, datetime) else str(bound)


def _violation(rule: _Rule, rows: pl.DataFrame, broken: pl.Series, count: int) -> Violation:
    places = broken.arg_true().head(SHOWN).to_list()
    examples = rows[places].to_dicts()
    found = _example(rule, places[0], examples[0])
    return Violation(rule.kind, rule.column, rule.words, count, rows.height, tuple(places), tuple(examples), found)


def _example(rule: _Rule, place: int, row: Mapping[str, Any]) -> str:
    if rule.column is None:
        return f"row {place}"
    return f"{said(row[rule.column])} in row {place}"


def said(value: object) -> str:
    """Return a value of a row as it stands in a message."""
    if value is None:
        return "null"
    text = to_iso(to_micros(value)) if isinstance(value, datetime) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _age(volume: Volume, contract: Contract) -> Iterator[Violation]:
    if contract.max_age_us is None:
        return
    age_us = None if volume.newest_us is None else volume.as_of_us - volume.newest_us
    if age_us is None or age_us > contract.max_age_us:
        found = "no row" if age_us is None else f"the newest {_age_words(age_us)} ago"
        yield Violation("max_age", None, f"a new row within {contract.max_age}", 0, volume.rows, found=found)


def _age_words(age_us: int) -> str:
    return f"{age_us / DAY_US:.1f} days" if age_us >= 2 * DAY_US else f"{age_us / HOUR_US:.1f} hours"


def _rows_per_day(volume: Volume, contract: Contract) -> Iterator[Violation]:
    """Judge the last whole day: those before it cannot be mended, and would be told of for ever."""
    if contract.rows_per_day is None or not volume.before:
        return
    fewest, most = contract.rows_per_day
    if not fewest <= volume.last_day <= most:
        day = to_iso((volume.as_of_us // DAY_US - 1) * DAY_US)[:10]
        found = f"{volume.last_day:,} on {day}"
        yield Violation(
            "rows_per_day", None, f"{fewest:,} to {most:,} rows a day", volume.last_day, volume.rows, found=found
        )
