"""Profiles add up: the profile of the whole is the merge of the profiles of its parts, however it was cut."""

from functools import reduce
from itertools import pairwise

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.bundles.profile import (
    MAX_CATEGORIES,
    NumericShape,
    Profile,
    ProfileMismatch,
    ProfileShape,
    TextShape,
    empty_profile,
    learn_shape,
    merge,
    profile_of,
)
from charkha.spec.model import FloatArray

NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(-2, 2).map(float)
WORDS = st.none() | st.sampled_from(["a", "b", "c"]) | st.text(max_size=2)
SCORES = st.floats(0, 1) | st.just(float("nan"))
ROWS = st.lists(st.tuples(NUMBERS, WORDS, st.none() | st.booleans(), SCORES), max_size=30)
Rows = list[tuple[float | None, str | None, bool | None, float]]
TYPES = {"delay": pl.Float64(), "origin": pl.String(), "late": pl.Boolean()}


def split(rows: Rows) -> tuple[pl.DataFrame, FloatArray]:
    frame = pl.DataFrame([row[:3] for row in rows], schema=TYPES, orient="row")
    return frame, np.array([row[3] for row in rows], dtype=np.float64)


def count(shape: ProfileShape, rows: Rows) -> Profile:
    return profile_of(shape, *split(rows))


@given(ROWS, ROWS, ROWS)
def test_merge_is_associative_and_commutative_and_has_a_neutral(a: Rows, b: Rows, c: Rows) -> None:
    shape = learn_shape(*split(a))
    x, y, z = (count(shape, rows) for rows in (a, b, c))
    assert merge(merge(x, y), z) == merge(x, merge(y, z))
    assert merge(x, y) == merge(y, x)
    assert merge(x, empty_profile(shape)) == x


@given(ROWS, ROWS, st.lists(st.integers(0, 30), max_size=4))
def test_the_parts_add_up_to_the_whole(reference: Rows, rows: Rows, cuts: list[int]) -> None:
    shape = learn_shape(*split(reference))
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [count(shape, rows[a:b]) for a, b in pairwise(bounds)]
    assert reduce(merge, parts) == count(shape, rows)


@given(ROWS, ROWS)
def test_every_row_is_counted_once_in_every_feature(reference: Rows, rows: Rows) -> None:
    profile = count(learn_shape(*split(reference)), rows)
    assert {sum(counts) for counts in (*profile.features.values(), profile.scores)} == {len(rows)}
    assert profile.rows == len(rows)


@given(ROWS, ROWS)
def test_counts_are_those_of_the_obvious_way(reference: Rows, rows: Rows) -> None:
    shape = learn_shape(*split(reference))
    profile = count(shape, rows)
    delays = [np.nan if row[0] is None else row[0] for row in rows]
    assert profile.features["delay"] == obvious_numbers(shape.numeric[0].edges, delays)
    assert profile.scores == obvious_numbers(shape.score.edges, [row[3] for row in rows])
    assert profile.features["origin"] == obvious_words(shape.text[0].categories, [row[1] for row in rows])


def obvious_numbers(edges: tuple[float, ...], values: list[float]) -> tuple[int, ...]:
    lows, highs = [-np.inf, *edges], [*edges, np.inf]
    inside = [
        sum(low < v <= high or (v == low == -np.inf) for v in values) for low, high in zip(lows, highs, strict=True)
    ]
    return (*inside, sum(map(np.isnan, values)))


def obvious_words(categories: tuple[str, ...], values: list[str | None]) -> tuple[int, ...]:
    others = [value for value in values if value is not None and value not in categories]
    return (*(values.count(category) for category in categories), len(others), values.count(None))


@given(ROWS, ROWS)
def test_shapes_and_profiles_survive_json(reference: Rows, rows: Rows) -> None:
    shape = learn_shape(*split(reference))
    again = msgspec.json.decode(msgspec.json.encode(shape), type=ProfileShape)
    assert (again, again.fingerprint) == (shape, shape.fingerprint)
    profile = count(again, rows)
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile


@given(ROWS)
def test_the_reference_has_nothing_outside_its_own_bins(rows: Rows) -> None:
    finite = [row for row in rows if row[0] is None or not np.isinf(row[0])]
    shape = learn_shape(*split(finite))
    delays = shape.by_tenths("delay", count(shape, finite).features["delay"])
    ruler, tenths = shape.numeric[0].edges, shape.numeric[0].tenths
    edges = [ruler[place] for place in tenths or ()]
    assert list(ruler) == sorted(set(ruler))
    # The first bin lies below the smallest value, and the one before the nulls above the largest.
    assert not edges or delays[0] == delays[-2] == 0 or edges[0] == -1.7976931348623157e308


