"""Other rules for a version: what stays to the bit, what is refused before anything is made, and death at any step."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest
from attrs import evolve
from operator_world import Killed, mortal

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.monitoring.collect import collect
from charkha.monitoring.rule_change import difference, last_predictions, redecided
from charkha.operations.deploy import DeploymentRefused, rollback
from charkha.operations.rule_sets import Applied, RulesRefused, Wish, apply_rules, rule_types, tried, with_rules
from charkha.operations.two_persons import promote_by_hand
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Assignment, VersionRow

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from serving_project import MODEL, NOW_US, Stage, champion, deploy, open_stage, rule, write_bundle

FAR = ck.Rule("far", pl.col("km") > 100)
OLD = (rule("far", pl.col("km") > 300), rule("pooled", pl.col("pooled"), decide=False))
NEW = (FAR, ck.Rule("sure", ck.score() > 0.2, decide=False, shadow=True))
WISH = Wish(actor="asha", reason="the road is closed")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, rules=OLD) as stage:
        record(stage.home, "v1")
        yield stage


def record(home: Home, version: str) -> None:
    home.ledger.next_version(MODEL, version)
    home.ledger.record_version(VersionRow(MODEL, version, NOW_US, "0", "0", version, {}, "accepted"))


def ruled(stage: Stage, *rules: ck.Rule) -> Model:
    return evolve(stage.project.models[MODEL], rules=rules)


def applied(stage: Stage, *rules: ck.Rule, wish: Wish = WISH, origin: str = "v1") -> Applied:
    return apply_rules(stage.home, stage.clock, ruled(stage, *rules), origin, wish)


def test_everything_but_the_rules_stays_to_the_bit(stage: Stage) -> None:
    done, bundles = applied(stage, *NEW), BundleStore(stage.home.bundles)
    old, new = bundles.read(MODEL, "v1"), bundles.read(MODEL, done.version)
    assert (done.version, new.state) == ("v2", old.state)
    assert [each.name for each in new.rules.declared] == ["far", "sure"]
    lineage = msgspec.structs.replace(new.manifest.lineage, rules_applied=None)
    undone = {"version": "v1", "rules": old.manifest.rules, "lineage": lineage, "format": old.manifest.format}
    assert msgspec.structs.replace(new.manifest, **undone, created_us=old.manifest.created_us) == old.manifest
    told = new.manifest.lineage.rules_applied
    assert told is not None
    assert (told.version, told.by) == ("v1", "asha")
    assert "it is v1 with other rules, applied by asha" in bundles.card(MODEL, "v2")
    row = stage.home.ledger.version(MODEL, "v2")
    assert (row.digest, row.status) == (bundles.verify(MODEL, "v2"), "accepted")
    assert (done.decision.action, done.decision.reason) == ("promote", "the road is closed")


def test_it_takes_the_champions_place_and_can_be_rolled_back(stage: Stage) -> None:
    for version in ("w1", "w2"):
        write_bundle(stage.project, stage.home, version)
    beside = (Assignment("w1", "challenger", 0.25), Assignment("w2", "shadow"))
    deploy(stage.home, Assignment("v1", "champion", 0.75), *beside)
    applied(stage, *NEW)
    assert stage.home.ledger.deployment(MODEL).assignments == (Assignment("v2", "champion", 0.75), *beside)
    rollback(stage.home, stage.clock, MODEL, actor="asha", reason="it is open again")
    assert stage.home.ledger.deployment(MODEL).assignments == (champion("v1"),)
    assert applied(stage, *NEW).version == "v2"


def test_a_set_of_rules_scores_in_shadow_and_decides_nothing(stage: Stage) -> None:
    applied(stage, *NEW, wish=evolve(WISH, role="shadow"))
    stage.service.refresh()
    (reply,) = stage.service.answer([stage.service.ask_rows(MODEL, [("Pune", 200.0, 2, False)])])
    assert (reply.rules, reply.decisions) == ([()], [False])
    collect(stage.home, stage.project.models[MODEL], BundleStore(stage.home.bundles))
    ours, theirs = (last_predictions(stage.home, MODEL, version) for version in ("v1", "v2"))
    assert (ours["rules"].to_list(), theirs["rules"].to_list()[0][0]) == ([[]], "far")
    assert (theirs["role"].to_list(), theirs["score"].to_list()) == (["shadow"], ours["score"].to_list())


@pytest.mark.parametrize(
    ("rules", "wish", "says"),
    [
        ([ck.Rule("odd", pl.col("home.km") > 1)], WISH, "rule 'odd' reads 'home.km', which v1 was not trained with"),
        ([ck.Rule("odd", pl.col("city") + 1)], WISH, "rule 'odd'"),
        ([ck.Rule("odd", pl.col("km") + 1)], WISH, "expected a boolean of what v1 has, got Float64"),
        ([FAR], evolve(WISH, reason=" "), "expected who does this and why"),
        ([FAR], evolve(WISH, role="challenger", share=1.5), "expected a share above 0 and below 1"),
    ],
)
def test_what_is_refused_makes_no_version(stage: Stage, rules: list[ck.Rule], wish: Wish, says: str) -> None:
    before = stage.home.ledger.deployment(MODEL)
    with pytest.raises((RulesRefused, DeploymentRefused), match=says):
        applied(stage, *rules, wish=wish)
    assert BundleStore(stage.home.bundles).versions(MODEL) == ["v1"]
    assert stage.home.ledger.deployment(MODEL) == before


def test_where_two_persons_have_to_agree_who_makes_rules_does_not_promote_them_alone(stage: Stage) -> None:
    stage.home.ledger.begin_run("by hand", "train", MODEL, 1)
    stage.home.ledger.finish_run("by hand", 2, "done", {"version": "v1", "by": "bela"})
    model = ruled(stage, *NEW)
    model = evolve(model, rollout=model.rollout >> ck.approval())

    def apply(wish: Wish) -> Applied:
        return apply_rules(stage.home, stage.clock, model, "v1", wish)

    with pytest.raises(DeploymentRefused, match="expected somebody else than asha"):
        apply(WISH)
    assert [row.version for row in stage.home.ledger.versions(MODEL)] == ["v1"]
    shadow = apply(evolve(WISH, role="shadow"))
    for actor in ("asha", "bela"):  # who made the rules, and who trained what they were put on
        with pytest.raises(DeploymentRefused, match="two persons have to agree"):
            promote_by_hand(stage.home, stage.clock, model, shadow.version, actor=actor, reason="good")
    done = apply(evolve(WISH, break_glass=True))
    assert done.version == shadow.version
    assert done.decision.evidence["break_glass"] == {"by": "asha", "authors": ["asha", "bela"]}


def test_rules_that_it_has_already_are_refused(stage: Stage) -> None:
    same = (ck.Rule("far", pl.col("km") > 300), ck.Rule("pooled", pl.col("pooled"), decide=False))
    with pytest.raises(DeploymentRefused, match="v1 has these rules already"):
        applied(stage, *same)


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.parametrize("after", [True, False])
def test_killed_at_any_step_the_same_command_goes_on(stage: Stage, deaths: int, after: bool) -> None:
    dying = evolve(stage, home=mortal(stage.home, deaths, after=after))
    with pytest.raises(Killed):
        applied(dying, *NEW)
    if deaths == 2 and after:
        with pytest.raises(DeploymentRefused, match="v2 is the champion already"):
            applied(stage, *NEW)
    else:
        assert applied(stage, *NEW).version == "v2"
    deployment, ledger = stage.home.ledger.deployment(MODEL), stage.home.ledger
    assert (deployment.assignments, deployment.generation) == ((champion("v2"),), 2)
    assert [row.version for row in ledger.versions(MODEL)] == ["v1", "v2"]
    assert [each.action for each in ledger.decisions(MODEL)] == ["deploy", "promote"]


def test_what_would_have_been_decided_otherwise(stage: Stage) -> None:
    rows = [("Pune", 1.0, 2, False), ("Pune", 200.0, 2, False), ("Pune", 400.0, 2, None), ("Pune", 500.0, 2, True)]
    for row in rows:
        stage.service.answer([stage.service.ask_rows(MODEL, [row])])
    bundles, model = BundleStore(stage.home.bundles), ruled(stage, ck.Rule("mid", pl.col("km").is_between(100, 450)))
    collect(stage.home, model, bundles)
    old, served = bundles.read(MODEL, "v1"), last_predictions(stage.home, MODEL, "v1")
    new = tried(old, with_rules(model, old, "asha"))
    found = redecided(old, new, rule_types(old.plan), served)
    assert (found.predictions, found.unlike, found.to_yes, found.to_no) == (4, 0, 1, 1)
    assert (found.hits, found.ids) == ({"mid": 2}, (served["id"][3], served["id"][1]))
    odd = served.with_columns(rules=pl.lit(["far"], dtype=pl.List(pl.String)))
    assert redecided(old, new, rule_types(old.plan), odd).unlike == 3
    assert redecided(old, new, rule_types(old.plan), served.clear()).predictions == 0


def test_how_two_sets_of_rules_differ() -> None:
    a, b, c = (rule(name, pl.col("km") > 1) for name in "abc")
    changed = rule("b", pl.col("km") > 2)
    found = difference((a, b), (c, changed, a))
    assert (found.added, found.removed, found.changed, found.moved) == (("c",), (), ("b",), True)
    found = difference((a, b), (b,))
    assert (found.added, found.removed, found.changed, found.moved) == ((), ("a",), (), False)
