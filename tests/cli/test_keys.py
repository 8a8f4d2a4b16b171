"""`charkha keys`: a key is shown once, its list says what it may, and what cannot be is said in words."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Shell

from charkha.storage.ledger import Ledger

LEDGER = "sqlite:///shop/.charkha/ledger.db"


@pytest.fixture
def keys(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_keyboard: Callable[[str], None]) -> Shell:
    """A shell beside a project."""
    monkeypatch.chdir(tmp_path)
    at_keyboard("asha")
    assert shell("init", "shop").code == 0
    return shell


def run(keys: Shell, *words: str) -> str:
    ended = keys("--project", "shop", "keys", *words)
    assert ended.code == 0, ended.err
    return ended.out


def test_a_key_is_printed_alone_and_once(keys: Shell) -> None:
    made = keys("--project", "shop", "keys", "create", "web", "--role", "predict", "--role", "ingest", "--rate", "2.5")
    assert re.fullmatch(r"ck_[0-9a-f]{12}_[0-9a-f]{64}\n", made.out)
    id_, secret = made.out[3:15], made.out[16:].strip()
    assert made.err.startswith(f"{id_} of web may predict, ingest, 2.5 calls a second.")
    listed = run(keys, "list")
    assert id_ in listed
    assert "usable" in listed
    assert secret not in made.err + listed + run(keys, "list", "--json")
    ledger = Ledger(LEDGER)
    (decision,) = ledger.decisions()
    assert (decision.model, decision.actor, decision.action) == ("key web", "asha", "create")
    ledger.close()


def test_keys_are_told_as_json(keys: Shell) -> None:
    made = keys("--project", "shop", "keys", "create", "web", "--role", "label", "--expires", "90d", "--json").json
    (listed,) = keys("--project", "shop", "keys", "list", "--json").json
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert (listed["roles"], listed["rate"], listed["state"]) == (["label"], None, "usable")
    assert listed["expires"] > listed["created"]
    assert made["key"].startswith(f"ck_{listed['id']}_")


def test_revoking_twice_is_revoking_once(keys: Shell) -> None:
    id_ = run(keys, "create", "web", "--role", "predict")[3:15]
    assert run(keys, "revoke", id_, "--reason", "lost") == f"{id_} is revoked (decision 2)\n"
    assert run(keys, "revoke", id_) == f"{id_} is revoked (decision 2)\n"
    (listed,) = keys("--project", "shop", "keys", "list", "--json").json
    assert listed["state"] == "revoked"
    ledger = Ledger(LEDGER)
    assert [decision.reason for decision in ledger.decisions()] == ["may predict", "lost"]
    ledger.close()


def test_without_keys_the_list_says_how_to_make_one(keys: Shell) -> None:
    assert "charkha keys create NAME --role predict" in run(keys, "list")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("create", "web"), "Missing option '--role'"),
        (("create", "web", "--role", "bake"), "'bake' is not one of"),
        (("create", "a b", "--role", "label"), "name of an API key: expected letters"),
        (("create", "web", "--role", "label", "--expires", "soon"), "expected a duration such as"),
        (("create", "web", "--role", "label", "--expires", "9999999w"), "at most 36500d until it expires"),
        (("create", "web", "--role", "label", "--rate", "0"), "'--rate'"),
        (("create", "web", "--role", "label", "--rate", "nan"), "'--rate'"),
        (("revoke", "none"), "expected the id of an API key, got 'none'"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(keys: Shell, words: tuple[str, ...], expected: str) -> None:
    ended = keys("--project", "shop", "keys", *words)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err
    assert "Traceback" not in ended.err
    assert keys("--project", "shop", "keys", "list", "--json").json == []
