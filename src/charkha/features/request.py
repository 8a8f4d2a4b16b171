"""Request features: expressions over the request and the fetched features, arranged once, run on one row or many."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import isnan
from typing import Any

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.evaluate import OnFailure, Plain, of_one, unheard, with_values
from charkha.features.latest import Column
from charkha.features.numbers import finite
from charkha.features.plan import FeaturePlan
from charkha.features.quick import column_of, quick, values_of
from charkha.features.quick_nodes import Evaluate, Values
from charkha.spec.fields import POLARS_TYPES, TIME

# One value per request, under the name of each field or feature: what a small batch is until something needs a table.
Columns = Mapping[str, Column]


@frozen(eq=False)
class Program:
    """The expressions of a plan, arranged.

    copies: features that are a field or another feature as it is. layers: the others, each layer using only what came
    before it. inputs: the columns from outside that the layers read. computed: what they give. All with their types.
    quick: those of `computed` that NumPy evaluates in a small batch, reading only each other and `inputs`; rest,
    rest_inputs: the layers of the others, and what these read. at: the column that is always there, the time.
    defaults: by name, what stands where an expression fails on a row.
    """

    copies: Mapping[str, str]
    layers: tuple[list[pl.Expr], ...]
    inputs: pl.Schema
    computed: pl.Schema
    quick: Mapping[str, Evaluate]
    rest: tuple[list[pl.Expr], ...]
    rest_inputs: pl.Schema
    at: str
    defaults: Mapping[str, Plain]


@lru_cache(maxsize=256)
def program_of(plan: FeaturePlan) -> Program:
    """Return the arranged expressions of a plan."""
    copies: dict[str, str] = {}
    computed: dict[str, pl.Expr] = {}
    for name, expression in plan.expressions.items():
        if expression.meta.is_column():
            root = expression.meta.root_names()[0]
            if root not in computed:
                copies[name] = copies.get(root, root)
                continue
        computed[name] = expression
    used = {root for expression in computed.values() for root in expression.meta.root_names()} - computed.keys()
    types = _column_types(plan)
    # The time is always there: it gives the rows to an expression that reads nothing.
    inputs = pl.Schema({name: types[copies.get(name, name)] for name in sorted(used | {plan.at})})
    return arranged(copies, computed, inputs, plan.at, plan.defaults)


def program_after(
    plan: FeaturePlan, expressions: Mapping[str, pl.Expr], later: pl.Schema, defaults: Mapping[str, Plain]
) -> Program:
    """Return expressions arranged that read a plan's columns, and others that come later than these: `later`."""
    types = {**types_of(plan), **later}
    used = {root for expression in expressions.values() for root in expression.meta.root_names()}
    inputs = pl.Schema({name: types[name] for name in sorted(used | {plan.at})})
    return arranged({}, expressions, inputs, plan.at, defaults)


def arranged(
    copies: Mapping[str, str],
    computed: Mapping[str, pl.Expr],
    inputs: pl.Schema,
    at: str,
    defaults: Mapping[str, Plain],
) -> Program:
    """Return expressions arranged, each after those it uses; `Program` says what the arguments are."""
    outputs = _types_of(computed, inputs)
    found = pl.Schema({name: outputs[name] for name in computed})
    floats = {name: finite(each) for name, each in computed.items() if outputs[name].is_float()}
    layers = tuple(expression_layers({**computed, **floats}))
    quickly = _quick_of(computed, inputs, found)
    rest = {name: floats.get(name, each) for name, each in computed.items() if name not in quickly}
    roots = {root for expression in rest.values() for root in expression.meta.root_names()} - rest.keys()
    rest_inputs = pl.Schema({name: {**inputs, **found}[name] for name in sorted(roots | {at})})
    return Program(
        copies, layers, inputs, found, quickly, tuple(expression_layers(rest)), rest_inputs, at=at, defaults=defaults
    )


def _quick_of(computed: Mapping[str, pl.Expr], inputs: pl.Schema, outputs: pl.Schema) -> dict[str, Evaluate]:
    """Return what evaluates the expressions that need nothing but each other and the inputs, of those that can be."""
    found: dict[str, Evaluate] = {}
    for name, expression in computed.items():
        known = {**inputs, **{other: outputs[other] for other in found}}
        if set(expression.meta.root_names()) <= known.keys():
            evaluate = quick(expression, known, outputs[name])
            if evaluate is not None:
                found[name] = evaluate
    return found


def _types_of(expressions: Mapping[str, pl.Expr], inputs: pl.Schema) -> pl.Schema:
    table = pl.LazyFrame(schema=inputs)
    for layer in expression_layers(expressions):
        table = table.with_columns(layer)
    return table.collect_schema()


