"""Profiles: small, additive statistics of features and scores, comparable between training and production.

A `ProfileShape` is learnt once, from rows that the model did not learn from: bins for numbers, categories for text, and
how numbers go together. A `Profile` counts rows in those bins, and those that do not go together. Profiles of one shape
add up: the profile of a day is the merge of its hours.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise

import msgspec
import numpy as np
import polars as pl
from attrs import frozen

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

    @cached_property
    def starts(self) -> dict[str, int]:
        """Where the bins of each feature begin, when all are numbered through: first the features, then the score."""
        widths = [part.bins for part in self.parts.values()]
        return dict(zip(self.parts, accumulate(widths, initial=0), strict=False))

    @cached_property
    def score_start(self) -> int:
        """Where the bins of the score begin."""
        return sum(part.bins for part in self.parts.values())

    @cached_property
    def odd_start(self) -> int:
        """Where the counts begin of the numbers that are looked at beside the others, three each."""
        return self.score_start + self.score.bins

    @cached_property
    def width(self) -> int:
        """How many bins there are in all."""
        return self.odd_start + 3 * len(self.paired)

    def by_tenths(self, name: str, counts: tuple[int, ...]) -> tuple[int, ...]:
        """Return the counts of a feature by its tenths; those of text as they are."""
        part = self.parts[name]
        return part.by_tenths(counts) if isinstance(part, NumericShape) else counts


class Profile(msgspec.Struct, frozen=True):
    """Counts of `rows` rows in the bins of the shape with this fingerprint.

    features: full name → counts, as `NumericShape` and `TextShape` say; of the rows whose features are known, which may
    be fewer. scores: likewise, of all rows. odd: of each number that was looked at beside the others, how many rows
    have it, in how many of those it does not go with the others, and in how many it is on the side that they say (see
    `Conditional`).
    """

    shape: str
    rows: int
    features: dict[str, tuple[int, ...]]
    scores: tuple[int, ...]
    odd: dict[str, tuple[int, int, int]] = {}


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
    found = tally(shape, frame, scores, np.zeros(frame.height, np.int64), 1)
    return profile_from(shape, frame.height, found.dense(shape.width)[0])


def empty_profile(shape: ProfileShape) -> Profile:
    """Return the profile of no rows: merging it changes nothing."""
    return profile_from(shape, 0, np.zeros(shape.width, np.int64))


def profile_from(shape: ProfileShape, rows: int, counts: IntArray) -> Profile:
    """Return the profile of counts in the order of `tally`: int64 (shape.width,)."""
    numbers = counts.tolist()
    features = {name: tuple(numbers[start : start + shape.parts[name].bins]) for name, start in shape.starts.items()}
    odd = iter(numbers[shape.odd_start :])
    return Profile(
        shape.fingerprint,
        rows,
        features,
        tuple(numbers[shape.score_start : shape.odd_start]),
        {name: (next(odd), next(odd), next(odd)) for name in shape.paired},
    )


@frozen(eq=False)
class Tally:
    """How many rows of each group lie in each bin, where any do: int64 (k,) each.

    Bins are numbered through: those of the features in the order of the shape, those of the score, and of each number
    that is looked at beside the others the three counts of `Profile.odd`.
    """

    groups: IntArray
    bins: IntArray
    counts: IntArray

    def dense(self, width: int, groups: int = 1) -> IntArray:
        """Return the counts of all bins: int64 (groups, width)."""
        counts = np.zeros((groups, width), np.int64)
        counts[self.groups, self.bins] = self.counts
        return counts


def tally(shape: ProfileShape, frame: pl.DataFrame, scores: FloatArray, groups: IntArray, count: int) -> Tally:
    """Count the rows of many groups at once. groups: int64 (rows,), from 0 to `count` - 1. Raises ProfileMismatch."""
    _check_rows(shape, frame, scores)
    codes = _codes(shape, frame)
    parts = [_counted(code, shape.starts[name], shape.parts[name].bins, groups, count) for name, code in codes.items()]
    parts.append(_counted(_number_codes(shape.score.edges, scores), shape.score_start, shape.score.bins, groups, count))
    for place, (name, is_odd, agrees) in enumerate(shape.conditional.judged(codes) if shape.conditional else ()):
        known = codes[name] < shape.parts[name].bins - 1
        for offset, chosen in enumerate((known, known & is_odd, known & agrees)):
            start = shape.odd_start + 3 * place + offset
            parts.append(_counted(np.zeros(int(chosen.sum()), np.int64), start, 1, groups[chosen], count))
    return _joined(parts)


def tally_scores(shape: ProfileShape, scores: FloatArray, groups: IntArray, count: int) -> Tally:
    """Count rows of which nothing but the scores is known, as `tally` does. scores: float64 (rows,)."""
    return _joined(
        [_counted(_number_codes(shape.score.edges, scores), shape.score_start, shape.score.bins, groups, count)]
    )


def merge(a: Profile, b: Profile) -> Profile:
    """Return the profile of the rows of both. Raises ProfileMismatch when their shapes differ."""
    if a.shape != b.shape:
        raise ProfileMismatch(
            f"expected two profiles of one shape, got shapes {a.shape} and {b.shape}. "
            "Every version has its own shape: merge the profiles of one version at a time."
        )
    features = {name: _add(counts, b.features[name]) for name, counts in a.features.items()}
    odd = {name: _added(counts, b.odd[name]) for name, counts in a.odd.items()}
    return Profile(a.shape, a.rows + b.rows, features, _add(a.scores, b.scores), odd)


def _check_rows(shape: ProfileShape, frame: pl.DataFrame, scores: FloatArray) -> None:
    missing = shape.parts.keys() - set(frame.columns)
    if missing:
        raise ProfileMismatch(f"expected a column for every feature of the shape, found none for {sorted(missing)}")
    if scores.shape != (frame.height,):
        raise ProfileMismatch(f"expected a score for each of {frame.height} rows, got scores of shape {scores.shape}")


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _added(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


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


def _counted(codes: IntArray, start: int, width: int, groups: IntArray, count: int) -> Tally:
    counts = np.bincount(groups * width + codes, minlength=count * width)
    some = np.flatnonzero(counts)
    return Tally(some // width, start + some % width, counts[some])


def _joined(parts: Sequence[Tally]) -> Tally:
    groups, bins, counts = ([getattr(part, name) for part in parts] for name in ("groups", "bins", "counts"))
    return Tally(np.concatenate(groups), np.concatenate(bins), np.concatenate(counts))
