"""The lease: one leads, the next takes over, and whoever was overtaken changes nothing any more."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from charkha.storage.ledger import Draft, Lease, LeaseLost, Ledger, Revision, VersionRow
from charkha.storage.processes import Process

NAME = "operator-lease"
HERE = Process("host", "1", 7, "99")
DRAFT = Draft("key", 5, "late", "operator", "train", "due", {})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


def lease(holder: str, since_us: int, *, lasts_us: int = 10) -> Lease:
    return Lease(term=0, holder=holder, process=HERE, since_us=since_us, renewals=0, until_us=since_us + lasts_us)


def test_nobody_leads_at_first(ledger: Ledger) -> None:
    assert ledger.lease(NAME) is None


def test_one_leads_until_its_lease_has_lapsed(ledger: Ledger) -> None:
    first = ledger.take_lease(NAME, lease("a", 100))
    assert (first.term, first.holder) == (1, "a")
    assert ledger.take_lease(NAME, lease("b", 109)) == first
    second = ledger.take_lease(NAME, lease("b", 110))
    assert (second.term, second.holder) == (2, "b")
    assert ledger.lease(NAME) == second


def test_a_renewal_keeps_others_away_and_a_given_up_lease_is_free(ledger: Ledger) -> None:
    first = ledger.renew_lease(NAME, ledger.take_lease(NAME, lease("a", 100)), 130)
    assert (first.renewals, ledger.take_lease(NAME, lease("b", 120)).holder) == (1, "a")
    ledger.renew_lease(NAME, first, 0)
    assert ledger.take_lease(NAME, lease("b", 101)).term == 2


def test_a_lease_seen_dead_is_taken_only_as_it_was_seen(ledger: Ledger) -> None:
    seen = ledger.take_lease(NAME, lease("a", 100))
    renewed = ledger.renew_lease(NAME, seen, 120)
    assert ledger.take_lease(NAME, lease("b", 101), dead=seen) == renewed
    assert ledger.take_lease(NAME, lease("b", 101), dead=renewed).holder == "b"


def test_the_overtaken_cannot_renew(ledger: Ledger) -> None:
    first = ledger.take_lease(NAME, lease("a", 100))
    ledger.take_lease(NAME, lease("b", 110))
    with pytest.raises(LeaseLost, match="expected to lead in term 1, but process 7 on host, in term 2 leads; nothing"):
        ledger.renew_lease(NAME, first, 200)


ROW = VersionRow("late", "v1", 0, "", "", "run", {}, "accepted")
WRITES: dict[str, Callable[[Ledger], Any]] = {
    "decide": lambda ledger: ledger.decide(DRAFT),
    "begin_run": lambda ledger: ledger.begin_run("run", "training", "late", 1),
    "note_run": lambda ledger: ledger.note_run("run", {"step": "fitting"}),
    "finish_run": lambda ledger: ledger.finish_run("run", 2, "done", {}),
    "next_version": lambda ledger: ledger.next_version("late", "run"),
    "record_version": lambda ledger: ledger.record_version(ROW),
    "set_checkpoint": lambda ledger: ledger.set_checkpoint("place", {"at": 1}),
    "revise_incidents": lambda ledger: ledger.revise_incidents("late", lambda known: list[Revision]()),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_behind_the_fence_nothing_is_written_once_another_leads(ledger: Ledger, write: Callable[[Ledger], Any]) -> None:
    ledger.begin_run("run", "training", "late", 1)
    term: list[int | None] = [None]
    fenced = ledger.fenced(NAME, lambda: term[0])
    write(fenced)  # one that never led is not held to it
    term[0] = ledger.take_lease(NAME, lease("a", 100)).term
    write(fenced)
    # It has lapsed, and nobody has taken it: nothing can go wrong yet.
    ledger.take_lease(NAME, lease("b", 200))
    with pytest.raises(LeaseLost):
        write(fenced)
    write(ledger)


def test_reading_needs_no_lead(ledger: Ledger) -> None:
    term = ledger.take_lease(NAME, lease("a", 100)).term
    fenced = ledger.fenced(NAME, lambda: term)
    fenced.decide(DRAFT)
    ledger.take_lease(NAME, lease("b", 200))
    with pytest.raises(LeaseLost):
        fenced.decide(evolve(DRAFT, key="another"))
    assert [each.key for each in fenced.decisions()] == ["key"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Iterator[int]]]:
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('lease') / 'ledger.db'}")
    yield ledger, count()
    ledger.close()


# What two operators do, each with a clock of its own, which may be anywhere.
ACTIONS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["take", "renew", "write"]), st.integers(0, 60)), max_size=25
)


@given(ACTIONS)
def test_whatever_the_clocks_say_only_the_newest_term_writes(
    shared: tuple[Ledger, Iterator[int]], actions: list[tuple[str, str, int]]
) -> None:
    ledger, numbers = shared
    name = f"lease-{next(numbers)}"
    mine: dict[str, Lease] = {}
    newest = 0
    for who, action, now_us in actions:
        leads = who in mine and mine[who].term == newest
        if action == "take":
            found = ledger.take_lease(name, lease(who, now_us))
            if found.term > newest:
                assert found.holder == who
                mine[who], newest = found, found.term
        elif who in mine:
            fenced = ledger.fenced(name, lambda term=mine[who].term: term)  # type: ignore[misc]
            try:
                if action == "renew":
                    mine[who] = ledger.renew_lease(name, mine[who], now_us + 10)
                else:
                    fenced.decide(evolve(DRAFT, key=str(next(numbers))))
            except LeaseLost:
                assert not leads
            else:
                assert leads
