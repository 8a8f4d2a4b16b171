"""The one clock: what it says when the machine's is set back."""

import pytest

from charkha.clock import SystemClock


def test_a_clock_that_is_set_back_by_a_little_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, times = SystemClock(), iter([1_000_000, 999_000, 1_000_500, 1_000_000 - 400_000_000, 2_000_000])
    monkeypatch.setattr("charkha.clock.time.time_ns", lambda: next(times) * 1000)
    assert [clock.now() for _ in range(5)] == [1_000_000, 1_000_000, 1_000_500, 1_000_000 - 400_000_000, 2_000_000]
