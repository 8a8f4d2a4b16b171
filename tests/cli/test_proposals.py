"""`charkha proposals`: what waits for a person is listed, and answered."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Shell

from charkha.storage.home import open_home
from charkha.storage.ledger import Draft

KEY = "likes/promote/v3/0/proposed"


@pytest.fixture
def shop(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in whose home the operator proposes to promote v3."""
    monkeypatch.chdir(tmp_path)
    assert shell("init", "shop").code == 0
    monkeypatch.chdir(tmp_path / "shop")
    evidence = {"proposes": "promote v3", "generation": 0, "not_by": ["asha"], "version": "v3"}
    with open_home(tmp_path / "shop" / ".charkha") as home:
        home.ledger.decide(Draft(KEY, 5, "likes", "operator", "propose", "promote v3? it is better", evidence))
    return tmp_path / "shop"


def test_a_proposal_is_listed_and_approved_once(shell: Shell, shop: Path) -> None:
    listed = shell("proposals")
    assert "likes/promote/v3/0 " in listed.out
    assert "promote v3? it is better" in listed.out
    approved = shell("proposals", "approve", "likes", "--reason", "fine", "--json")
    assert (approved.code, approved.json["action"], approved.json["evidence"]["proposal"]) == (0, "approve", KEY)
    assert "no proposal waits" in shell("proposals", "likes").out
    assert [each["answer"] for each in shell("proposals", "--all", "--json").json] == ["approved"]
    declined = shell("proposals", "decline", "likes", "--step", "likes/promote/v3/0", "--reason", "no")
    assert (declined.code, "was approved already, by" in declined.err) == (1, True)


def test_the_author_cannot_approve(shell: Shell, shop: Path, at_keyboard: Callable[[str], None]) -> None:
    at_keyboard("asha")
    refused = shell("proposals", "approve", "likes", "--reason", "mine")
    assert refused.code == 1
    assert "two persons have to agree" in refused.err
    assert shell("proposals", "decline", "likes", "--reason", "a bug").code == 0
