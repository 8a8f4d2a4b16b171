"""Vitals: every call and batch is counted once, in its minute, whatever the disk does, and never in an answer's way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_client import app_client
from hypothesis import given
from hypothesis import strategies as st
from serving_project import MODEL, NOW_US, Stage, open_stage, requests

from charkha.clock import SimulatedClock
from charkha.monitoring.performance import Span
from charkha.monitoring.prune import prune
from charkha.monitoring.vitals import VITALS_SCHEMA, read_vitals
from charkha.serving.http import build_router
from charkha.serving.latency_bins import LAST, binned, edge_ns, quantile_ms
from charkha.serving.metrics import ServingMetrics
from charkha.serving.observer import Stages
from charkha.serving.vitals import ModelVitals, Vitals, shares_of
from charkha.serving.vitals_log import MINUTE_US, UnreadableVitals, decode_vitals, encode_vitals, vitals_stream
from charkha.spec.durations import DAY_US
from charkha.spec.policies import Fallback
from charkha.storage.segment_writer import SegmentWriter

EVER = Span(0, 1 << 60)
STAGES = Stages(0, 1_000_000, 3_000_000, 6_000_000, 10_000_000)


def bin_of(duration_ns: int) -> int:
    return next(iter(binned(np.array([duration_ns]))))


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_bins_lie_in_order_and_hold_what_is_counted_in_them(one: int, other: int) -> None:
    number = bin_of(one)
    assert edge_ns(number) <= one
    assert number == LAST or one < edge_ns(number + 1)
    assert (one <= other) <= (bin_of(one) <= bin_of(other))


@given(st.lists(st.integers(2_000, 60_000_000_000), min_size=1), st.sampled_from([0.5, 0.95]))
def test_quantiles_are_within_a_bin_of_the_truth(durations: list[int], share: float) -> None:
    counts = binned(np.array(durations))
    exact = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]
    found = quantile_ms(counts, share)
    assert found is not None
    assert exact / 1e6 / 1.13 <= found <= exact / 1e6 * 1.13
    assert quantile_ms({}, share) is None


def test_batches_that_nobody_refreshes_are_binned_before_they_are_many(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charkha.serving.vitals.MOST_UNBINNED", 10)
    vitals = stage.service.vitals.of(MODEL)
    for _ in range(25):
        vitals.answered(NOW_US, 1, STAGES)
    assert len(vitals._minute.unbinned) == 5
    stage.clock.advance_to(NOW_US + MINUTE_US)
    stage.service.vitals.refresh()
    (minute,) = read_vitals(stage.home, MODEL, EVER).to_dicts()
    assert minute["batches"] == 25


def test_minutes_are_those_of_the_predictions(stage: Stage) -> None:
    stage.service.predict(MODEL, requests("Pune", "Agra"))
    stage.clock.advance_to(NOW_US + MINUTE_US)
    stage.service.predict(MODEL, requests("Pune"))
    stage.service.vitals.refresh()
    frame = read_vitals(stage.home, MODEL, EVER)
    assert frame.schema == VITALS_SCHEMA
    assert frame.select("_minute_us", "replica", "batches", "predictions").rows() == [(NOW_US, "w0", 1, 2)]
    stage.clock.advance_to(NOW_US + 3 * MINUTE_US)
    stage.service.vitals.refresh()
    stage.service.vitals.refresh()
    frame = read_vitals(stage.home, MODEL, EVER)
    assert frame.select("_minute_us", "predictions").rows() == [(NOW_US, 2), (NOW_US + MINUTE_US, 1)]
    assert (frame["latency_ms_p95"] > 0).all()
    assert frame["clock_ahead_us"].to_list() == [None, None]
    assert read_vitals(stage.home, MODEL, Span(NOW_US + 1, 1 << 60)).height == 1


def test_a_worker_without_calls_is_alive(stage: Stage) -> None:
    stage.clock.advance_to(NOW_US + MINUTE_US)
    stage.service.vitals.refresh()
    row = read_vitals(stage.home, MODEL, EVER).row(0, named=True)
    assert (row["requests"], row["predictions"], row["latency_ms_p50"], row["latency_bins"]) == (0, 0, None, [])


def test_calls_count_by_what_became_of_them(stage: Stage, metrics: ServingMetrics) -> None:
    with app_client(build_router(stage.service, metrics, stage.clock)) as client:
        path, good = f"/v1/models/{MODEL}/predict", {"city": "Pune", "km": 1.0, "stops": 1, "pooled": True}
        assert client.post(path, json=good).status_code == 200
        assert client.post(path, json={**good, "km": "far"}).status_code == 422
        assert client.post("/v2/models/nobody/infer", json={}).status_code == 404
        assert client.get("/v1/models").status_code == 200
    for status in (429, 500, 503, 503, 504):
        stage.service.vitals.replied(MODEL, status)
    stage.clock.advance_to(NOW_US + MINUTE_US)
    stage.service.vitals.refresh()
    row = read_vitals(stage.home, MODEL, EVER).row(0, named=True)
    counted = {name: row[name] for name in ("requests", "errors", "refusals", "sheds", "timeouts", "predictions")}
    assert counted == {"requests": 7, "errors": 3, "refusals": 1, "sheds": 1, "timeouts": 1, "predictions": 1}


def test_fallbacks_count_by_cause(tmp_path: Path) -> None:
    with open_stage(tmp_path, fallback=Fallback(score=0.5)) as stage:
        question = stage.service.ask_rows(MODEL, [("Pune", 1.0, 1, True)] * 3, cause="deadline_passed")
        stage.service.answer([question])
        stage.service.close()
        row = read_vitals(stage.home, MODEL, EVER).row(0, named=True)
    assert (row["fallbacks"], row["fallback_causes"]) == (3, [{"cause": "deadline_passed", "count": 3}])


def test_what_a_disk_does_not_take_waits_and_the_answer_does_not(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(writer: SegmentWriter, payloads: Any) -> int:
        raise OSError(28, "No space left on device")

    vitals = stage.service.vitals
    for minute in range(3):
        vitals.of(MODEL).answered(NOW_US + minute * MINUTE_US, 5, STAGES)
    stage.clock.advance_to(NOW_US + 3 * MINUTE_US)
    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "append", full)
        assert not vitals.refresh()
        assert "No space left" in vitals.problems()[MODEL]
    assert vitals.refresh()
    assert vitals.problems() == {}
    frame = read_vitals(stage.home, MODEL, EVER)
    assert frame["predictions"].to_list() == [5, 5, 5]
    assert frame["model_ms_p50"].to_list() == pytest.approx([3.0] * 3, rel=0.13)
    assert frame["latency_ms_p95"].to_list() == pytest.approx([10.0] * 3, rel=0.13)


def replica(stage: Stage, name: str, clock: SimulatedClock, steady_ns: Callable[[], int] | None = None) -> ModelVitals:
    return ModelVitals(stage.home.log, MODEL, name, name, clock, steady_ns=steady_ns)


def test_a_clock_that_is_set_shows(stage: Stage) -> None:
    passed = [0]
    clock = SimulatedClock(NOW_US)
    vitals = replica(stage, "w7", clock, lambda: passed[0])
    passed[0] = 60 * 10**9
    clock.advance_to(NOW_US + MINUTE_US)
    vitals.refresh()
    passed[0] = 120 * 10**9
    clock.advance_to(NOW_US + 7 * MINUTE_US)
    vitals.refresh()
    vitals.close()
    assert read_vitals(stage.home, MODEL, EVER)["clock_ahead_us"].to_list() == [0, 5 * MINUTE_US]


def test_a_clock_that_is_behind_those_of_others_shows(stage: Stage) -> None:
    ours, theirs = SimulatedClock(NOW_US), SimulatedClock(NOW_US + 10 * MINUTE_US)
    slow, right = replica(stage, "slow", ours), replica(stage, "right", theirs)
    for clock, each in ((theirs, right), (ours, slow)) * 2:
        clock.advance_to(clock.now() + MINUTE_US)
        each.refresh()
    frame = read_vitals(stage.home, MODEL, EVER)
    behind = {name: frame.filter(replica=name)["clock_behind_us"].max() for name in ("slow", "right")}
    assert behind == {"slow": 10 * MINUTE_US, "right": 0}


def test_vitals_go_with_the_predictions_of_their_days(stage: Stage) -> None:
    vitals = stage.service.vitals.of(MODEL)
    for day in (0, 1, 8, 9):
        stage.clock.advance_to(NOW_US + day * DAY_US)
        prune(stage.home, stage.project.models[MODEL], stage.clock.now())
        vitals.answered(stage.clock.now(), 1, STAGES)
        stage.clock.advance_to(stage.clock.now() + MINUTE_US)
        vitals.refresh()
    assert read_vitals(stage.home, MODEL, EVER)["predictions"].sum() == 4
    prune(stage.home, stage.project.models[MODEL], NOW_US + 405 * DAY_US)
    assert read_vitals(stage.home, MODEL, EVER)["predictions"].sum() == 2


def test_an_unreadable_record_says_where_it_lies(stage: Stage) -> None:
    stage.home.log.writer(vitals_stream(MODEL), "w5").append([b"no vitals"])
    with pytest.raises(UnreadableVitals, match=r"partition 'w5', offset 0: expected vitals, got .*newer one"):
        read_vitals(stage.home, MODEL, EVER)


@given(st.integers(0, 10**9), st.dictionaries(st.sampled_from("abcde"), st.integers(0, 10**12), min_size=1))
def test_the_parts_of_processor_time_add_up_to_all_of_it(used_us: int, busy_ns: dict[str, int]) -> None:
    parts = list(shares_of(used_us, busy_ns))
    assert [name for name, _, _ in parts] == list(busy_ns)
    assert sum(own + other for _, own, other in parts) == used_us
    assert all(own >= 0 and other >= 0 for _, own, other in parts)
    all_ns = sum(busy_ns.values())
    for name, own, other in parts:
        assert abs(own - (used_us * busy_ns[name] / all_ns if all_ns else 0)) <= 1
        assert (other == 0) if all_ns else abs(other - used_us / len(parts)) <= 1


def metered(stage: Stage, cpu_ns: list[int]) -> tuple[ModelVitals, ModelVitals, Vitals]:
    """Return the vitals of two models in one worker, whose processor time is told by a test."""
    models = {name: ModelVitals(stage.home.log, name, "w9", "w9", stage.clock, memory=lambda: 50) for name in "ab"}
    return models["a"], models["b"], Vitals(models, cpu_ns=lambda: cpu_ns[0])


def test_processor_time_goes_to_the_models_that_were_at_work_and_the_rest_to_all(stage: Stage) -> None:
    cpu_ns = [0]
    a, b, vitals = metered(stage, cpu_ns)
    a.answered(NOW_US, 2, STAGES)  # 9 ms in the stages after the wait
    a.answered(NOW_US, 2, STAGES)
    b.answered(NOW_US, 1, STAGES)
    cpu_ns[0] = 30_000_000
    vitals.refresh()
    cpu_ns[0] += 8_000_000  # while nobody asked
    vitals.refresh()
    stage.clock.advance_to(NOW_US + MINUTE_US)
    vitals.close()
    records = {
        name: next(decode_vitals(each.payload) for each in stage.home.log.read(vitals_stream(name))) for name in "ab"
    }
    assert {name: (each.cpu_us, each.other_cpu_us, each.memory_bytes) for name, each in records.items()} == {
        "a": (20_000, 4_000, 50),
        "b": (10_000, 4_000, 50),
    }


def test_what_is_replayed_meters_nothing(stage: Stage) -> None:
    stage.service.predict(MODEL, requests("Pune"))
    stage.clock.advance_to(NOW_US + MINUTE_US)
    stage.service.vitals.refresh()
    record = decode_vitals(next(iter(stage.home.log.read(vitals_stream(MODEL)))).payload)
    assert (record.cpu_us, record.other_cpu_us) == (None, None)


def test_records_of_the_format_before_are_read(stage: Stage) -> None:
    import msgspec

    before = [1, NOW_US, "w1", {200: 3}, 1, 3, {}, [{}, {}, {}, {}, {}], None, 0]
    record = decode_vitals(msgspec.msgpack.encode(before))
    assert (record.rows, record.cpu_us, record.memory_bytes) == (3, None, None)
    with pytest.raises(UnreadableVitals, match="format 3"):
        decode_vitals(encode_vitals(msgspec.structs.replace(record, format=3)))
    stage.home.log.writer(vitals_stream(MODEL), "w1").append([msgspec.msgpack.encode(before)])
    assert read_vitals(stage.home, MODEL, EVER)["predictions"].to_list() == [3]
