"""Evidence so far: merged in any grouping it is the same, written and read it is the same, and it is what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.monitoring.sequential.alarms import alarms
from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.trail import NEVER, Trail, mixed

ALIKE = np.array([1.0, 2.0, 5.0])


def evidence_of(seed: int, blocks: int) -> FloatArray:
    return np.random.default_rng(seed).normal(-0.3, 1.5, (blocks, 3, 4))


def walked(log_e: FloatArray, first: int = 0) -> Trail:
    trail = Trail.start(3, 4, first - 1)
    for block, each in enumerate(log_e, first):
        trail = trail.looked(block, each, ALIKE)
    return trail


def same(one: Trail, other: Trail) -> bool:
    pairs = [(one.product, other.product), (one.sums, other.sums), (one.best, other.best), (one.once, other.once)]
    close = all(np.allclose(a, b, rtol=1e-12, atol=1e-12) for a, b in pairs)
    return close and one.until == other.until and np.array_equal(one.onset, other.onset)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.data())
def test_stretches_merge_into_the_whole(seed: int, blocks: int, data: st.DataObject) -> None:
    log_e, cut = evidence_of(seed, blocks), data.draw(st.integers(0, blocks))
    assert same(walked(log_e[:cut]).then(walked(log_e[cut:], cut)) if cut < blocks else walked(log_e), walked(log_e))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_it_is_what_it_says(seed: int, blocks: int) -> None:
    """Against sums and maxima over all beginnings, written out."""
    log_e = evidence_of(seed, blocks)
    trail = walked(log_e)
    since = np.cumsum((log_e / ALIKE[:, None])[::-1], axis=0)[::-1]
    assert trail.sums == pytest.approx(np.log(np.exp(since).sum(axis=0)), abs=1e-9)
    assert trail.best == pytest.approx(since.max(axis=0), abs=1e-9)
    assert np.array_equal(trail.onset, since.argmax(axis=0))
    assert trail.once == pytest.approx(np.log(np.exp(log_e).mean(axis=2).sum(axis=0)), abs=1e-9)
    both = (np.exp(trail.sums).mean(axis=1) + np.exp(trail.once)) / 2
    assert trail.evidence == pytest.approx(np.log(both), abs=1e-9)
    assert np.array_equal(trail.began, np.take_along_axis(trail.onset, trail.best.argmax(axis=1)[:, None], 1)[:, 0])


@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_written_and_read_it_is_the_same_to_the_bit(seed: int, blocks: int) -> None:
    trail = walked(evidence_of(seed, blocks))
    read = Trail.decode(trail.encode())
    assert read.encode() == trail.encode()
    assert same(read.looked(99, evidence_of(seed, 1)[0], ALIKE), trail.looked(99, evidence_of(seed, 1)[0], ALIKE))


@pytest.mark.parametrize(
    "written", [b"", b"\x00", Trail.start(3, 4).encode()[:-9], b"\x94\x01\x92\x03\x04\x90\xc4\x00"]
)
def test_anything_else_is_refused(written: bytes) -> None:
    with pytest.raises(ValueError, match="evidence of a sequential check as it was written"):
        Trail.decode(written)


def test_no_block_counts_twice() -> None:
    trail = walked(evidence_of(1, 5))
    with pytest.raises(ValueError, match="expected blocks after 4, got 4"):
        trail.looked(4, evidence_of(1, 1)[0], ALIKE)


def test_a_restart_forgets_some_checks_only() -> None:
    log_e = evidence_of(2, 12)
    trail = walked(log_e[:7])
    restarted = trail.restarted(np.array([True, False, False]))
    assert (restarted.began[0], restarted.evidence[0]) == (NEVER, -np.inf)
    assert same(restarted.only(slice(1, 3)), trail.only(slice(1, 3)))
    for block in range(7, 12):
        restarted = restarted.looked(block, log_e[block], ALIKE)
    assert restarted.evidence[0] == pytest.approx(walked(log_e[7:], 7).evidence[0])


def test_alarms_of_a_whole_history_are_those_of_a_walk() -> None:
    log_e, level = evidence_of(3, 400), np.log(20)
    trail, rang = Trail.start(3, 4), []
    for block, each in enumerate(log_e):
        trail = trail.looked(block, each, ALIKE)
        rang.append(trail.evidence >= level)
        trail = trail.restarted(rang[-1])
    assert np.sum(rang) > 10
    assert np.array_equal(alarms(log_e, ALIKE, level), rang)


def test_overflow_is_an_alarm() -> None:
    log_e = np.full((2, 1, 1), 1e5)
    assert alarms(log_e, np.ones(1), 200.0).all()
    assert Trail.start(1, 1).looked(0, log_e[0], np.ones(1)).evidence == pytest.approx([1e5])
    assert mixed(np.array([[0.0, -np.inf]])) == pytest.approx([-np.log(2)])


def test_healthy_blocks_keep_the_average_run_length() -> None:
    """Exact likelihood ratios of Gaussian blocks: at most one alarm in 100 blocks; and not so few that none is seen."""
    z = np.random.default_rng(4).normal(size=(2_000, 200))
    steps = np.array([0.5, 1.0, 2.0])
    log_e = z[..., None] * steps - steps**2 / 2
    found = alarms(log_e, np.ones(200), np.log(100)).mean()
    assert 1 / 1_000 < found < 1 / 100
