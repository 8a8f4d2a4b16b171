"""Batches set aside: whole or not at all, also when their keeper is killed; bounded; ended once."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from killed_children import keep_forever, run_and_kill

from charkha.storage.names import BadName
from charkha.storage.quarantine import Ending, Quarantine, QuarantineFull, Report, UnknownBatch

ROWS = pl.DataFrame({"a": [1, None], "b": ["x", "ä"]})


def report(name: str = "trips-1", time_us: int = 5) -> Report:
    return Report(id=name, source="trips", time_us=time_us, rows=2, violations=[{"rule": "a at most 0", "rows": 1}])


def ending(state: Any = "released") -> Ending:
    return Ending(state=state, time_us=9, actor="asha", reason="it is right", before=["ff", None])


@pytest.fixture
def store(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine", sync=True, most_batches=2)


def test_a_batch_is_kept_as_it_came(store: Quarantine) -> None:
    assert (store.all(), store.find("trips-1")) == ([], None)
    store.keep(report("trips-2", 7), ROWS)
    assert store.keep(report(), ROWS) == report()
    assert [held.report.id for held in store.all()] == ["trips-1", "trips-2"]
    held = store.get("trips-1")
    assert (held.report, held.ending, held.state, held.is_over) == (report(), None, "held", False)
    assert store.rows("trips-1").equals(ROWS)


def test_a_batch_that_comes_again_is_the_one_that_is_kept(store: Quarantine) -> None:
    store.keep(report(), ROWS)
    assert store.keep(report(time_us=99), ROWS).time_us == 5
    assert len(store.all()) == 1


def test_rows_go_when_it_is_over_and_the_report_stays(store: Quarantine) -> None:
    store.keep(report(), ROWS)
    store.end("trips-1", ending("releasing"))
    assert (store.get("trips-1").is_over, store.rows("trips-1").height) == (False, 2)
    store.end("trips-1", ending())
    assert store.get("trips-1").ending == ending()
    with pytest.raises(UnknownBatch, match=r"in quarantine \(none\), got 'trips-1'. List them: charkha"):
        store.rows("trips-1")
    assert store.keep(report(time_us=99), ROWS).time_us == 5


def test_a_discarded_batch_may_come_again(store: Quarantine) -> None:
    store.keep(report(), ROWS)
    store.end("trips-1", ending("discarded"))
    assert store.keep(report(time_us=99), ROWS).time_us == 99
    assert store.get("trips-1").state == "held"


def test_what_is_not_there_is_said_with_what_is(store: Quarantine) -> None:
    store.keep(report(), ROWS)
    with pytest.raises(UnknownBatch, match=r"\(trips-1\), got 'trips-2'"):
        store.get("trips-2")
    with pytest.raises(UnknownBatch):
        store.lock("trips-2")
    with pytest.raises(BadName):
        store.find("../ledger")


def test_it_is_bounded(store: Quarantine, tmp_path: Path) -> None:
    for number in (1, 2):
        store.keep(report(f"trips-{number}", number), ROWS)
    with pytest.raises(QuarantineFull, match="holds 2 batches already"):
        store.keep(report("trips-3", 3), ROWS)
    for number in (1, 2, 3, 4):
        store.keep(report(f"trips-{number}", number), ROWS)
        store.end(f"trips-{number}", ending())
    assert [held.report.id for held in store.all()] == ["trips-3", "trips-4"]
    small = Quarantine(tmp_path / "small", most_bytes=1)
    small.keep(report(), ROWS)
    with pytest.raises(QuarantineFull, match="MiB of rows"):
        small.keep(report("trips-2"), ROWS)


@pytest.mark.parametrize("number", range(6))
def test_a_keeper_that_is_killed_leaves_nothing_half(tmp_path: Path, number: int) -> None:
    acknowledged = run_and_kill(keep_forever, tmp_path / "q", after_seconds=0.02 + 0.013 * number)
    store = Quarantine(tmp_path / "q")
    kept = store.all()
    assert len(kept) in (acknowledged, acknowledged + 1)
    assert all(store.rows(held.report.id).height == held.report.rows for held in kept)
    store.keep(report(), ROWS)
    assert len(store.all()) == len(kept) + 1
