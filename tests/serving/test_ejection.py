"""A replica that is ejected asks to be replaced; its successor, which has the same name, does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from charkha.serving.ejection import Ejection
from charkha.storage.ledger import EJECT, Draft, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield ledger
    ledger.close()


def eject(ledger: Ledger, replica: str, number: int = 1) -> None:
    draft = Draft(f"e{number}", 1, "late", "operator", EJECT, "its scores are wrong", {"replica": replica})
    ledger.decide(draft)


def test_only_the_one_that_is_named_asks(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    named = Ejection(ledger, "web/w1", lambda: ended.append("w1"))
    other = Ejection(ledger, "web/w0", lambda: ended.append("w0"))
    assert (named.refresh(), other.refresh()) == (False, False)
    ledger.decide(Draft("x", 1, "late", "asha", "kill", "stop", {}))
    assert not named.refresh()
    eject(ledger, "web/w1")
    assert (named.refresh(), other.refresh(), named.refresh()) == (True, False, False)
    assert ended == ["w1"]
    monkeypatch.setattr("charkha.serving.ejection.AGAIN_SECONDS", 0.0)
    ledger.decide(Draft("e2", 1, "late", "operator", EJECT, "again", {"replica": "web/w1"}))
    assert (named.refresh(), named.refresh()) == (True, True)  # until it is replaced


def test_who_starts_after_it_is_not_meant(ledger: Ledger) -> None:
    eject(ledger, "web/w1")
    successor = Ejection(ledger, "web/w1", lambda: pytest.fail("it was not meant"))
    assert not successor.refresh()
    assert successor.problems() == {}
