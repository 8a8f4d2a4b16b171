"""`charkha rules`: what it says of what was served, and what it says where there is nothing yet."""

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from command_line import Shell

from charkha.cli import status
from charkha.spec.durations import DAY_US
from charkha.spec.rules import score
from charkha.storage.ledger import Assignment, VersionRow

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from serving_project import DEFINITION, MODEL, NOW_US, Stage, open_stage, rule

RULES = (
    rule("far", pl.col("km") > 100),
    rule("likely", score() > 0.9, decide=False),
    rule("watch", pl.col("km") > 10, shadow=True),
)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.chdir(tmp_path)
    with open_stage(tmp_path, rules=RULES) as stage:
        yield stage


@pytest.fixture
def shell(stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell an hour later than the clock of the stage."""
    monkeypatch.setattr(status, "now", lambda: NOW_US + DAY_US)
    return shell


def serve(stage: Stage, *km: float) -> list[str]:
    rows = [("Pune", each, 2, True) for each in km]
    return stage.service.answer([stage.service.ask_rows(MODEL, rows)])[0].ids


def test_it_says_what_the_rules_did(stage: Stage, shell: Shell) -> None:
    ids = serve(stage, 1.0, 50.0, 500.0, 700.0)
    stage.service.label(MODEL, ids, [0.0, 1.0, 1.0, 0.0])
    found = shell("rules", MODEL)
    assert (found.code, found.err) == (0, "")
    lines = [line.split() for line in found.out.splitlines()]
    assert found.out.startswith("late_trip v1: 4 predictions, 4 with a label that has matured")
    assert ["far", "yes", "2", "50.00%", "0", "2", "2", "50.0%", "1", "1", "1"] in lines
    assert ["likely", "no,", "by", "the", "score", "0", "0.00%", "0", "0", "0"] in lines
    assert ["watch", "yes,", "in", "shadow", "3", "75.00%", "0", "3", "3", "66.7%", "2", "1", "0"] in lines
    assert ["the", "rules", "alone", "2", "1", "1", "1", "50.0%", "50.0%"] in lines
    plain = shell("rules", MODEL, "--json").json
    assert (plain["version"], plain["predictions"], len(plain["rules"])) == ("v1", 4, 3)
    assert [line["who"] for line in plain["deciders"]][-1] == "with rules in shadow"


def test_it_says_why_there_is_nothing_to_say(stage: Stage, shell: Shell) -> None:
    assert "nothing predicted yet in this time: charkha serve answers" in shell("rules", MODEL).out
    serve(stage, 500.0)
    assert "no label has matured: they count 1h after the prediction" in shell("rules", MODEL).out
    assert "nothing predicted yet" in shell("rules", MODEL, "--since", "2h").out
    assert "0 predictions" not in shell("rules", MODEL, "--since", "2d").out


def test_what_it_cannot_do_it_says(shell: Shell) -> None:
    for arguments, says in (
        (["--since", "soon"], 'expected a duration such as "30s"'),
        (["--version", "v9"], "v9"),
    ):
        ended = shell("rules", MODEL, *arguments)
        assert (ended.code, says in ended.err) == (2, True)
    ended = shell("rules", "how_far")
    assert (ended.code, "charkha train" in ended.err or "no version" in ended.err) == (1, True)


def declare(stage: Stage, rules: str) -> None:
    declared = f'rules=[{rules}],\n    purpose="operations",'
    text = DEFINITION.replace('purpose="operations",', declared, 1)
    (stage.project.root / "definition.py").write_text(text)


def test_other_rules_are_tried_and_then_applied(stage: Stage, shell: Shell) -> None:
    stage.home.ledger.next_version(MODEL, "v1")
    stage.home.ledger.record_version(VersionRow(MODEL, "v1", NOW_US, "0", "0", "v1", {}, "accepted"))
    serve(stage, 1.0, 50.0, 500.0)
    declare(stage, 'ck.Rule("far", pl.col("km") > 10), ck.Rule("near", pl.col("km") < 1)')
    tried = shell("rules", "apply", MODEL, "--dry-run")
    assert (tried.code, tried.err) == (0, "")
    for said in (
        "added: near",
        "removed: likely, watch",
        "changed: far",
        "3 predictions 1 would",
        "far would have held",
    ):
        assert said in tried.out
    assert shell("rules", "apply", MODEL, "--dry-run", "--json").json["decided"]["to_yes"] == 1
    assert [row.version for row in stage.home.ledger.versions(MODEL)] == ["v1"]
    done = shell("rules", "apply", MODEL, "--role", "shadow", "--reason", "to see")
    assert (done.code, done.out.startswith("v2, v1 with the rules of the definition, is a shadow")) == (0, True)
    stage.service.refresh()
    serve(stage, 50.0)
    plain = shell("rules", MODEL, "--json").json
    assert [(each["version"], each["predictions"]) for each in plain["beside"]] == [("v2", 1)]
    assert "late_trip v2: 1 predictions" in shell("rules", MODEL).out
    assert "expected why, for the ledger" in shell("rules", "apply", MODEL).err
    declare(stage, 'ck.Rule("far", pl.col("km") > 10), ck.Rule("near", pl.col("km") < 1)')
    assert "expected a share" not in shell("rules", "apply", MODEL, "--reason", "good").err
    assert stage.home.ledger.deployment(MODEL).assignments == (Assignment("v2", "champion", 1.0),)
