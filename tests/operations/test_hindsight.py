"""Questions to the ledger of a world that was lived through: what was, why, and would it be decided so again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from operator_world import DAYS, FIRST_DAY, NAME, Traffic, make_operator, make_project, midnight

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.monitoring.outcomes import OutcomeReader
from charkha.monitoring.performance import Span
from charkha.operations.hindsight.alternatives import Alternative
from charkha.operations.hindsight.as_of import LedgerAsOf, WouldDecide, home_as_of
from charkha.operations.hindsight.explain import evidence_in_words, explain
from charkha.operations.hindsight.otherwise import _Measure, _parts, otherwise
from charkha.operations.hindsight.rerun import rerun
from charkha.operations.hindsight.standing import standing_at
from charkha.operations.kill import kill, revive
from charkha.spec.durations import HOUR_US
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Decision, Draft


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose operator has watched over 40 days, with a turn in their middle."""
    made = make_project(tmp_path_factory.mktemp("lived"))
    clock = SimulatedClock(midnight(FIRST_DAY))
    with open_home(made.home) as home:
        operator, traffic = make_operator(made, home, clock), Traffic(made, home, clock)
        for day in range(FIRST_DAY, DAYS):
            clock.advance_to(midnight(day))
            operator.tick(NAME)
            traffic.day(day)
    return made


@pytest.fixture
def home(project: Project) -> Iterator[Home]:
    with open_home(project.home) as opened:
        yield opened


def decided(home: Home, action: str) -> list[Decision]:
    return [each for each in home.ledger.decisions(NAME) if each.action == action]


def test_every_decision_of_the_operator_would_be_made_again(project: Project, home: Home) -> None:
    for decision in home.ledger.decisions(NAME):
        again = rerun(project, home, decision, midnight(DAYS))
        assert (decision.key, again.verdict, again.differing) == (decision.key, "equal", ())
        assert again.again is not None
        assert again.again.reason == decision.reason
    assert {each.action for each in home.ledger.decisions(NAME)} == {
        "train",
        "train_refused",
        "reject",
        "shadow",
        "promote",
    }


def test_another_definition_decides_otherwise_and_it_is_said(project: Project, home: Home) -> None:
    import charkha as ck

    promoted = decided(home, "promote")[-1]
    model = evolve(project.models[NAME], rollout=ck.shadow("30d") >> ck.compare("log_loss"))
    again = rerun(evolve(project, models={NAME: model}), home, promoted, midnight(DAYS))
    assert (again.verdict, again.again) == ("differs", None)
    assert any("the definition has changed since v" in each for each in again.unseen)


def test_changed_rows_show_as_other_figures(project: Project, home: Home) -> None:
    promoted = decided(home, "promote")[-1]

    class Bent:
        def __getattr__(self, name: str) -> object:
            return getattr(home.tables, name)

        def read(self, table: str, part: str) -> pl.DataFrame:
            rows = home.tables.read(table, part)
            bent = pl.when(pl.col("version") == promoted.evidence["champion"]).then(0.9999).otherwise("score")
            return rows.with_columns(score=bent) if table.startswith("predictions") else rows

    bent: Any = Bent()
    again = rerun(project, evolve(home, tables=bent), promoted, midnight(DAYS))
    assert again.verdict == "same_step"
    assert "champion_loss.value" in [each.name for each in again.differing]


def test_what_retention_took_is_said_to_be_gone(project: Project, home: Home) -> None:
    promoted = decided(home, "promote")[-1]

    class Emptied:
        def __getattr__(self, name: str) -> object:
            return getattr(home.tables, name)

        def parts(self, table: str) -> list[str]:
            return []

    late = midnight(DAYS + 500)
    emptied: Any = Emptied()
    again = rerun(project, evolve(home, tables=emptied), promoted, late)
    assert again.verdict == "unseen"
    assert any(each.startswith("no longer kept: predictions before 2013-") for each in again.unseen)


def test_what_a_person_decided_follows_from_no_rule(project: Project, home: Home) -> None:
    by_hand = evolve(decided(home, "promote")[-1], actor="asha")
    assert rerun(project, home, by_hand, midnight(DAYS)).verdict == "not_by_rule"