def expression_layers(expressions: Mapping[str, pl.Expr]) -> Iterator[list[pl.Expr]]:
    """Yield the expressions in as few steps as their use of each other allows, each under its name."""
    layer: dict[str, pl.Expr] = {}
    for name, expression in expressions.items():
        if layer.keys() & set(expression.meta.root_names()):
            yield list(layer.values())
            layer = {}
        layer[name] = expression.alias(name)
    if layer:
        yield list(layer.values())


def with_request_features(plan: FeaturePlan, frame: pl.DataFrame, on_failure: OnFailure = unheard) -> pl.DataFrame:
    """Return the columns `plan.names`, given a table of the request's fields, the time and the views' features.

    Rows on which an expression fails get its default, or null; on_failure is told.
    """
    program = program_of(plan)
    frame = frame.with_columns(pl.col(source).alias(name) for name, source in program.copies.items())
    for layer in program.layers:
        frame = with_values(frame, layer, plan.defaults, on_failure)
    return frame.select(plan.names)


def request_columns(plan: FeaturePlan, columns: dict[str, Column], on_failure: OnFailure = unheard) -> Columns:
    """Return the same for a small batch: the columns given, and every request feature."""
    program = program_of(plan)
    for name, source in program.copies.items():
        columns[name] = columns[source]
    return computed_columns(program, columns, on_failure)


def computed_columns(program: Program, columns: dict[str, Column], on_failure: OnFailure = unheard) -> Columns:
    """Return the columns given, and what a program computes of them."""
    if program.quick:
        _evaluate_quickly(program, columns)
    if program.rest:
        count = len(columns[program.at])
        if count == 1:
            on_failure = of_one(on_failure)
        frame = _table(columns, program.rest_inputs, times=2 if count == 1 else 1)
        for layer in program.rest:
            # In turn: the query engine's threads would cost more than the work.
            frame = with_values(frame, layer, program.defaults, on_failure, in_turn=True)
        for name in (each.meta.output_name() for layer in program.rest for each in layer):
            columns[name] = frame.get_column(name).to_list()[:count]
    return columns


def _evaluate_quickly(program: Program, columns: dict[str, Column]) -> None:
    values = _Converted(columns, program)
    with np.errstate(all="ignore"):
        for name, evaluate in program.quick.items():
            columns[name] = column_of(evaluate(values), program.computed[name])


class _Converted(dict[str, Values]):
    """The columns as values, each converted when it is first read."""

    def __init__(self, columns: Columns, program: Program) -> None:
        self._columns, self._program = columns, program

    def __missing__(self, name: str) -> Values:
        kind = self._program.inputs.get(name) or self._program.computed[name]
        found = self[name] = values_of(self._columns[name], kind)
        return found


def frame_of(plan: FeaturePlan, columns: Columns) -> pl.DataFrame:
    """Return features as a table: columns `plan.names`, of the types the offline path gives them."""
    types = types_of(plan)
    return _table(columns, pl.Schema({name: types[name] for name in plan.names}))


def types_of(plan: FeaturePlan) -> Mapping[str, pl.DataType]:
    """Return the type of every column of a plan: fields, the time, and all features."""
    program = program_of(plan)
    types = {**_column_types(plan), **program.computed}
    return {**types, **{name: types[source] for name, source in program.copies.items()}}


def _table(columns: Columns, schema: pl.Schema, times: int = 1) -> pl.DataFrame:
    """Return columns as a table; times may be µs. times: how often each row; `evaluate` says why a single one twice."""
    values = (_values(columns[name], kind) for name, kind in schema.items())
    rows = list(zip(*values, strict=True))  # by rows: one call, not one a column
    return pl.DataFrame(rows * times, schema=schema, orient="row")


def _values(column: Column, kind: pl.DataType) -> Sequence[Any]:
    """Return a column as a list with None for null."""
    if not isinstance(column, np.ndarray):
        return column
    plain = int if kind == pl.Int64() else float
    return [None if isnan(value) else plain(value) for value in column.tolist()]


@lru_cache(maxsize=256)
def _column_types(plan: FeaturePlan) -> Mapping[str, pl.DataType]:
    """Return the type of every column that expressions can read from outside."""
    types: dict[str, pl.DataType] = {name: POLARS_TYPES[kind] for name, kind in plan.request.items()}
    types[plan.at] = TIME
    for view in plan.views:
        types |= {f"{view.name}.{name}": pl.Float64() for name in view.window_features()}
        types |= {f"{view.name}.{column}": POLARS_TYPES[view.source.fields[column]] for column in view.latest}
    return types
