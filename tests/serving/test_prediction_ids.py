"""Ids of predictions: valid UUIDs of version 7 that sort by time and survive being packed."""

import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serving.prediction_ids import (
    InvalidPredictionId,
    expand_ids,
    first_id,
    format_ids,
    pack_ids,
    parse_id,
    unpack_ids,
)

TIMES = st.integers(0, 2**47 * 1000)


@given(TIMES, st.integers(1, 30))
def test_ids_are_uuids_of_version_7_in_order(time_us: int, count: int) -> None:
    ids = format_ids(first_id(time_us), count)
    assert ids == sorted(ids)
    assert len(set(ids)) == count
    for text in ids:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (7, uuid.RFC_4122, text)
        assert parsed.int >> 80 == time_us // 1000


@given(TIMES, TIMES)
def test_ids_sort_by_time_to_the_microsecond(a: int, b: int) -> None:
    first, second = sorted((a, b))
    if first < second:
        assert format_ids(first_id(first), 1) < format_ids(first_id(second), 1)


def test_ids_of_one_microsecond_differ() -> None:
    assert len({first_id(1) for _ in range(1000)}) == 1000


def test_the_highest_randomness_leaves_room_to_count() -> None:
    first = first_id(5, randomness=2**61 - 1)
    assert all(uuid.UUID(text).variant == uuid.RFC_4122 for text in format_ids(first, 10_000))


@given(st.lists(st.tuples(TIMES, st.integers(1, 5)), max_size=20))
def test_expanding_firsts_gives_every_id(batches: list[tuple[int, int]]) -> None:
    firsts = [first_id(time_us) for time_us, _ in batches]
    counts = [count for _, count in batches]
    packed = expand_ids(b"".join(first.to_bytes(16, "big") for first in firsts), counts)
    expected = [text for first, count in zip(firsts, counts, strict=True) for text in format_ids(first, count)]
    assert unpack_ids(packed) == expected


@given(st.lists(st.uuids()))
def test_packing_and_unpacking_are_inverse(ids: list[uuid.UUID]) -> None:
    texts = [str(each) for each in ids]
    assert unpack_ids(pack_ids(texts)) == texts
    assert np.frombuffer(pack_ids(texts), np.uint8).size == 16 * len(texts)


@pytest.mark.parametrize("text", ["", "x", "013dc2cb-b400-7000-8000-00000000000", "0" * 33, "é" * 32, "0" * 64])
def test_what_is_no_id_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(InvalidPredictionId, match="expected the id of a prediction") as refused:
        parse_id(text)
    assert refused.value.found == text


def test_an_id_may_be_written_without_hyphens_and_in_capitals() -> None:
    (text,) = format_ids(first_id(1_364_774_400_000_000), 1)
    assert parse_id(text.replace("-", "").upper()) == parse_id(text)