def test_the_past_has_nothing_of_what_came_later_and_cannot_be_written(home: Home) -> None:
    for decision in home.ledger.decisions(NAME):
        past = home_as_of(home, decision)
        assert [each.sequence for each in past.ledger.decisions()] == list(range(1, decision.sequence))
        assert all(each.key != decision.key for each in past.ledger.runs(NAME))
        labels = past.tables.scan(f"labels/{NAME}").collect()
        assert labels["_label_known_us"].max() is None or labels["_label_known_us"].max() <= decision.time_us  # type: ignore[operator]
    first = home_as_of(home, home.ledger.decisions(NAME)[0])
    assert (first.ledger.deployment(NAME).generation, first.ledger.versions(NAME)) == (0, [])
    with pytest.raises(WouldDecide):
        first.ledger.decide(Draft("k", 0, NAME, "a", "b", "c", {}))
    with pytest.raises(PermissionError):
        first.ledger.set_checkpoint("x", {})
    assert isinstance(first.ledger, LedgerAsOf)


def test_what_was_in_production_on_a_date(home: Home) -> None:
    assert standing_at(home.ledger, NAME, midnight(FIRST_DAY) - 1).posts == ()
    shadowed, promoted = decided(home, "shadow")[-1], decided(home, "promote")[-1]
    before = standing_at(home.ledger, NAME, promoted.time_us - 1)
    assert [(post.version, post.role) for post in before.posts] == [
        (promoted.evidence["champion"], "champion"),
        (promoted.evidence["version"], "shadow"),
    ]
    champion, shadow = before.posts
    assert (champion.by.action, shadow.by, shadow.since_us) == ("promote", shadowed, shadowed.time_us)
    assert champion.by.time_us < shadowed.time_us
    (after,) = standing_at(home.ledger, NAME, promoted.time_us).posts
    assert (after.version, after.by) == (promoted.evidence["version"], promoted)


def test_a_killed_model_and_a_share_are_told(project: Project, tmp_path: Path) -> None:
    clock = SimulatedClock(midnight(1))
    with open_home(tmp_path / "home") as home:
        draft = Draft("a", midnight(0), NAME, "asha", "promote", "first", {"version": "v1"})
        home.ledger.decide(draft, deploy=[Assignment("v1", "champion")])
        beside = [Assignment("v1", "champion", 0.9), Assignment("v2", "challenger", 0.1)]
        home.ledger.decide(evolve(draft, key="b", action="challenge", time_us=midnight(0) + HOUR_US), deploy=beside)
        kill(home, clock, NAME, actor="asha", reason="nonsense")
        clock.advance_to(midnight(2))
        revive(home, clock, NAME, actor="asha", reason="mended")
        found = standing_at(home.ledger, NAME, midnight(1))
        assert [(post.version, post.role, post.share, post.by.key) for post in found.posts] == [
            ("v1", "champion", 0.9, "b"),
            ("v2", "challenger", 0.1, "b"),
        ]
        assert found.killed is not None
        assert found.killed.reason == "nonsense"
        assert standing_at(home.ledger, NAME, midnight(2)).killed is None


def test_a_promotion_is_explained_from_its_training_to_its_end(project: Project, home: Home) -> None:
    first, promoted = decided(home, "promote")[0], decided(home, "promote")[-1]
    told = explain(home, project.models[NAME], promoted, midnight(DAYS))
    version = promoted.evidence["version"]
    assert told.words.startswith("operator decided at 2013-02-")
    assert f"promote {version}, which made generation" in told.words
    assert dict(told.evidence)["version"] == version
    assert "n " in dict(told.evidence)["difference"]
    kinds = [link.kind for link in told.before]
    assert kinds.count("training") == kinds.count("version") == kinds.count("gate") == 1
    assert [link.words.split(" by ")[0] for link in told.before if link.kind == "decision"] == ["train", "shadow"]
    assert [link.number for link in told.before if link.number] == sorted(
        link.number or 0 for link in told.before if link.number
    )
    of_first = explain(home, project.models[NAME], first, midnight(DAYS))
    assert promoted.sequence in [link.number for link in of_first.after]


def test_the_old_champion_is_scored_again_on_the_labels_since(project: Project, home: Home) -> None:
    promoted = decided(home, "promote")[-1]
    old, new = str(promoted.evidence["champion"]), str(promoted.evidence["version"])
    found = otherwise(home, project.models[NAME], promoted, midnight(DAYS))
    assert found.question == f"had {old} stayed the champion in place of {new}"
    rows = OutcomeReader(home, project.models[NAME], ["asked.x", "asked.z", "asked.kind"]).outcomes(
        promoted.time_us, midnight(DAYS - 1), midnight(DAYS)
    )
    rows = rows.filter(pl.col("_label").is_not_null(), version=new, role="champion")
    scores = BundleStore(home.bundles).read(NAME, old).score(rows)
    assert (found.labels, found.rescored, found.logged) == (rows.height, rows.height, 0)
    assert found.labels > 0
    truth = rows["_label"].to_numpy()
    expected = -np.mean(truth * np.log(scores) + (1 - truth) * np.log(1 - scores))
    assert found.instead is not None
    assert found.difference is not None
    assert found.actual is not None
    assert found.instead.value == pytest.approx(expected)
    assert found.difference.value == pytest.approx(found.instead.value - found.actual.value)
    assert found.difference.low > 0  # the world had turned: the old champion would have been worse
    assert found.decided_otherwise is not None
    assert 0 < found.decided_otherwise <= found.labels


