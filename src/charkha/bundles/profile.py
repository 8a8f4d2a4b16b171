"""Profiles: small, additive statistics of features and scores, comparable between training and production.

A `ProfileShape` is learnt once, from rows that the model did not learn from: bins for numbers, categories for text, and
how numbers go together. A `Profile` counts rows in those bins, and those that do not go together. Profiles of one shape
add up: the profile of a day is the merge of its hours.
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from itertools import chain, islice, pairwise

import msgspec
import numpy as np
import polars as pl

from charkha.bundles.conditional import Conditional, learn_conditional
from charkha.bundles.edges import places_of, ruler_edges, tenth_edges
from charkha.bundles.encoding import most_frequent
from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray

MAX_CATEGORIES = 100


class ProfileMismatch(ValueError):
    """Profiles of different shapes, or rows that a shape cannot count; the message says what was expected."""


class NumericShape(msgspec.Struct, frozen=True):
    """How a number is counted: bin i holds edges[i - 1] < value <= edges[i]; the last bin is open, then null.

    tenths: the places of the edges that bound the tenths of the reference; beyond the first and the last of them the
    reference had nothing. None: all edges do. A profile has len(edges) + 2 counts: the bins, then null.
    """

    name: str
    edges: tuple[float, ...]
    tenths: tuple[int, ...] | None = None

    @property
    def bins(self) -> int:
        """How many counts there are, that of nulls among them."""
        return len(self.edges) + 2

    def by_tenths(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        """Return the counts of the tenths: what lies below them, each of them, what lies above, then null."""
        if self.tenths is None:
            return counts
        bounds = [0, *(place + 1 for place in self.tenths), len(self.edges) + 1]
        return (*(sum(counts[a:b]) for a, b in pairwise(bounds)), counts[-1])


class TextShape(msgspec.Struct, frozen=True):
    """How text is counted: one count per category, then all other categories together, then null."""

    name: str
    categories: tuple[str, ...]

    @property
    def bins(self) -> int:
        """How many counts there are, that of nulls among them."""
        return len(self.categories) + 2


class ProfileShape(msgspec.Struct, frozen=True, dict=True):
    """The bins of every feature and of the score, and how features go together; learnt by `learn_shape`."""

    numeric: tuple[NumericShape, ...]
    text: tuple[TextShape, ...]
    score: NumericShape
    conditional: Conditional | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A short digest of all this: profiles add up only when theirs are the same."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    @cached_property
    def parts(self) -> dict[str, NumericShape | TextShape]:
        """The shape of each feature, by full name."""
        numbers: dict[str, NumericShape | TextShape] = {part.name: part for part in self.numeric}
        return numbers | {part.name: part for part in self.text}

    @property
    def paired(self) -> tuple[str, ...]:
        """The numbers that are looked at beside the others."""
        return self.conditional.names if self.conditional else ()

    def by_tenths(self, name: str, counts: tuple[int, ...]) -> tuple[int, ...]:
        """Return the counts of a feature by its tenths; those of text as they are."""
        part = self.parts[name]
        return part.by_tenths(counts) if isinstance(part, NumericShape) else counts


class Profile(msgspec.Struct, frozen=True):
    """Counts of `rows` rows in the bins of the shape with this fingerprint.

    features: full name → counts, as `NumericShape` and `TextShape` say; of the rows whose features are known, which may
    be fewer. scores: likewise, of all rows. odd: of each number that was looked at beside the others, how many rows
    have it, and in how many of those it does not go with the others (see `Conditional`).
    """

    shape: str
    rows: int
    features: dict[str, tuple[int, ...]]
    scores: tuple[int, ...]
    odd: dict[str, tuple[int, int]] = {}


def learn_shape(frame: pl.DataFrame, scores: FloatArray) -> ProfileShape:
    """Learn from reference rows: rulers for numbers, the most frequent categories for text, how numbers go together.

    frame: one column per feature, and nothing else. scores: float64 (rows,).
    """
    text = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    numeric = [name for name in frame.columns if name not in text]
    shape = ProfileShape(
        tuple(_ruler(name, _numbers(frame.get_column(name))) for name in numeric),
        tuple(TextShape(name, most_frequent(frame.get_column(name), MAX_CATEGORIES)) for name in text),
        _ruler("score", scores),
    )
    widths = {name: part.bins for name, part in shape.parts.items()}
    together = learn_conditional(_codes(shape, frame), widths, numeric)
    return msgspec.structs.replace(shape, conditional=together)


def profile_of(shape: ProfileShape, frame: pl.DataFrame, scores: FloatArray) -> Profile:
    """Count rows in the bins of `shape`. NaN counts as null; other columns of the frame are ignored.

    frame: a column for every feature of the shape. scores: float64 (rows,). Raises ProfileMismatch.
    """
    return profiles_of(shape, frame, scores, np.zeros(frame.height, np.int64), 1)[0]


def profiles_of(
    shape: ProfileShape, frame: pl.DataFrame, scores: FloatArray, groups: IntArray, count: int
) -> list[Profile]:
    """Count the rows of many groups at once, as `profile_of` does each. groups: int64 (rows,), from 0 up."""
    _check_rows(shape, frame, scores)
    codes = _codes(shape, frame)
    features = {name: _by_group(code, shape.parts[name].bins, groups, count) for name, code in codes.items()}
    in_score = _by_group(_number_codes(shape.score.edges, scores), shape.score.bins, groups, count)
    odd: dict[str, list[tuple[int, int]]] = {}
    for name, is_odd in shape.conditional.odd(codes) if shape.conditional else ():
        known = codes[name] < shape.parts[name].bins - 1
        had, odd_ones = (np.bincount(groups[rows], minlength=count).tolist() for rows in (known, known & is_odd))
        odd[name] = list(zip(had, odd_ones, strict=True))
    rows = np.bincount(groups, minlength=count).tolist()
    return [
        Profile(
            shape.fingerprint,
            rows[group],
            {name: counts[group] for name, counts in features.items()},
            in_score[group],
            {name: counts[group] for name, counts in odd.items()},
        )
        for group in range(count)
    ]


def empty_profile(shape: ProfileShape) -> Profile:
    """Return the profile of no rows: merging it changes nothing."""
    return profile_of_scores(shape, np.empty(0))


def profile_of_scores(shape: ProfileShape, scores: FloatArray) -> Profile:
    """Return the profile of rows of which nothing but the scores is known. scores: float64 (rows,)."""
    counts = {name: (0,) * part.bins for name, part in shape.parts.items()}
    odd = dict.fromkeys(shape.paired, (0, 0))
    nobody = np.zeros(len(scores), np.int64)
    in_score = _by_group(_number_codes(shape.score.edges, scores), shape.score.bins, nobody, 1)[0]
    return Profile(shape.fingerprint, len(scores), counts, in_score, odd)


def merge(a: Profile, b: Profile) -> Profile:
    """Return the profile of the rows of both. Raises ProfileMismatch when their shapes differ."""
    if a.shape != b.shape:
        raise ProfileMismatch(
            f"expected two profiles of one shape, got shapes {a.shape} and {b.shape}. "
            "Every version has its own shape: merge the profiles of one version at a time."
        )
    features = {name: _add(counts, b.features[name]) for name, counts in a.features.items()}
    odd = {name: (had + b.odd[name][0], odd + b.odd[name][1]) for name, (had, odd) in a.odd.items()}
    return Profile(a.shape, a.rows + b.rows, features, _add(a.scores, b.scores), odd)


def packed(shape: ProfileShape, profile: Profile) -> bytes:
    """Return the counts of a profile, little-endian uint32, in the order of its shape: features, scores, odd."""
    features, odd = (profile.features[name] for name in shape.parts), (profile.odd[name] for name in shape.paired)
    return np.fromiter(chain.from_iterable([*features, profile.scores, *odd]), "<u4").tobytes()


def unpacked(shape: ProfileShape, rows: int, counts: bytes) -> Profile:
    """Return the profile of `packed` counts."""
    numbers = iter(np.frombuffer(counts, "<u4").tolist())
    features = {name: tuple(islice(numbers, part.bins)) for name, part in shape.parts.items()}
    scores = tuple(islice(numbers, shape.score.bins))
    odd = {name: (next(numbers), next(numbers)) for name in shape.paired}
    return Profile(shape.fingerprint, rows, features, scores, odd)


def _check_rows(shape: ProfileShape, frame: pl.DataFrame, scores: FloatArray) -> None:
    missing = shape.parts.keys() - set(frame.columns)
    if missing:
        raise ProfileMismatch(f"expected a column for every feature of the shape, found none for {sorted(missing)}")
    if scores.shape != (frame.height,):
        raise ProfileMismatch(f"expected a score for each of {frame.height} rows, got scores of shape {scores.shape}")


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _ruler(name: str, values: FloatArray) -> NumericShape:
    tenths = tenth_edges(values)
    edges = ruler_edges(values, tenths)
    return NumericShape(name, tuple(edges.tolist()), tuple(places_of(edges, tenths).tolist()))


def _numbers(values: pl.Series) -> FloatArray:
    return values.cast(pl.Float64).to_numpy()


def _codes(shape: ProfileShape, frame: pl.DataFrame) -> Mapping[str, IntArray]:
    """Return the bin of each row: full name → int64 (rows,)."""
    codes = {part.name: _number_codes(part.edges, _numbers(frame.get_column(part.name))) for part in shape.numeric}
    return codes | {part.name: _text_codes(part.categories, frame.get_column(part.name)) for part in shape.text}


def _number_codes(edges: tuple[float, ...], values: FloatArray) -> IntArray:
    codes = np.searchsorted(np.asarray(edges), values, side="left").astype(np.int64)
    codes[np.isnan(values)] = len(edges) + 1
    return codes


def _text_codes(categories: tuple[str, ...], values: pl.Series) -> IntArray:
    known = values.cast(pl.Enum(categories), strict=False).to_physical().cast(pl.Int64).fill_null(len(categories))
    codes = known.to_numpy().copy()
    codes[values.is_null().to_numpy()] = len(categories) + 1
    return codes


def _by_group(codes: IntArray, width: int, groups: IntArray, count: int) -> list[tuple[int, ...]]:
    counts = np.bincount(groups * width + codes, minlength=count * width).reshape(count, width)
    return list(map(tuple, counts.tolist()))
