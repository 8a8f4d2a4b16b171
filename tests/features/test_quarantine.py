"""Pushes that break a contract are kept aside whole, released once however often that is cut short, and told of."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from killed_release import ORDERS, feed_of, release_and_say, run_and_kill

import charkha as ck
from charkha.clock import SimulatedClock, SystemClock, to_micros
from charkha.features.data_decisions import NothingToDecide, Word
from charkha.features.feed import Feed
from charkha.features.file_decisions import UnknownFile, mark_file
from charkha.features.quarantine import BatchBreaksContract, Gate, discard_batch, release_batch
from charkha.features.rows import FileBreaksContract, pushed_rows, read_rows
from charkha.spec.fields import polars_schema
from charkha.storage.home import Home, open_home
from charkha.storage.quarantine import UnknownBatch

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
GOOD, BAD = (1, "a", NOON, 10.0), (2, "a", NOON, -4.0)
WORD = Word("asha", "the till was wrong, not the rows", 77)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(to_micros(NOON))


def gate(home: Home, clock: SimulatedClock) -> Gate:
    return Gate({"orders": ORDERS}, home, clock)


def hold(home: Home, clock: SimulatedClock, *rows: tuple[Any, ...]) -> str:
    with pytest.raises(BatchBreaksContract) as error:
        gate(home, clock).check("orders", rows)
    assert error.value.batch is not None
    return error.value.batch


def in_log(home: Home) -> list[tuple[Any, ...]]:
    return pushed_rows(ORDERS, home.log).select("order", "amount").rows()


def test_rows_that_keep_the_contract_pass(home: Home, clock: SimulatedClock) -> None:
    gate(home, clock).check("orders", [GOOD])
    gate(home, clock).check("nothing of ours", [("x",)])
    gate(home, clock).check("orders", [(None, "a", NOON, -1.0)])  # the feed refuses what has no key
    assert home.quarantine.all() == []


def test_one_bad_row_sets_the_whole_push_aside(home: Home, clock: SimulatedClock) -> None:
    with pytest.raises(BatchBreaksContract) as error:
        gate(home, clock).check("orders", [GOOD, BAD])
    name = error.value.batch
    assert str(error.value) == (
        "source 'orders': expected amount at least 0, got 1 of 2 rows that are not so, such as -4.0 in row 1. None of "
        f"these rows was applied; they are kept as {name!r}: charkha data release {name} --reason …. Or mend them and "
        "send them again"
    )
    held = home.quarantine.get(str(name))
    assert (held.state, held.report.source, held.report.rows, held.report.time_us) == ("held", "orders", 2, clock.now())
    (violation,) = held.report.violations
    assert (violation["kind"], violation["column"], violation["rows"], violation["places"]) == (
        "range",
        "amount",
        1,
        [1],
    )
    assert violation["examples"] == [{"order": 2, "shop": "a", "at": "2024-05-01T12:00:00Z", "amount": -4.0}]
    assert home.quarantine.rows(str(name)).rows() == [GOOD, BAD]
    assert in_log(home) == []
    (decision,) = home.ledger.decisions()
    assert (decision.action, decision.actor, decision.model) == ("quarantine", "contract", "source orders")
    assert decision.reason == "1 of 2 rows break: amount at least 0"
    assert decision.evidence == {"batch": name, "rows": 2, "violations": [{"rule": "amount at least 0", "rows": 1}]}


def test_the_same_push_again_is_the_same_batch(home: Home, clock: SimulatedClock) -> None:
    first = hold(home, clock, GOOD, BAD)
    clock.advance_to(clock.now() + 1)
    assert hold(home, clock, (1, "a", to_micros(NOON), 10.0), BAD) == first
    assert hold(home, clock, BAD) != first
    assert len(home.ledger.decisions()) == 2


def test_a_full_quarantine_refuses_without_keeping(
    home: Home, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home.quarantine, "_most_batches", 0)
    with pytest.raises(BatchBreaksContract, match=r"was applied; the quarantine holds 0 batches already\.") as error:
        gate(home, clock).check("orders", [BAD])
    assert (error.value.batch, home.ledger.decisions()) == (None, [])


def test_a_release_pushes_the_rows_known_from_then_on(home: Home, clock: SimulatedClock) -> None:
    name = hold(home, clock, GOOD, BAD)
    clock.advance_to(clock.now() + 60_000_000)
    decision = release_batch(home, feed_of(home, clock), ORDERS, name, WORD)
    assert decision.action == "release"
    assert Word(decision.actor, decision.reason, decision.time_us) == WORD
    assert in_log(home) == [(1, 10.0), (2, -4.0)]
    assert set(pushed_rows(ORDERS, home.log)["_known_us"]) == {clock.now()}
    held = home.quarantine.get(name)
    assert held.ending is not None
    assert (held.state, held.ending.result) == ("released", {"accepted": 2, "corrections": 0, "duplicates": 0})
    assert [each.action for each in home.ledger.decisions()] == ["quarantine", "release"]
    gate(home, clock).check("orders", [GOOD, BAD])  # a client that sends it again is heard
    with pytest.raises(NothingToDecide, match="was released by asha already: the till was wrong"):
        release_batch(home, feed_of(home, clock), ORDERS, name, WORD)
    with pytest.raises(UnknownBatch):
        release_batch(home, feed_of(home, clock), ORDERS, "orders-nothing", WORD)


def test_what_is_discarded_is_gone_and_may_come_again(home: Home, clock: SimulatedClock) -> None:
    name = hold(home, clock, BAD)
    assert discard_batch(home, name, WORD).action == "discard"
    with pytest.raises(NothingToDecide, match="was discarded by asha"):
        release_batch(home, feed_of(home, clock), ORDERS, name, WORD)
    clock.advance_to(clock.now() + 1)
    assert hold(home, clock, BAD) == name
    release_batch(home, feed_of(home, clock), ORDERS, name, WORD)
    assert [each.action for each in home.ledger.decisions()] == ["quarantine", "discard", "quarantine", "release"]
    assert in_log(home) == [(2, -4.0)]


class Crash(Exception):
    """What stands for a process that dies."""


def dies(step: Any, *, after: bool) -> Any:
    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            step(*arguments, **named)
        raise Crash

    return dying


def cut(patch: pytest.MonkeyPatch, home: Home, feed: Feed, step: str, *, after: bool) -> None:
    """Have a release die at a step: right before it, or when it is done and nobody has heard of it."""
    steps: dict[str, tuple[Any, str, Any]] = {
        "begin": (home.quarantine, "end", lambda _, ending: ending.state == "releasing"),
        "decide": (home.ledger, "decide", lambda draft: draft.action == "release"),
        "push": (feed, "push", lambda *_: True),
        "append": (feed._kept._writers["orders"], "append", bool),
        "finish": (home.quarantine, "end", lambda _, ending: ending.state == "released"),
    }
    owner, name, is_it = steps[step]
    real: Any = getattr(owner, name)
    dying = dies(real, after=after)
    patch.setattr(owner, name, lambda *given: dying(*given) if is_it(*given) else real(*given))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["begin", "decide", "push", "append", "finish"])
def test_a_release_that_is_cut_short_at_any_step_goes_on(
    home: Home, clock: SimulatedClock, step: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, feed = hold(home, clock, GOOD, BAD), feed_of(home, clock)
    with monkeypatch.context() as patch:
        cut(patch, home, feed, step, after=after)
        with pytest.raises(Crash):
            release_batch(home, feed, ORDERS, name, WORD)
    began = step != "begin" or after
    clock.advance_to(clock.now() + 5)
    # Somebody mends one of the rows meanwhile. That stands, however far the release had come, once it had begun.
    others = feed_of(home, clock)
    others.push("orders", [(2, "a", NOON, 4.0)])
    if home.quarantine.get(name).state != "released":
        release_batch(home, others, ORDERS, name, Word("ravi", "again", 99))
    logged = in_log(home)
    assert logged.count((1, 10.0)) == logged.count((2, 4.0)) == 1
    assert logged.count((2, -4.0)) <= 1
    assert [amount for order, amount in logged if order == 2][-1] == (4.0 if began else -4.0)
    (released,) = [each for each in home.ledger.decisions() if each.action == "release"]
    assert released.actor == ("asha" if began else "ravi")
    assert home.quarantine.get(name).state == "released"


@pytest.mark.parametrize("number", range(8))
def test_a_release_that_is_killed_applies_each_row_once(tmp_path: Path, clock: SimulatedClock, number: int) -> None:
    rows = [(order, "a", NOON, -1.0) for order in range(1, 4001)]
    with open_home(tmp_path / "home") as home:
        name = hold(home, clock, *rows)
    run_and_kill(release_and_say, tmp_path / "home", name, after_seconds=0.004 * number * number)
    now = SystemClock()  # as the process had that was killed: a clock long behind it takes no rows
    with open_home(tmp_path / "home") as home:
        if home.quarantine.get(name).state != "released":
            release_batch(home, feed_of(home, now), ORDERS, name, WORD)
        assert in_log(home) == [(order, -1.0) for order in range(1, 4001)]
        assert [each.action for each in home.ledger.decisions()] == ["quarantine", "release"]
        assert feed_of(home, now).push("orders", rows).duplicates == 4000


FILES = ck.Source(
    "orders", {"order": int, "amount": float}, ck.parquet("*.parquet"), static=True,
    contract=ck.Contract(fields={"amount": ck.Expect(low=0)}),
)  # fmt: skip


def write(file: Path, *rows: tuple[int, float]) -> None:
    pl.DataFrame(rows, schema=polars_schema(FILES.fields), orient="row").write_parquet(file)


def test_a_file_is_set_aside_and_released_by_decisions(home: Home, tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", (1, 1.0))
    write(tmp_path / "2.parquet", (2, -1.0))
    first = mark_file(home, FILES, tmp_path, "2.parquet", mark="aside", word=WORD)
    assert (first.action, first.model, first.reason) == ("quarantine", "source orders", WORD.reason)
    assert read_rows(FILES, tmp_path, home.log)["order"].to_list() == [1]
    with pytest.raises(NothingToDecide, match=r"file '2\.parquet' of 'orders' was set aside by asha already"):
        mark_file(home, FILES, tmp_path, "2.parquet", mark="aside", word=WORD)
    mark_file(home, FILES, tmp_path, "2.parquet", mark="released", word=WORD)
    assert read_rows(FILES, tmp_path, home.log)["order"].to_list() == [1, 2]
    with pytest.raises(NothingToDecide, match="was released as it is by asha"):
        mark_file(home, FILES, tmp_path, "2.parquet", mark="released", word=WORD)
    write(tmp_path / "2.parquet", (2, -9.0))
    with pytest.raises(FileBreaksContract):
        read_rows(FILES, tmp_path, home.log)
    mark_file(home, FILES, tmp_path, "2.parquet", mark="released", word=WORD)
    mark_file(home, FILES, tmp_path, "2.parquet", mark="aside", word=WORD)
    assert [each.action for each in home.ledger.decisions()] == ["quarantine", "release", "release", "quarantine"]
    with pytest.raises(UnknownFile, match=r"expected one of its files \(1\.parquet, 2\.parquet\), got '3\.parquet'"):
        mark_file(home, FILES, tmp_path, "3.parquet", mark="aside", word=WORD)


def test_a_mark_that_was_cut_short_is_one_decision(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "1.parquet", (1, 1.0))
    with monkeypatch.context() as patch:
        patch.setattr("charkha.features.file_decisions.write_marks", dies(None, after=False))
        with pytest.raises(Crash):
            mark_file(home, FILES, tmp_path, "1.parquet", mark="aside", word=WORD)
    mark_file(home, FILES, tmp_path, "1.parquet", mark="aside", word=Word("ravi", "again", 99))
    assert [each.actor for each in home.ledger.decisions()] == ["asha"]
    assert read_rows(FILES, tmp_path, home.log).is_empty()