def test_a_rejected_shadow_is_measured_by_what_it_logged_where_it_did(project: Project, home: Home) -> None:
    """The scores that a version logged as a shadow count as they are; a rejection asks for those since."""
    rejected = decided(home, "reject")[-1]
    found = otherwise(home, project.models[NAME], rejected, midnight(DAYS))
    assert found.question.startswith(f"had {rejected.evidence['version']} become the champion at 2013-")
    assert found.measured
    assert "made again from the logged features" in found.reason


def test_what_was_logged_beside_the_answers_is_not_scored_again(project: Project, home: Home) -> None:
    shadowed, promoted = decided(home, "shadow")[-1], decided(home, "promote")[-1]
    version = str(shadowed.evidence["version"])
    span = Span(shadowed.time_us, promoted.time_us)
    asked = Alternative(
        question="had it answered",
        actual=str(shadowed.evidence["champion"]),
        instead=version,
        role="champion",
        span=span,
    )
    reader = OutcomeReader(home, project.models[NAME])
    parts = list(_parts(reader, span, midnight(DAYS), _Measure("log_loss", ck.Costs(), asked, None)))
    assert sum(part.logged for part in parts) == sum(len(part.at_us) for part in parts) > 0


def test_a_decision_that_rested_on_costs_is_measured_by_them(project: Project, home: Home) -> None:
    promoted = decided(home, "promote")[-1]
    model = evolve(project.models[NAME], costs=ck.Costs(false_negative=2))
    by_cost = otherwise(home, model, evolve(promoted, evidence={**promoted.evidence, "metric": "cost"}), midnight(DAYS))
    by_loss = otherwise(home, model, promoted, midnight(DAYS))
    assert (by_cost.loss, by_loss.loss, by_cost.labels) == ("cost", "log_loss", by_loss.labels)
    assert by_cost.actual is not None
    assert by_cost.difference is not None
    assert by_cost.difference.value > 0
    assert by_cost.actual.value * by_cost.labels == pytest.approx(round(by_cost.actual.value * by_cost.labels))
    unknown = evolve(promoted, evidence={**promoted.evidence, "metric": "margin"})
    assert otherwise(home, model, unknown, midnight(DAYS)) == by_loss
    earned = otherwise(home, evolve(model, business={"margin": "higher"}), unknown, midnight(DAYS))
    assert earned.reason == f"{by_loss.reason}; by log loss, for nobody knows the margin of other answers"


def test_where_nothing_can_be_measured_it_is_said_why(project: Project, home: Home) -> None:
    first, trained = decided(home, "promote")[0], decided(home, "train")[-1]
    shadowed = decided(home, "shadow")[0]
    model = project.models[NAME]
    assert otherwise(home, model, first, midnight(DAYS)).reason == "there was no other version that could have answered"
    assert "changes no answer" in otherwise(home, model, shadowed, midnight(DAYS)).reason
    waits = evolve(trained, action="train_waits", generation=None)
    assert "nothing to measure" in otherwise(home, model, waits, midnight(DAYS)).reason
    unmade = evolve(trained, key="never/run")
    assert "made no version" in otherwise(home, model, unmade, midnight(DAYS)).reason
    early = otherwise(home, model, decided(home, "promote")[-1], decided(home, "promote")[-1].time_us + 1)
    assert (early.measured, "no labelled prediction since" in early.reason) == (False, True)


def test_a_bundle_that_is_gone_is_said_to_be(project: Project, home: Home, tmp_path: Path) -> None:
    promoted = decided(home, "promote")[-1]
    without = evolve(home, folder=tmp_path)
    found = otherwise(without, project.models[NAME], promoted, midnight(DAYS))
    assert (found.measured, "expected version 'v1'" in found.reason) == (False, True)


def test_evidence_is_told_in_words() -> None:
    evidence = {
        "difference": {"value": -0.5, "low": -0.75, "high": -0.25, "n": 1200},
        "shares": {"v1": 0.9},
        "since_us": 0,
        "failed_gates": [],
        "diagnosis": {"long": 1},
        "newer": None,
    }
    assert dict(evidence_in_words(evidence)) == {
        "difference": "-0.5 (-0.75 to -0.25, n 1,200)",
        "shares.v1": "0.9",
        "since": "1970-01-01T00:00:00Z",
        "failed_gates": "none",
        "newer": "–",
    }
