"""The log of predictions: whatever a call holds comes back as a table, and bulk reading is fast."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import msgspec
import numpy as np
import polars as pl
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.bundles.encoding import FeatureColumn, FeatureSchema
from charkha.bundles.store import BundleStore
from charkha.serving.prediction_frames import PREDICTION_SCHEMA, UnreadablePredictions, decode_predictions
from charkha.serving.prediction_ids import first_id, format_ids
from charkha.serving.prediction_log import (
    FORMAT,
    FeaturesUsed,
    PredictionBatch,
    PredictionLog,
    Role,
    Scored,
    encode_predictions,
    features_used,
    pack_first_id,
    version_answers,
)
from charkha.storage.log import Record
from charkha.storage.segment_log import SegmentLog

CARRIERS = ("AA", "UA")
SCHEMA = FeatureSchema(
    (
        FeatureColumn("traffic.count_1h", "numeric"),
        FeatureColumn("plane.maker", "categorical", ("BOEING", "AIRBUS")),
        FeatureColumn("schedule.hour", "numeric"),
    )
)
OTHER = FeatureSchema((FeatureColumn("schedule.day", "numeric"),))


@frozen
class Manifest:
    schema: FeatureSchema


class Bundles:
    """As much of a bundle store as reading the log needs."""

    def __init__(self, **schemas: FeatureSchema) -> None:
        self._schemas = schemas

    def manifest(self, model: str, version: str) -> Manifest:
        return Manifest(self._schemas[version])


def store(**schemas: FeatureSchema) -> BundleStore:
    return cast("BundleStore", Bundles(**schemas))


def records(batches: Sequence[PredictionBatch]) -> list[Record]:
    return [Record("w0", number, number + 1, encode_predictions(batch)) for number, batch in enumerate(batches)]


def used(rows: Sequence[tuple[float | None, str | None, float | None]], version: str = "v1") -> FeaturesUsed:
    codes = {name: float(code) for code, name in enumerate(SCHEMA.columns[1].vocabulary)}
    nan = float("nan")
    matrix = [[nan if a is None else a, codes.get(b or "", nan), nan if c is None else c] for a, b, c in rows]
    return FeaturesUsed(version, np.array(matrix, dtype=np.float64).tobytes(), ([b for _, b, _ in rows],))


def scored(
    version: str,
    role: Role,
    features: FeaturesUsed,
    scores: Sequence[float],
    decisions: Sequence[bool] | None = None,
    hits: Sequence[tuple[str, ...]] | None = None,
) -> Scored:
    decided = None if decisions is None else np.array(decisions, dtype=np.bool_)
    matrix = np.frombuffer(features.matrix).reshape(len(scores), -1)
    held = hits or [()] * len(scores)
    kept = (features.version, matrix, features.text)
    return Scored(version, role, version.encode(), 0, *kept, np.array(scores), decided, held, held)


def batch(first: int, requests: Sequence[tuple[Any, ...]], **parts: Any) -> PredictionBatch:
    defaults: dict[str, Any] = {"time_us": 1_000, "latency_us": 7, "fields": ("carrier", "distance"), "kinds": "sf"}
    defaults["replica"] = "host/w0"
    return PredictionBatch(
        format=FORMAT, model="late", first_id=pack_first_id(first), requests=requests, **(defaults | parts)
    )


def test_one_call_comes_back_row_by_row() -> None:
    first = first_id(1_000)
    features = used([(3.0, "BOEING", 6.0), (None, "UNSEEN", None)])
    answer = version_answers(scored("v1", "champion", features, [0.25, 0.75], [False, True], [(), ("old",)]), 0)
    call = batch(first, [("AA", 200.5), (None, None)], features=(features,), answers=(answer,))
    frame = decode_predictions(records([call]), store(v1=SCHEMA))
    assert frame.to_dicts() == [
        {
            "id": format_ids(first, 2)[row],
            "_at_us": 1_000,
            "version": "v1",
            "role": "champion",
            "score": [0.25, 0.75][row],
            "decision": [False, True][row],
            "rules": [[], ["old"]][row],
            "fallback": None,
            "latency_us": 7,
            "_seen_us": None,
            "features_logged": True,
            "replica": "host/w0",
            "bundle": b"v1".hex(),
            "request.carrier": ["AA", None][row],
            "request.distance": [200.5, None][row],
            "traffic.count_1h": [3.0, None][row],
            "plane.maker": ["BOEING", "UNSEEN"][row],
            "schedule.hour": [6.0, None][row],
        }
        for row in (0, 1)
    ]


def test_challenger_and_shadow_have_their_own_rows_of_the_same_ids() -> None:
    first = first_id(5)
    features = used([(float(row), "AIRBUS", None) for row in range(3)])
    days = FeaturesUsed("v3", np.array([4.0, 5.0, 6.0]).tobytes(), ())
    answers = (
        version_answers(scored("v1", "champion", features, [0.1, 0.2, 0.3]), 0, (0, 2)),
        version_answers(scored("v2", "challenger", features, [0.4, 0.5, 0.6]), 0, (1,)),
        version_answers(scored("v3", "shadow", days, [0.7, 0.8, 0.9]), 1),
    )
    call = batch(first, [("AA", 1.0)] * 3, features=(features, days), answers=answers)
    frame = decode_predictions(records([call]), store(v1=SCHEMA, v3=OTHER))
    one, two, three = format_ids(first, 3)
    seen = frame.select("id", "version", "role", "score", "traffic.count_1h", "schedule.day").rows()
    assert seen == [
        (one, "v1", "champion", 0.1, 0.0, None),
        (one, "v3", "shadow", 0.7, None, 4.0),
        (two, "v2", "challenger", 0.5, 1.0, None),
        (two, "v3", "shadow", 0.8, None, 5.0),
        (three, "v1", "champion", 0.3, 2.0, None),
        (three, "v3", "shadow", 0.9, None, 6.0),
    ]
    assert frame["decision"].to_list() == [None] * 6


def test_a_changed_definition_leaves_null_what_a_request_had_not() -> None:
    features = FeaturesUsed("v3", np.array([1.0]).tobytes(), ())
    answer = version_answers(scored("v3", "champion", features, [0.5]), 0)
    moment = datetime(2013, 4, 1, tzinfo=UTC)
    before = batch(first_id(1), [("AA", 1.0)], features=(features,), answers=(answer,))
    fields = {"fields": ("carrier", "gate", "board", "ok"), "kinds": "sidb"}
    after = batch(first_id(2), [("UA", 12, moment, True)], features=(features,), answers=(answer,), **fields)
    frame = decode_predictions(records([before, after, before]), store(v3=OTHER))
    assert frame.select("^request.*$").rows() == [
        ("AA", 1.0, None, None, None),
        ("UA", None, 12, moment, True),
        ("AA", 1.0, None, None, None),
    ]


def test_a_feature_that_was_text_in_one_version_only_is_text() -> None:
    features = used([(1.0, "BOEING", 2.0)])
    empty = FeaturesUsed("v2", np.array([4.5]).tobytes(), ())
    numbers = FeatureSchema((FeatureColumn("plane.maker", "numeric"),))
    answers = (
        version_answers(scored("v1", "champion", features, [0.5]), 0),
        version_answers(scored("v2", "shadow", empty, [0.5]), 1),
    )
    call = batch(first_id(1), [("AA", 1.0)], features=(features, empty), answers=answers)
    frame = decode_predictions(records([call]), store(v1=SCHEMA, v2=numbers))
    assert frame["plane.maker"].to_list() == ["BOEING", "4.5"]


# What a record of each format ends with, behind its answers.
ENDINGS: dict[int, list[Any]] = {1: [], 2: [9], 3: [9, [0]], FORMAT: [9, None, "host/w0"]}


@pytest.mark.parametrize("number", ENDINGS)
def test_records_of_every_format_are_read(number: int) -> None:
    features = used([(3.0, "BOEING", 6.0)])
    answers = ["v1", "champion", 0, None, np.array([0.25]).tobytes(), b"\x01", None, None]
    kept: list[Any] = ["v1", features.matrix, [["BOEING"]]]
    if number == FORMAT:
        answers.append(b"v1")
        kept.append(None)
    plain = [number, "late", pack_first_id(7), 1_000, 7, ["carrier", "distance"], "sf", [["AA", 200.5]]]
    packed = msgspec.msgpack.encode([*plain, [kept], [answers], *ENDINGS[number]])
    read = decode_predictions([Record("w0", 0, 1, packed)], store(v1=SCHEMA))
    assert read.select("features_logged", "score", "plane.maker").rows() == [(True, 0.25, "BOEING")]
    evidence = ("host/w0", b"v1".hex()) if number == FORMAT else (None, None)
    assert read.select("_seen_us", "replica", "bundle").row(0) == (9 if number > 1 else None, *evidence)
    if number == FORMAT:
        answer = version_answers(scored("v1", "champion", features, [0.25], [True]), 0)
        call = batch(7, [("AA", 200.5)], features=(features,), answers=(answer,), seen_us=9)
        assert encode_predictions(call) == packed


def test_of_some_rows_the_features_are_logged_and_of_all_the_rest() -> None:
    first = first_id(5)
    seen: list[tuple[float | None, str | None, float | None]] = [(float(row), "AIRBUS", None) for row in range(4)]
    both = used(seen)
    champion = scored("v1", "champion", both, [0.1, 0.2, 0.3, 0.4], hits=[(), ("far",), (), ()])
    challenger = scored("v2", "challenger", both, [0.5, 0.6, 0.7, 0.8], [True, False, True, False])
    shadow = scored("v3", "shadow", FeaturesUsed("v3", np.arange(4.0).tobytes(), ()), [0.9] * 4)
    answers = (
        version_answers(champion, 0, (0, 1)),
        version_answers(challenger, 0, (2, 3)),
        version_answers(shadow, 1),
    )
    call = batch(
        first,
        [("AA", float(row)) for row in range(4)],
        features=(features_used(champion, rows=(1, 2)), features_used(shadow, rows=(1, 2))),
        answers=answers,
        featured=(1, 2),
    )
    frame = decode_predictions(records([call, call]), store(v1=SCHEMA, v3=OTHER))
    own = frame.head(8).filter(role="shadow")
    assert own.select("schedule.day", "features_logged").rows() == [
        (None, False),
        (1.0, True),
        (2.0, True),
        (None, False),
    ]
    given = frame.head(8).filter(pl.col("role") != "shadow")
    columns = ["version", "score", "decision", "rules", "request.distance", "traffic.count_1h", "plane.maker"]
    assert given.select(*columns, "features_logged").rows() == [
        ("v1", 0.1, None, [], 0.0, None, None, False),
        ("v1", 0.2, None, ["far"], 1.0, 1.0, "AIRBUS", True),
        ("v2", 0.7, True, [], 2.0, 2.0, "AIRBUS", True),
        ("v2", 0.8, False, [], 3.0, None, None, False),
    ]
    assert frame.tail(8).equals(frame.head(8))


def test_no_record_is_an_empty_table() -> None:
    assert decode_predictions([], store()).schema == PREDICTION_SCHEMA


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode([5, "m", b"", 0, 0, [], "", [], [], []])])
def test_an_unreadable_record_says_where_it_lies(payload: bytes) -> None:
    with pytest.raises(UnreadablePredictions, match="partition 'w0', offset 3: expected predictions in format 1 to 4"):
        decode_predictions([Record("w0", 3, 4, payload)], store())


@settings(deadline=None)
@given(st.data())
def test_any_split_of_answers_comes_back(data: st.DataObject) -> None:
    """Against the obvious loop: random batches, each row answered by one of two versions."""
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    batches, expected = [], []
    for number, size in enumerate(sizes):
        first = first_id(number)
        who = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
        makers = data.draw(st.lists(st.sampled_from(["BOEING", "AIRBUS", "?", None]), min_size=size, max_size=size))
        features = used([(float(row), makers[row], None) for row in range(size)])
        both = [scored(v, r, features, [number + row / 10 for row in range(size)]) for v, r in ROLES]
        own = [[row for row in range(size) if who[row] == version] for version in (0, 1)]
        blocks = [version_answers(part, 0, tuple(rows)) for part, rows in zip(both, own, strict=True) if rows]
        batches.append(
            batch(first, [("AA", float(row)) for row in range(size)], features=(features,), answers=tuple(blocks))
        )
        expected += [
            (text, *ROLES[who[row]], number + row / 10, float(row), float(row), makers[row])
            for row, text in enumerate(format_ids(first, size))
        ]
    with patch("charkha.serving.prediction_frames.RECORDS_AT_ONCE", data.draw(st.integers(1, 7))):
        frame = decode_predictions(records(batches), store(v1=SCHEMA))
    columns = ["id", "version", "role", "score", "request.distance", "traffic.count_1h", "plane.maker"]
    assert frame.select(columns).rows() == expected


ROLES: list[tuple[str, Role]] = [("v1", "champion"), ("v2", "challenger")]


def wide_call(columns: int = 30) -> tuple[FeatureSchema, PredictionBatch]:
    """Three rows of a model as wide as the demo's."""
    numbers = [FeatureColumn(f"view.feature_{number}", "numeric") for number in range(columns)]
    schema = FeatureSchema((*numbers, FeatureColumn("plane.maker", "categorical", ("BOEING",))))
    features = FeaturesUsed("v1", np.zeros((3, columns + 1)).tobytes(), (["BOEING", None, "AIRBUS"],))
    answer = version_answers(scored("v1", "champion", features, [0.1, 0.2, 0.3], [True, False, True]), 0)
    requests = [("AA", 1.5), ("UA", 2.5), (None, None)]
    return schema, batch(first_id(1), requests, features=(features,), answers=(answer,))


