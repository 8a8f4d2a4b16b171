"""The filters of windows (`where=`): Polars expressions over a row's own fields, each computed once for many rows.

A row for which a filter is false or null is left out by the windows that have it. So is one on which it fails, such as
a strict cast of strange text: one odd row must neither stop a push nor make every training impossible.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import polars as pl
from attrs import frozen

from charkha.features.evaluate import with_values
from charkha.features.events import Row
from charkha.features.expressions import expression_to_json
from charkha.spec.fields import TIME, polars_schema
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView


def filter_column(expression: pl.Expr) -> str:
    """Return under which name the values of a filter stand beside a source's fields: one name for equal filters."""
    text = expression_to_json(expression).encode()
    return f"_where_{hashlib.blake2b(text, digest_size=12).hexdigest()}"


def filters_of(views: Iterable[FeatureView]) -> dict[str, pl.Expr]:
    """Return every different filter of some views, under the name of its column."""
    measures = (window.measure for view in views for window in view.all_windows())
    return {filter_column(measure.where): measure.where for measure in measures if measure.where is not None}


def with_filters(rows: pl.DataFrame, views: Iterable[FeatureView]) -> pl.DataFrame:
    """Return rows with a boolean column for every filter of some views of their source that is not there yet."""
    missing = {name: where for name, where in filters_of(views).items() if name not in rows.columns}
    return rows.with_columns(filter_values(rows, where).alias(name) for name, where in missing.items())


def filter_values(rows: pl.DataFrame, where: pl.Expr, *, in_turn: bool = False) -> pl.Series:
    """Return for which rows a filter is true: as many as there are rows, none of them null. in_turn: for few rows."""
    kept = where.fill_null(value=False).alias("_kept")
    return with_values(rows, [kept], {"_kept": False}, in_turn=in_turn)["_kept"]


@frozen(eq=False)
class RowFilters:
    """The filters that views have of one source, for rows that are pushed.

    schema: the fields that they read, times as µs. places: where they stand in a row. filters: by their column's name.
    """

    fields: tuple[str, ...]
    schema: pl.Schema
    places: tuple[int, ...]
    filters: Mapping[str, pl.Expr]

    @classmethod
    def of(cls, source: Source, views: Iterable[FeatureView]) -> "RowFilters":
        """Return the filters of views whose rows have the source's fields."""
        filters, fields = filters_of(views), tuple(source.fields)
        read = {root for where in filters.values() for root in where.meta.root_names()}
        # Without columns a table has no rows.
        names = [name for name in fields if name in read] or list(fields[:1])
        schema = polars_schema({name: source.fields[name] for name in names})
        return cls(fields, schema, tuple(fields.index(name) for name in names), filters)

    @property
    def row_places(self) -> dict[str, int]:
        """Where each field, and behind the fields each filter, stands in a row of `applied`."""
        return {name: place for place, name in enumerate((*self.fields, *self.filters))}

    def applied(self, rows: Iterable[tuple[Row, bool]]) -> Iterable[tuple[Row, bool]]:
        """Return rows, each with whether it is its row's first version, with the filters' answers behind the fields."""
        if not self.filters:
            return rows
        kept = list(rows)
        answers = self._answers([row for row, _ in kept])
        return [((*row, *answer), first) for (row, first), answer in zip(kept, answers, strict=True)]

    def _answers(self, rows: Sequence[Row]) -> list[tuple[bool, ...]]:
        plain = pl.Schema({name: pl.Int64() if kind == TIME else kind for name, kind in self.schema.items()})
        values = [tuple(row[place] for place in self.places) for row in rows]
        frame = pl.DataFrame(values, schema=plain, orient="row").cast(self.schema)
        columns = [filter_values(frame, where, in_turn=True).to_list() for where in self.filters.values()]
        return list(zip(*columns, strict=True))
