"""What a row of a file asks, and what is wrong with it: held to what a request is held to, a column at a time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.contracts import NEVER_NULL, expected_words, said, unexpected
from charkha.features.conversions import Conversion, conversion, nothing
from charkha.features.evaluate import with_values
from charkha.features.numbers import finite
from charkha.serving.bulk.files import RowFiles, ScoringRefused
from charkha.serving.schemas import LONGEST_TEXT
from charkha.spec.contracts import Contract
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.model import Model
from charkha.spec.sources import Source

# Row → what is wrong with it, in words.
Problems = Mapping[int, str]


@frozen(eq=False)
class Check:
    """Something that a value must be. field: whose, or None for a rule over several. raw: it is of what was read."""

    field: str | None
    words: str
    broken: pl.Expr
    raw: bool = False

    def problem(self, value: object) -> str:
        """Return what to say of a row that is not so."""
        if self.field is None:
            return f"expected {self.words}, got values that are not so"
        return f"field {self.field!r}: expected {self.words}, got {said(value)}"


@frozen(eq=False)
class RowReader:
    """How the columns of files become requests. typed: the request's fields and the time, by name."""

    typed: Mapping[str, pl.Expr]
    checks: Sequence[Check]

    @classmethod
    def of(cls, model: Model, files: RowFiles, at: str | None) -> "RowReader":
        """Return the reader of files. at: the column with the time, if there is one. Raises ScoringRefused."""
        fields: dict[str, FieldType] = {**model.request_fields, **({at: datetime} if at else {})}
        ways = _conversions(fields, files)
        own = {name for name, kind in fields.items() if files.schema[name] == POLARS_TYPES[kind]}  # taken as they are
        checks = [Check(name, way.wanted, way.odd, raw=True) for name, way in ways.items() if way and name not in own]
        checks += _text_checks(fields)
        contract = model.label.source.contract
        if contract is not None and contract.requests == "refuse":
            checks += _contract_checks(contract, model.request)
        if at:
            checks.append(Check(at, "the time of each row", pl.col(at).is_null()))
        return cls({name: _typed(kind, name, ways[name]) for name, kind in fields.items()}, checks)

    def read(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, Problems]:
        """Return rows with their fields as requests have them, all other columns as they are; and the bad ones."""
        rows = raw.with_columns(**self.typed)
        problems: dict[int, str] = {}
        for of, checks in ((raw, [c for c in self.checks if c.raw]), (rows, [c for c in self.checks if not c.raw])):
            for check, broken in _broken(of, checks):
                for row in broken.arg_true().to_list():
                    value = of[check.field][row] if check.field else None
                    problems.setdefault(row, check.problem(value))
        return rows, problems


def _conversions(fields: Mapping[str, FieldType], files: RowFiles) -> dict[str, Conversion | None]:
    """Return how each field comes of its column; None for a column without any value."""
    missing = [name for name in fields if name not in files.schema]
    if missing:
        raise ScoringRefused(
            f"expected the columns {list(fields)}, {missing} are not among {files.schema.names()}. Add them to the "
            "input"
        )
    source = Source("input", dict(fields), files.declared)
    ways = {name: conversion(source, name, files.schema[name]) for name in fields}
    faults = [
        f"{name!r}: expected {fields[name].__name__}, got {files.schema[name]}"
        for name, way in ways.items()
        if way is None and _has_a_value(files, name)
    ]
    if faults:
        raise ScoringRefused(f"the columns cannot be a request's: {'; '.join(faults)}. Mend the input's columns")
    return ways


def _has_a_value(files: RowFiles, name: str) -> bool:
    there = files.frame.select(name).filter(pl.col(name).is_not_null()).head(1)
    return not there.collect(engine="streaming").is_empty()


def _typed(kind: FieldType, name: str, way: Conversion | None) -> pl.Expr:
    values = way.loose if way else nothing(name, kind)
    return finite(values) if kind is float else values


def _text_checks(fields: Mapping[str, FieldType]) -> Iterator[Check]:
    for name, kind in fields.items():
        if kind is str:
            yield Check(name, f"text of at most {LONGEST_TEXT} characters", pl.col(name).str.len_chars() > LONGEST_TEXT)
            yield Check(name, "text without NUL characters", pl.col(name).str.contains("\0", literal=True))


def _contract_checks(contract: Contract, request: Sequence[str]) -> Iterator[Check]:
    """Yield what `RequestCheck` looks at, in its order."""
    for name in request:
        expect = contract.fields.get(name)
        if expect is None:
            continue
        required, words, column = expect.nulls == 0, expected_words(expect), pl.col(name)
        if required:
            yield Check(name, NEVER_NULL, column.is_null())
        if words:
            yield Check(name, words if required else f"{words}, or null", unexpected(column, expect))
    for name, rule in contract.where.items():
        if set(request).issuperset(rule.meta.root_names()):
            yield Check(None, name, ~rule)


def _broken(rows: pl.DataFrame, checks: Sequence[Check]) -> Iterator[tuple[Check, pl.Series]]:
    """Yield the checks that some rows break, and which: those too of which one cannot be computed."""
    if not checks or rows.is_empty():
        return
    names = [f"_check {number}" for number in range(len(checks))]
    masks = [check.broken.fill_null(value=False).alias(name) for check, name in zip(checks, names, strict=True)]
    found = with_values(rows, masks, dict.fromkeys(names, True))
    for check, name in zip(checks, names, strict=True):
        if found[name].any():
            yield check, found[name]


def without(rows: pl.DataFrame, problems: Problems) -> pl.DataFrame:
    """Return the rows that have no problem."""
    return rows.filter(pl.Series(_good(rows.height, problems))) if problems else rows


def spread(answers: pl.DataFrame, height: int, problems: Problems) -> pl.DataFrame:
    """Return the answers of the rows without a problem in the places of all rows, null elsewhere."""
    if not problems:
        return answers
    good = _good(height, problems)
    places = pl.Series(np.where(good, np.cumsum(good) - 1, 0)).set(pl.Series(~good), None)
    return pl.DataFrame([column.gather(places) for column in answers])


def _good(height: int, problems: Problems) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    good = np.ones(height, np.bool_)
    good[list(problems)] = False
    return good
