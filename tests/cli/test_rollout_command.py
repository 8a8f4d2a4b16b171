"""`charkha rollout`: begun, looked at, ended and approved by hand."""

import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from command_line import Shell, trained_shop

from charkha.bundles.store import BundleStore
from charkha.cli.session import person
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Draft, VersionRow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_shop(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def shop(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose champion is v1, and that has a v2 of the same kind which waits."""
    folder = shutil.copytree(trained, tmp_path / "shop")
    monkeypatch.chdir(folder)
    with open_home(folder / ".charkha") as home:
        add_version(home, "v2")
    return folder


def add_version(home: Home, version: str) -> None:
    bundles = BundleStore(home.bundles)
    row = home.ledger.version("likes", "v1")
    first = bundles.read("likes", "v1")
    manifest = msgspec.structs.replace(first.manifest, version=version)
    bundles.write(manifest, (bundles.path("likes", "v1") / "estimator.bin").read_bytes(), "a card")
    digest = bundles.verify("likes", version)
    home.ledger.record_version(
        VersionRow("likes", version, row.created_us + 1, digest, row.fingerprint, version, {}, "accepted")
    )


def test_a_rollout_is_begun_looked_at_and_aborted(shell: Shell, shop: Path) -> None:
    none = shell("rollout", "status", "likes", "--json")
    assert (none.json["stage"], none.json["version"]) == ("candidate", None)
    begun = shell("rollout", "start", "likes", "v2", "--reason", "new films")
    assert (begun.code, "the rollout of v2 of likes begins: shadow" in begun.out) == (0, True)
    found = shell("rollout", "status", "likes", "--json").json
    assert (found["stage"], found["version"], found["champion"]) == ("shadow", "v2", "v1")
    assert found["shadow"]["requests"] == 0
    shown = shell("rollout", "status", "likes").out
    assert "v2 beside v1, started by" in shown
    assert "a limit of the shadow that breaks: rejected" in shown
    again = shell("rollout", "start", "likes", "v2", "--reason", "again")
    assert (again.code, "v2 is a shadow already" in again.err) == (1, True)
    aborted = shell("rollout", "abort", "likes", "--reason", "complaints")
    assert (aborted.code, "the rollout of v2 of likes is aborted" in aborted.out) == (0, True)
    assert "v2 rolled back by" in shell("rollout", "status", "likes").out
    nothing = shell("rollout", "abort", "likes", "--reason", "again")
    assert (nothing.code, "expected a rollout under way, found none" in nothing.err) == (1, True)


def test_promoted_by_hand(shell: Shell, shop: Path) -> None:
    assert shell("rollout", "start", "likes", "v2", "--reason", "new films").code == 0
    promoted = shell("rollout", "promote", "likes", "--reason", "tonight", "--json")
    assert (promoted.json["action"], promoted.json["evidence"]["version"]) == ("promote", "v2")


def test_what_is_proposed_is_approved(shell: Shell, shop: Path) -> None:
    assert shell("rollout", "start", "likes", "v2", "--reason", "new films").code == 0
    with open_home(shop / ".charkha") as home:
        generation = home.ledger.deployment("likes").generation
        key = f"likes/promote/v2/{generation}/proposed"
        evidence = {"proposes": "promote v2", "generation": generation, "not_by": [], "version": "v2"}
        home.ledger.decide(Draft(key, 5, "likes", "operator", "propose", "promote v2? it is better", evidence))
    assert shell("rollout", "status", "likes", "--json").json["stage"] == "shadow; needs a person"
    approved = shell("rollout", "approve", "likes", "--reason", "fine", "--json")
    assert (approved.json["action"], approved.json["evidence"]["proposal"]) == ("approve", key)
    refused = shell("rollout", "approve", "likes", "--decline", "--reason", "no")
    assert (refused.code, "expected the key of a proposal" in refused.err) == (1, True)


def declare_approval(shop: Path, *, two_persons: bool = True) -> None:
    """Have the definition ask for an approval, and asha have trained v2."""
    definition = shop / "definition.py"
    declared = f'ck.compare("log_loss") >> ck.approval(two_persons={two_persons})'
    definition.write_text(definition.read_text().replace('ck.compare("log_loss")', declared))
    with open_home(shop / ".charkha") as home:
        home.ledger.begin_run("by hand", "train", "likes", 1)
        home.ledger.finish_run("by hand", 2, "done", {"version": "v2", "passed": True, "by": "asha"})


def test_whoever_made_a_version_promotes_it_alone_with_broken_glass_only(
    shell: Shell, shop: Path, at_keyboard: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_approval(shop)
    at_keyboard("asha")
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "bob")
    refused = shell("promote", "likes", "v2", "--reason", "mine")
    assert (refused.code, "expected somebody else than asha" in refused.err) == (1, True)
    assert "--break-glass" in refused.err
    alone = shell("promote", "likes", "v2", "--reason", "nobody is awake", "--break-glass", "--json").json
    assert (alone["actor"], alone["evidence"]["break_glass"]) == ("asha", {"by": "asha", "authors": ["asha"]})
    assert "promote (break-glass)" in shell("history").out


@pytest.mark.parametrize(("who", "two_persons"), [("bob", True), ("asha", False)])
def test_another_person_or_one_where_one_is_enough_breaks_no_glass(
    shell: Shell, shop: Path, at_keyboard: Callable[[str], None], who: str, two_persons: bool
) -> None:
    declare_approval(shop, two_persons=two_persons)
    at_keyboard(who)
    done = shell("promote", "likes", "v2", "--reason", "fine", "--break-glass", "--json").json
    assert (done["actor"], "break_glass" in done["evidence"]) == (who, False)
    assert "break-glass" not in shell("history").out


def test_whoever_began_the_rollout_does_not_get_around_it(
    shell: Shell, shop: Path, at_keyboard: Callable[[str], None]
) -> None:
    declare_approval(shop)
    at_keyboard("bob")
    assert shell("rollout", "start", "likes", "v2", "--reason", "new films").code == 0
    for words in (("promote", "likes", "v2"), ("rollout", "promote", "likes")):
        refused = shell(*words, "--reason", "now")
        assert (refused.code, "expected somebody else than asha and bob" in refused.err) == (1, True)


def test_a_person_is_whose_process_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody else")
    assert person() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)
    assert person() == f"uid {2**31 - 7}"