def test_many_tiny_records_are_read_fast() -> None:
    """100,000 rows a second are asked for; half of it here, of processor time, so that a busy machine does not fail."""
    schema, call = wide_call()
    many = [Record("w0", number, number + 1, encode_predictions(call)) for number in range(20_000)]
    started = time.thread_time()
    frame = decode_predictions(many, store(v1=schema))
    assert frame.height == 60_000
    assert frame.height / (time.thread_time() - started) > 50_000


def test_looking_for_a_record_reads_neither_other_partitions_nor_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SegmentLog(tmp_path)
    mine = PredictionLog(log, "m", "w0")
    first, place = first_id(1_700_000_000_000_000), mine.place()
    mine.append([PredictionBatch(2, "m", pack_first_id(first), 1, 1, ("a",), "i", [(1,)], (), ())])
    for partition in ("w0", "w1"):
        log.writer("predictions/m", partition).append([bytes(100_000)] * 100)
    read, counted = os.pread, list[int]()

    def counting(descriptor: int, size: int, at: int) -> bytes:
        found = read(descriptor, size, at)
        counted.append(len(found))
        return found

    monkeypatch.setattr(os, "pread", counting)
    assert mine.holds(place, format_ids(first, 1)[0])
    assert sum(counted) <= 1 << 20