def test_bins_of_a_smooth_feature_hold_a_tenth_each() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    frame = pl.DataFrame({"x": values})
    shape = learn_shape(frame, values)
    profile = profile_of(shape, frame, values)
    below, *tenths, above, nulls = shape.by_tenths("x", profile.features["x"])
    assert (below, above, nulls, len(tenths)) == (0, 0, 0, 10)
    assert max(abs(tenth - 1000) for tenth in tenths) <= 1
    assert profile.scores == profile.features["x"]


def test_a_value_that_is_most_of_a_feature_keeps_a_bin_of_its_own() -> None:
    frame = pl.DataFrame({"flag": [0.0] * 97 + [1.0] * 3})
    scores = np.zeros(100)
    shape = learn_shape(frame, scores)
    assert shape.by_tenths("flag", profile_of(shape, frame, scores).features["flag"]) == (0, 97, 3, 0, 0)
    moved = pl.DataFrame({"flag": [0.0, 1.0, -1.0, 0.5, 2.0, None]})
    assert shape.by_tenths("flag", profile_of(shape, moved, np.zeros(6)).features["flag"]) == (1, 1, 2, 1, 1)


def test_the_ruler_tells_a_unit_that_was_changed() -> None:
    metres = np.random.default_rng(0).gamma(2.0, 800.0, 5000)
    frame = pl.DataFrame({"x": metres})
    shape = learn_shape(frame, metres)
    edges = np.array(shape.numeric[0].edges)
    for factor in (0.001, 1 / 60, 0.3048, 3.281, 60.0, 1000.0):
        changed = pl.DataFrame({"x": metres * factor})
        counts = np.array(profile_of(shape, changed, metres).features["x"][:-1])
        median = edges[np.searchsorted(np.cumsum(counts), counts.sum() / 2)]
        assert abs(np.log(median / (np.median(metres) * factor))) < 0.25


def test_one_number_alone_that_moves_is_odd_and_what_moves_together_is_not() -> None:
    rng = np.random.default_rng(1)
    weather = rng.normal(size=4000)
    temp, dew = weather * 8 + 15 + rng.normal(size=4000), weather * 6 + 9 + rng.normal(size=4000)
    frame = pl.DataFrame({"temp": temp, "dew": dew, "wind": rng.gamma(2.0, 3.0, 4000)})
    shape = learn_shape(frame, weather)
    still = profile_of(shape, frame, weather).odd
    assert all(odd / had < 0.02 for had, odd, _ in still.values())
    together = frame.filter(pl.Series(weather > 1.2))  # warm and damp: far from the middle, and as it should be
    warm = profile_of(shape, together, np.zeros(together.height)).odd
    assert all(odd / had < 0.1 for had, odd, _ in warm.values())
    alone = profile_of(shape, frame.with_columns(pl.col("temp") * 1.8 + 32), weather).odd
    assert alone["temp"][1] / alone["temp"][0] > 0.95
    assert alone["wind"][1] / alone["wind"][0] < 0.1


def test_only_the_most_frequent_categories_have_a_count_of_their_own() -> None:
    words = [f"w{i}" for i in range(MAX_CATEGORIES + 20)] + ["w119"] * 3
    frame = pl.DataFrame({"word": words})
    shape = learn_shape(frame, np.zeros(len(words)))
    counts = profile_of(shape, frame, np.zeros(len(words))).features["word"]
    assert shape.text[0].categories[0] == "w119"
    assert (len(counts), counts[0], counts[-2], counts[-1]) == (MAX_CATEGORIES + 2, 4, 20, 0)


def test_profiles_of_different_shapes_do_not_merge() -> None:
    a = ProfileShape((NumericShape("x", (1.0, 2.0)),), (TextShape("t", ("a",)),), NumericShape("score", ()))
    b = msgspec.structs.replace(a, numeric=(NumericShape("x", (1.0, 2.5)),))
    with pytest.raises(ProfileMismatch, match="expected two profiles of one shape, got shapes"):
        merge(empty_profile(a), empty_profile(b))


def test_rows_that_cannot_be_counted_are_refused() -> None:
    shape = learn_shape(pl.DataFrame({"x": [1.0], "t": ["a"]}), np.zeros(1))
    with pytest.raises(ProfileMismatch, match=r"found none for \['t'\]"):
        profile_of(shape, pl.DataFrame({"x": [1.0]}), np.zeros(1))
    with pytest.raises(ProfileMismatch, match=r"expected a score for each of 1 rows, got scores of shape \(2,\)"):
        profile_of(shape, pl.DataFrame({"x": [1.0], "t": ["a"]}), np.zeros(2))
