"""`charkha runs` and `charkha operate --once` by the command line, on real ratings."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Shell, trained_shop

from charkha.clock import SystemClock
from charkha.operations.lease import Leadership
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Draft

KEY = "likes/train/1"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_shop(tmp_path_factory.mktemp("shops"))


@pytest.fixture
def home(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with one version trained by hand, and a training that an operator began and left."""
    monkeypatch.chdir(shutil.copytree(shop, tmp_path / "shop"))
    with open_home(tmp_path / "shop" / ".charkha") as home:
        now_us = SystemClock().now()
        home.ledger.decide(Draft(KEY, now_us, "likes", "operator", "train", "due", {"champion": "v1"}))
        home.ledger.begin_run(KEY, "training", "likes", now_us)
        home.ledger.note_run(KEY, {"pid": 4711, "host": "here", "step": "fitting lightgbm on 9,000 rows"})
        yield home


@pytest.mark.usefixtures("home")
def test_runs_are_listed_and_shown(shell: Shell) -> None:
    by_hand, by_operator = shell("runs", "--json").json
    assert (by_hand["state"], by_hand["result"]["version"]) == ("done", "v1")
    assert (by_operator["key"], by_operator["state"], by_operator["tries"]) == (KEY, "running", 1)
    listed = shell("runs", "list", "likes").out
    assert re.search(r"likes/train/1 +training +running +20.* 1 +fitting lightgbm on 9,000 rows", listed)
    assert len(shell("runs", "--limit", "1", "--json").json) == 1
    shown = shell("runs", "show", KEY).out
    assert "note: pid     4711" in shown
    assert shell("runs", "show", KEY, "--json").json == by_operator
    assert "running   likes/train/1: fitting lightgbm on 9,000 rows" in shell("status").out


def test_a_run_is_cancelled_and_the_operator_heeds_it(shell: Shell, home: Home) -> None:
    cancelled = shell("runs", "cancel", KEY, "--reason", "the feed was broken")
    assert (cancelled.code, "likes/train/1 is cancelled; the operator ends it" in cancelled.out) == (0, True)
    assert shell("runs", "--json").json[1]["state"] == "being cancelled"
    once = shell("operate", "likes", "--once", "--steps", "training")
    assert (once.code, "likes: cancel, the feed was broken" in once.out) == (0, True)
    assert shell("runs", "--json").json[1]["state"] == "cancelled"
    again = shell("runs", "cancel", KEY, "-m", "once more")
    assert again.code == 1
    assert "expected one that runs, but it is cancelled" in again.err
    assert [each.action for each in home.ledger.decisions("likes")] == ["promote", "train", "cancel"]


@pytest.mark.usefixtures("home")
def test_an_unknown_run_is_named(shell: Shell) -> None:
    for command in (["show", "likes/train/9"], ["cancel", "likes/train/9", "-m", "why not"]):
        ended = shell("runs", *command)
        assert (ended.code, "likes/train/9" in ended.err) == (2, True)


@pytest.mark.usefixtures("home")
def test_only_steps_of_a_kind_are_taken(shell: Shell) -> None:
    """What is to go on with is a training: a task for the rollout leaves it."""
    ended = shell("operate", "likes", "--once", "--steps", "rollout")
    assert "likes: nothing to do" in ended.out
    assert shell("operate", "likes").code == 2


def test_an_operator_that_leads_is_named_and_others_wait_for_their_turn(shell: Shell, home: Home) -> None:
    assert "operator  none leads: charkha operate" in shell("status").out
    with Leadership(home.ledger, SystemClock()).held(threading.Event()):
        assert re.search(r"operator  process \d+ on \S+ leads since 20.*Z, term 1", shell("status").out)
        at_once = shell("operate", "--once")
        assert (at_once.code, at_once.out) == (0, "another operator leads in this home: nothing done\n")
        assert shell("operate", "--once", "--wait", "0.1").code == 1
