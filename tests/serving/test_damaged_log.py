"""A log that is damaged before its end is a problem of the log: said at once, met by the policy, over when mended."""

import os
from pathlib import Path

import pytest
from test_full_disk import PREDICT, ROW, ROWS, served

from charkha.spec.policies import LogPolicy
from charkha.storage import segment_format, segments


def damaged(folder: Path) -> Path:
    """Log two records, and flip a byte of the first; return the segment."""
    with served(folder, LogPolicy()) as (_, client):
        for _ in range(2):
            assert client.post(PREDICT, json=ROWS).status_code == 200
    (segment,) = (folder / ".charkha" / "log" / "predictions" / "late_trip").rglob("*.segment")
    data = bytearray(segment.read_bytes())
    data[100] ^= 0xFF
    segment.write_bytes(data)
    return segment


def test_a_damaged_log_refuses_until_it_is_mended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment = damaged(tmp_path)
    with served(tmp_path, LogPolicy()) as (stage, client):
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert "a record of it is damaged" in ready.json()["problems"]["late_trip"]
        assert str(segment) not in ready.text
        assert f"truncate -s 0 {segment}" in caplog.text
        for _ in range(2):
            reply = client.post(PREDICT, json=ROW)
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "log_full")
        stage.service.refresh()
        assert client.get("/readyz").status_code == 503
        os.truncate(segment, 0)
        stage.service.refresh()
        assert client.get("/readyz").status_code == 200
        assert client.post(PREDICT, json=ROW).status_code == 200


def test_a_damaged_log_serves_unlogged_where_that_is_the_policy(tmp_path: Path) -> None:
    damaged(tmp_path)
    with served(tmp_path, LogPolicy(on_full_disk="serve_unlogged")) as (_, client):
        assert client.post(PREDICT, json=ROW).json()["logged"] is False


def test_no_call_looks_for_the_end_of_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, LogPolicy()) as (_, client):
        assert client.post(PREDICT, json=ROWS).status_code == 200
    looked: list[int] = []

    def counted(*arguments: int) -> tuple[int, int]:
        looked.append(arguments[3])
        return segment_format.find_end(*arguments)

    with served(tmp_path, LogPolicy()) as (_, client):
        monkeypatch.setattr(segments, "find_end", counted)
        assert client.post(PREDICT, json=ROW).status_code == 200
        assert looked == []
