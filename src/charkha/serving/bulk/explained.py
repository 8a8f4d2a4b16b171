"""The reasons of many rows as one column: what `serving.reasons` says of each, made for all of a block at once."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.bundle import Bundle
from charkha.serving.reasons import strongest, texts_of
from charkha.spec.model import FloatArray

REASONS = "reasons"
# Of a feature that is a number its value, of one that is text its category.
REASON = pl.Struct(
    {
        "feature": pl.String(),
        "value": pl.Float64(),
        "category": pl.String(),
        "contribution": pl.Float64(),
        "text": pl.String(),
    }
)


@frozen(eq=False)
class Explain:
    """How many reasons of a row are asked for, and the definition's texts: by a feature's full name, or a view's."""

    most: int
    texts: Mapping[str, str]

    def reasons(self, bundle: Bundle, matrix: FloatArray, text: Sequence[Sequence[str | None]]) -> pl.Series:
        """Return the reasons of each row, the strongest first: a list of REASON.

        matrix: float64 (rows, columns). text: the values of each categorical column. Raises NotExplainable.
        """
        if not len(matrix):
            return pl.Series(REASONS, [], dtype=pl.List(REASON))
        parts, places = strongest(bundle, matrix, self.most)
        added = np.take_along_axis(parts, places, axis=1)
        rows, ranks = np.nonzero(added)
        at = places[rows, ranks]
        schema = bundle.manifest.schema
        values, categories = matrix[rows, at], np.full(len(rows), None, dtype=object)
        for place, column in zip(schema.categorical, text, strict=True):
            here = at == place
            values[here] = np.nan
            categories[here] = np.array(column, dtype=object)[rows[here]]
        each = pl.DataFrame(
            {
                "feature": _named(list(schema.names), at),
                "value": pl.Series(values).set(pl.Series(~np.isfinite(values)), None),
                "category": pl.Series(categories.tolist(), dtype=pl.String),
                "contribution": added[rows, ranks],
                "text": _named(texts_of(bundle, self.texts), at),
            },
            schema=dict(REASON),
        ).to_struct()
        return _as_lists(each, np.bincount(rows, minlength=len(matrix)))


def _named(names: Sequence[str | None], at: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> pl.Series:
    return pl.Series(names, dtype=pl.String).gather(at)


def _as_lists(each: pl.Series, counts: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> pl.Series:
    """Return values in a row as lists, of so many each."""
    row = pl.Series(np.repeat(np.arange(len(counts)), counts), dtype=pl.Int64)
    grouped = pl.DataFrame({"row": row, REASONS: each}).group_by("row", maintain_order=True).agg(REASONS)
    every = pl.DataFrame({"row": pl.Series(np.arange(len(counts)), dtype=pl.Int64)})
    found = every.join(grouped, on="row", how="left", maintain_order="left")[REASONS]
    return found.fill_null(pl.Series([[]], dtype=pl.List(REASON)))
