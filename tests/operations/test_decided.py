"""What was decided is read once, and is always what the ledger has."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charkha.operations.decided import Decided
from charkha.storage.ledger import Decision, Draft, Ledger


class Counting(Ledger):
    """A ledger that counts the decisions it was read for."""

    read = 0

    def decisions(self, model: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Decision]:
        found = super().decisions(model, after=after, limit=limit)
        self.read += len(found)
        return found


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Counting]:
    ledger = Counting(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()


def decide(ledger: Ledger, model: str, reason: str = "so") -> None:
    number = ledger.newest_sequence()
    ledger.decide(Draft(f"{reason} {number}", number, model, "operator", "note", reason, {"n": number}))


@given(st.lists(st.sampled_from(["late", "early", "look"]), max_size=12))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_what_the_ledger_has(ledger: Counting, steps: list[str]) -> None:
    decided = Decided(ledger, "late")
    for step in (*steps, "look"):
        if step == "look":
            assert decided.read() == Ledger.decisions(ledger, "late")
        else:
            decide(ledger, step)


def test_only_what_is_new_is_read_again(ledger: Counting) -> None:
    decided = Decided(ledger, "late")
    for _ in range(50):
        decide(ledger, "late")
    decided.read()
    ledger.read = 0
    decide(ledger, "late")
    for _ in range(10):
        assert len(decided.read()) == 51
    assert ledger.read == 11  # the newest that is known each time, and the new one once


def test_what_is_returned_can_be_changed_by_who_asked(ledger: Counting) -> None:
    decide(ledger, "late")
    decided = Decided(ledger, "late")
    decided.read().clear()
    assert len(decided.read()) == 1


@pytest.mark.parametrize("others", [0, 1, 4])
def test_a_backup_in_its_place_is_noticed(ledger: Counting, tmp_path: Path, others: int) -> None:
    for _ in range(4):
        decide(ledger, "late")
    decided = Decided(ledger, "late")
    decided.read()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM decisions WHERE sequence > 2")
    connection.close()
    for _ in range(others):
        decide(ledger, "late", "another")
    assert decided.read() == Ledger.decisions(ledger, "late")
    assert len(decided.read()) == 2 + others
