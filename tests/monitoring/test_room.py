"""Whether the disk's room is told of before it has run out."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from charkha.monitoring.room import room_findings


@pytest.mark.parametrize(("free", "short"), [(49, True), (50, False)])
def test_a_disk_that_is_nearly_full_is_a_finding(monkeypatch: pytest.MonkeyPatch, free: int, short: bool) -> None:
    usage = SimpleNamespace(total=1000 * 10**9, free=free * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    found = [(each.kind, each.value, each.message) for each in room_findings("late", Path("/data"), 5)]
    said = "4.9% of the disk under /data is free (49.0 GB); once it is full, predictions cannot be logged. "
    assert found == ([("room", 0.049, f"{said}Make room, or keep fewer days: charkha log status")] if short else [])
