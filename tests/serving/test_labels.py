"""The log of labels: what goes in comes out, in order; what is no label is refused."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serving.labels import LABEL_SCHEMA, UnreadableLabels, decode_labels, encode_labels
from charkha.serving.prediction_ids import InvalidPredictionId
from charkha.storage.log import Record

ID = "013dc2cb-b400-7000-8000-000000000000"

BATCHES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.uuids().map(str), st.floats(allow_nan=False, allow_infinity=False)), min_size=1),
        st.integers(-(2**62), 2**62),
    )
)


def records(payloads: list[bytes]) -> list[Record]:
    return [Record("w0", number, number + 1, payload) for number, payload in enumerate(payloads)]


@given(BATCHES)
def test_labels_come_back_in_order(batches: list[tuple[list[tuple[str, float]], int]]) -> None:
    payloads = [encode_labels([i for i, _ in pairs], [label for _, label in pairs], us) for pairs, us in batches]
    frame = decode_labels(records(payloads))
    assert frame.schema == LABEL_SCHEMA
    assert frame.rows() == [(i, label, us) for pairs, us in batches for i, label in pairs]


def test_ids_and_labels_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="one label for each of 2 ids, got 1"):
        encode_labels([ID, ID], [1.0], 0)


@pytest.mark.parametrize("label", [math.nan, math.inf, -math.inf])
def test_a_label_is_finite(label: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        encode_labels([ID], [label], 0)


def test_an_id_that_none_can_be_is_refused() -> None:
    with pytest.raises(InvalidPredictionId):
        encode_labels(["flight 12"], [1.0], 0)


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode([9, 0, b"", b""])])
def test_an_unreadable_record_says_where_it_lies(payload: bytes) -> None:
    with pytest.raises(UnreadableLabels, match="partition 'w0', offset 0"):
        decode_labels(records([payload]))
