"""Profiles: small, additive statistics of features and scores, comparable between training and production.

A `ProfileShape` is learnt once, from the rows a model was trained on: bins for numbers, categories for text. A
`Profile` counts rows in those bins. Profiles of one shape add up: the profile of a day is the merge of its hours.
"""

import hashlib
import math
from functools import cached_property

import msgspec
import numpy as np
import polars as pl

from charkha.bundles.encoding import most_frequent
from charkha.spec.model import FloatArray

BINS = 10
MAX_CATEGORIES = 100


class ProfileMismatch(ValueError):
    """Profiles of different shapes, or rows that a shape cannot count; the message says what was expected."""


class NumericShape(msgspec.Struct, frozen=True):
    """How a number is counted: bin i holds edges[i - 1] < value <= edges[i]; the last bin is open, then null.

    The first edge lies just below the smallest value of the reference and the last is its largest: the first and last
    bins count what the reference never had. A profile has len(edges) + 2 counts: the bins, then null.
    """

    name: str
    edges: tuple[float, ...]


class TextShape(msgspec.Struct, frozen=True):
    """How text is counted: one count per category, then all other categories together, then null."""

    name: str
    categories: tuple[str, ...]


class ProfileShape(msgspec.Struct, frozen=True, dict=True):
    """The bins of every feature and of the score; learnt by `learn_shape`."""

    numeric: tuple[NumericShape, ...]
    text: tuple[TextShape, ...]
    score: NumericShape

    @cached_property
    def fingerprint(self) -> str:
        """A short digest of the bins: profiles add up only when theirs are the same."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


class Profile(msgspec.Struct, frozen=True):
    """Counts of `rows` rows in the bins of the shape with this fingerprint.

    features: full name → counts, as `NumericShape` and `TextShape` say; of the rows whose features are known, which may
    be fewer. scores: likewise, of all rows.
    """

    shape: str
    rows: int
    features: dict[str, tuple[int, ...]]
    scores: tuple[int, ...]


def learn_shape(frame: pl.DataFrame, scores: FloatArray) -> ProfileShape:
    """Learn bins from reference rows: deciles for numbers, the most frequent categories for text.

    frame: one column per feature, and nothing else. scores: float64 (rows,).
    """
    text = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    numeric = [name for name in frame.columns if name not in text]
    return ProfileShape(
        tuple(NumericShape(name, _edges(_numbers(frame.get_column(name)))) for name in numeric),
        tuple(TextShape(name, most_frequent(frame.get_column(name), MAX_CATEGORIES)) for name in text),
        NumericShape("score", _edges(scores)),
    )


def profile_of(shape: ProfileShape, frame: pl.DataFrame, scores: FloatArray) -> Profile:
    """Count rows in the bins of `shape`. NaN counts as null; other columns of the frame are ignored.

    frame: a column for every feature of the shape. scores: float64 (rows,). Raises ProfileMismatch.
    """
    _check_rows(shape, frame, scores)
    counts = {part.name: _count_numbers(part.edges, _numbers(frame.get_column(part.name))) for part in shape.numeric}
    counts |= {part.name: _count_text(part.categories, frame.get_column(part.name)) for part in shape.text}
    return Profile(shape.fingerprint, frame.height, counts, _count_numbers(shape.score.edges, scores))


def empty_profile(shape: ProfileShape) -> Profile:
    """Return the profile of no rows: merging it changes nothing."""
    return profile_of_scores(shape, np.empty(0))


def profile_of_scores(shape: ProfileShape, scores: FloatArray) -> Profile:
    """Return the profile of rows of which nothing but the scores is known. scores: float64 (rows,)."""
    counts = {part.name: (0,) * (len(part.edges) + 2) for part in shape.numeric}
    counts |= {part.name: (0,) * (len(part.categories) + 2) for part in shape.text}
    return Profile(shape.fingerprint, len(scores), counts, _count_numbers(shape.score.edges, scores))


def merge(a: Profile, b: Profile) -> Profile:
    """Return the profile of the rows of both. Raises ProfileMismatch when their shapes differ."""
    if a.shape != b.shape:
        raise ProfileMismatch(
            f"expected two profiles of one shape, got shapes {a.shape} and {b.shape}. "
            "Every version has its own shape: merge the profiles of one version at a time."
        )
    features = {name: _add(counts, b.features[name]) for name, counts in a.features.items()}
    return Profile(a.shape, a.rows + b.rows, features, _add(a.scores, b.scores))


def _check_rows(shape: ProfileShape, frame: pl.DataFrame, scores: FloatArray) -> None:
    missing = ({part.name for part in shape.numeric} | {part.name for part in shape.text}) - set(frame.columns)
    if missing:
        raise ProfileMismatch(f"expected a column for every feature of the shape, found none for {sorted(missing)}")
    if scores.shape != (frame.height,):
        raise ProfileMismatch(f"expected a score for each of {frame.height} rows, got scores of shape {scores.shape}")


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _numbers(values: pl.Series) -> FloatArray:
    return values.cast(pl.Float64).to_numpy()


def _edges(values: FloatArray) -> tuple[float, ...]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return ()
    deciles = np.quantile(finite, np.linspace(0.0, 1.0, BINS + 1)[1:], method="lower")
    below = math.nextafter(finite.min(), -math.inf)
    edges = np.unique(np.concatenate([[below], deciles, [finite.max()]]))
    return tuple(edges[np.isfinite(edges)].tolist())


def _count_numbers(edges: tuple[float, ...], values: FloatArray) -> tuple[int, ...]:
    nulls = np.isnan(values)
    bins = np.searchsorted(np.asarray(edges), values, side="left")
    bins[nulls] = len(edges) + 1
    return tuple(np.bincount(bins, minlength=len(edges) + 2).tolist())


def _count_text(categories: tuple[str, ...], values: pl.Series) -> tuple[int, ...]:
    codes = values.cast(pl.Enum(categories), strict=False).to_physical().drop_nulls().to_numpy()
    counts = np.bincount(codes, minlength=len(categories)).tolist()
    nulls = values.null_count()
    return (*counts, values.len() - nulls - len(codes), nulls)
