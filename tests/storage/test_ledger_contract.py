"""What every ledger must do; a new backend adds one line to LEDGERS."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charkha.storage.ledger import (
    ApiKey,
    Assignment,
    Draft,
    Ledger,
    StaleGeneration,
    UnknownDecision,
    UnknownKey,
    UnknownRun,
    UnknownVersion,
    Usage,
    VersionRow,
    chain_hash,
)

LEDGERS: dict[str, Callable[[Path], Ledger]] = {
    "sqlite": lambda folder: Ledger(f"sqlite:///{folder}/ledger.db"),
    "synced sqlite": lambda folder: Ledger(f"sqlite:///{folder}/ledger.db", sync=True),
}
CHAMPION = Assignment("v1", "champion")
SHADOW = Assignment("v2", "shadow")


@pytest.fixture(params=list(LEDGERS.values()), ids=list(LEDGERS))
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Ledger]]:
    opened: list[Ledger] = []

    def open_one() -> Ledger:
        opened.append(request.param(tmp_path))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[[], Ledger]) -> Ledger:
    return open_ledger()


def draft(key: str, model: str = "late", **changes: Any) -> Draft:
    return evolve(Draft(key, 1000, model, "operator", "promote", "because", {"difference": -0.01}), **changes)


def version(model: str, number: int, **changes: Any) -> VersionRow:
    row = VersionRow(
        model, f"v{number}", 10 * number, "digest", "print", f"run {number}", {"run_id": "abc"}, "candidate"
    )
    return evolve(row, **changes)


def test_a_model_that_was_never_deployed_has_generation_0(ledger: Ledger) -> None:
    deployment = ledger.deployment("late")
    assert (deployment.generation, deployment.assignments, deployment.champion) == (0, (), None)
    assert ledger.generations() == {}
    assert ledger.deployments("late") == []


def test_a_decision_makes_the_next_generation(ledger: Ledger) -> None:
    decision = ledger.decide(draft("first", time_us=5), deploy=[CHAMPION, SHADOW], expect_generation=0)
    deployment = ledger.deployment("late")
    assert (decision.sequence, decision.generation) == (1, 1)
    assert (deployment.generation, deployment.since_us, deployment.assignments) == (1, 5, (CHAMPION, SHADOW))
    assert (deployment.champion, deployment.shadows, deployment.serving) == (CHAMPION, (SHADOW,), (CHAMPION,))


def test_generations_are_kept_and_counted_by_model(ledger: Ledger) -> None:
    rivals = [Assignment("v1", "champion", 0.9), Assignment("v3", "challenger", 0.1)]
    ledger.decide(draft("a"), deploy=[CHAMPION])
    ledger.decide(draft("b"), deploy=rivals)
    ledger.decide(draft("c", model="eta"), deploy=[CHAMPION])
    ledger.decide(draft("d"), deploy=[])
    assert ledger.generations() == {"late": 3, "eta": 1}
    assert [deployment.generation for deployment in ledger.deployments("late")] == [1, 2, 3]
    assert [deployment.serving for deployment in ledger.deployments("late")] == [(CHAMPION,), tuple(rivals), ()]


def test_a_decision_without_deployment_changes_nothing_else(ledger: Ledger) -> None:
    ledger.decide(draft("a"), deploy=[CHAMPION])
    assert ledger.decide(draft("b", action="reject"), expect_generation=1).generation is None
    assert ledger.deployment("late").generation == 1


def test_the_same_key_again_returns_the_first_decision(ledger: Ledger) -> None:
    first = ledger.decide(draft("a"), deploy=[CHAMPION], expect_generation=0)
    again = ledger.decide(draft("a", reason="another"), deploy=[SHADOW], expect_generation=0)
    assert again == first
    assert ledger.decisions() == [first]
    assert ledger.deployment("late").assignments == (CHAMPION,)


@pytest.mark.parametrize("deploy", [None, [CHAMPION]])
def test_a_stale_generation_writes_nothing(ledger: Ledger, deploy: list[Assignment] | None) -> None:
    ledger.decide(draft("a"), deploy=[CHAMPION])
    with pytest.raises(StaleGeneration, match="expected generation 0, found 1") as caught:
        ledger.decide(draft("b"), deploy=deploy, expect_generation=0)
    assert (caught.value.model, caught.value.expected, caught.value.found) == ("late", 0, 1)
    assert len(ledger.decisions()) == 1


def test_of_many_who_decide_on_one_generation_one_wins(open_ledger: Callable[[], Ledger]) -> None:
    ledgers = [open_ledger() for _ in range(4)]

    def decide(number: int) -> str:
        try:
            ledgers[number % 4].decide(draft(f"key {number}"), deploy=[CHAMPION], expect_generation=0)
        except StaleGeneration:
            return "stale"
        return "won"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(decide, range(24)))
    assert sorted(outcomes) == ["stale"] * 23 + ["won"]
    assert ledgers[0].generations() == {"late": 1}


def test_of_many_who_write_one_key_all_get_the_same(open_ledger: Callable[[], Ledger]) -> None:
    ledgers = [open_ledger() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        decisions = set(
            pool.map(lambda n: ledgers[n % 4].decide(draft("a", actor=str(n)), deploy=[CHAMPION]).hash, range(24))
        )
    assert len(decisions) == 1
    assert ledgers[0].generations() == {"late": 1}


def test_the_chain_holds_under_concurrent_writers(open_ledger: Callable[[], Ledger]) -> None:
    ledgers = [open_ledger() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: ledgers[number % 4].decide(draft(str(number)), deploy=[CHAMPION]), range(40)))
    assert ledgers[0].verify() == 40
    assert [decision.generation for decision in ledgers[0].decisions()] == list(range(1, 41))


def test_each_hash_covers_its_row_and_the_one_before(ledger: Ledger) -> None:
    first, second = ledger.decide(draft("a"), deploy=[CHAMPION]), ledger.decide(draft("b", time_us=2000))
    assert first.previous_hash == "0" * 64
    assert second.previous_hash == first.hash
    content = {
        "key": "b", "time_us": 2000, "model": "late", "actor": "operator", "action": "promote", "reason": "because",
        "evidence": {"difference": -0.01}, "sequence": 2, "generation": None,
    }  # fmt: skip
    assert second.hash == chain_hash(first.hash, content)
    assert ledger.verify() == 2


def test_an_empty_chain_holds(ledger: Ledger) -> None:
    assert ledger.verify() == 0


def test_decisions_can_be_paged_and_picked(ledger: Ledger) -> None:
    for number in range(6):
        ledger.decide(draft(str(number), model="late" if number % 2 else "eta"))
    assert [decision.sequence for decision in ledger.decisions()] == [1, 2, 3, 4, 5, 6]
    assert [decision.sequence for decision in ledger.decisions(after=2, limit=3)] == [3, 4, 5]
    assert [decision.sequence for decision in ledger.decisions("late", after=2)] == [4, 6]
    assert ledger.decisions(limit=0) == []


@frozen
class Interval:
    low: float
    high: float


def test_evidence_is_recorded_as_json(ledger: Ledger) -> None:
    evidence = {"interval": Interval(-0.2, math.inf), "n": (1, 2), "nan": math.nan, "größe": "ä\n", "none": None}
    decision = ledger.decide(draft("a", evidence=evidence))
    expected = {"interval": {"low": -0.2, "high": None}, "n": [1, 2], "nan": None, "größe": "ä\n", "none": None}
    assert decision.evidence == expected
    assert ledger.decisions() == [decision]
    assert ledger.verify() == 1


def test_evidence_that_json_cannot_say_is_refused(ledger: Ledger) -> None:
    with pytest.raises(TypeError):
        ledger.decide(draft("a", evidence={"what": object()}), deploy=[CHAMPION])
    assert ledger.decisions() == []
    assert ledger.generations() == {}


TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(evidence=st.dictionaries(TEXT, JSON, max_size=4), text=TEXT)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_decision_comes_back_and_verifies(ledger: Ledger, evidence: dict[str, object], text: str) -> None:
    before = ledger.verify()
    decision = ledger.decide(draft(f"{before} {text}", model=text, reason=text, actor=text, evidence=evidence))
    assert ledger.decisions(after=before) == [decision]
    assert ledger.verify() == before + 1


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        ([CHAMPION, Assignment("v2", "champion")], r"at most one champion, got \['v1', 'v2'\]"),
        ([CHAMPION, Assignment("v1", "shadow")], "each version once"),
        ([Assignment("v1", "champion", 1.5)], "share of version 'v1': expected 0 to 1, got 1.5"),
        ([Assignment("v1", "champion", math.nan)], "share of version 'v1': expected 0 to 1, got nan"),
    ],
)
def test_assignments_that_cannot_be_are_refused(ledger: Ledger, assignments: list[Assignment], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ledger.decide(draft("a"), deploy=assignments)
    assert ledger.decisions() == []


def test_a_training_keeps_its_version(ledger: Ledger) -> None:
    assert [ledger.next_version("late", key) for key in ("a", "b", "a", "c", "b")] == ["v1", "v2", "v1", "v3", "v2"]
    assert ledger.next_version("eta", "a") == "v1"


def test_concurrent_trainings_get_different_versions(open_ledger: Callable[[], Ledger]) -> None:
    ledgers = [open_ledger() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        versions = list(
            pool.map(lambda number: ledgers[number % 4].next_version("late", f"run {number // 2}"), range(40))
        )
    assert versions[::2] == versions[1::2]
    assert sorted(set(versions), key=lambda name: int(name[1:])) == [f"v{number}" for number in range(1, 21)]


def test_versions_are_listed_oldest_first_and_replaced_whole(ledger: Ledger) -> None:
    for number in (10, 2, 1):
        ledger.record_version(version("late", number, created_us=7))
    ledger.record_version(version("eta", 1))
    accepted = version("late", 2, created_us=7, status="accepted", tracking={"registered_version": "5"})
    ledger.record_version(accepted)
    assert [row.version for row in ledger.versions("late")] == ["v1", "v2", "v10"]
    assert ledger.version("late", "v2") == accepted
    assert ledger.versions("none") == []


def test_an_unknown_version_says_so(ledger: Ledger) -> None:
    with pytest.raises(UnknownVersion, match="model 'late' has no version 'v7'"):
        ledger.version("late", "v7")


def test_a_run_is_begun_once_and_found_again(ledger: Ledger) -> None:
    begun = ledger.begin_run("train late 1", "train", "late", 100)
    assert (begun.status, begun.started_us, begun.finished_us, begun.result) == ("running", 100, None, {})
    assert ledger.begin_run("train late 1", "train", "late", 200) == begun
    ledger.finish_run("train late 1", 300, "done", {"version": "v1"})
    found = ledger.begin_run("train late 1", "train", "late", 400)
    assert (found.status, found.started_us, found.finished_us, found.result) == ("done", 100, 300, {"version": "v1"})
    assert ledger.runs() == [found]


def test_runs_are_picked_by_model_and_kind(ledger: Ledger) -> None:
    for key, kind, model, time_us in (("c", "train", "late", 1), ("a", "train", "eta", 3), ("b", "collect", "late", 2)):
        ledger.begin_run(key, kind, model, time_us)
    assert [run.key for run in ledger.runs()] == ["c", "b", "a"]
    assert [run.key for run in ledger.runs("late")] == ["c", "b"]
    assert [run.key for run in ledger.runs(kind="train")] == ["c", "a"]
    assert [run.key for run in ledger.runs("late", "train")] == ["c"]


def test_a_run_that_was_never_begun_cannot_end(ledger: Ledger) -> None:
    with pytest.raises(UnknownRun, match="run 'x': expected one that was begun"):
        ledger.finish_run("x", 1, "done", {})


def test_a_checkpoint_holds_its_newest_value(ledger: Ledger) -> None:
    assert ledger.checkpoint("collect late") is None
    ledger.set_checkpoint("collect late", {"web-0": 10})
    ledger.set_checkpoint("collect late", {"web-1": 12, "nested": {"a": [1, None]}})
    ledger.set_checkpoint("other", {})
    assert ledger.checkpoint("collect late") == {"web-1": 12, "nested": {"a": [1, None]}}
    assert ledger.checkpoint("other") == {}


KEY = ApiKey("5f0c", "shop", ("predict", "ingest"), "ab" * 32, 10, expires_us=50, rate=2.5)


def test_a_key_is_kept_with_the_decision_that_made_it(ledger: Ledger) -> None:
    assert (ledger.api_keys(), ledger.api_keys_counted()) == ([], (0, 0))
    decision = ledger.create_api_key(KEY, draft("keys/5f0c/create"))
    older = evolve(KEY, id="0a", created_us=3, expires_us=None, rate=None)
    ledger.create_api_key(older, draft("keys/0a/create"))
    assert ledger.api_keys() == [older, KEY]
    assert ledger.api_key("5f0c") == KEY
    assert ledger.decisions(limit=1) == [decision]
    assert (ledger.api_keys_counted(), ledger.verify()) == ((2, 0), 2)


def test_a_key_is_revoked_once_for_ever(ledger: Ledger) -> None:
    ledger.create_api_key(KEY, draft("keys/5f0c/create"))
    first = ledger.revoke_api_key("5f0c", draft("keys/5f0c/revoke", time_us=20))
    again = ledger.revoke_api_key("5f0c", draft("keys/5f0c/revoke", time_us=30))
    assert first == again
    assert ledger.api_key("5f0c") == evolve(KEY, revoked_us=20)
    assert ledger.api_keys_counted() == (1, 1)
    with pytest.raises(UnknownKey, match="expected the id of an API key, got 'x'"):
        ledger.revoke_api_key("x", draft("keys/x/revoke"))
    assert len(ledger.decisions()) == 2


def test_a_key_whose_decision_cannot_be_written_is_not_made(ledger: Ledger) -> None:
    with pytest.raises(TypeError):
        ledger.create_api_key(KEY, draft("keys/5f0c/create", evidence={"what": object()}))
    assert ledger.api_keys() == []


def test_a_key_is_usable_until_it_expires_or_is_revoked() -> None:
    assert [KEY.is_usable(now_us) for now_us in (10, 49, 50)] == [True, True, False]
    assert not evolve(KEY, revoked_us=1).is_usable(20)
    assert evolve(KEY, expires_us=None).is_usable(2**62)


def test_what_is_written_is_there_when_it_is_opened_again(open_ledger: Callable[[], Ledger]) -> None:
    first = open_ledger()
    decision = first.decide(draft("a"), deploy=[CHAMPION])
    first.close()
    again = open_ledger()
    assert again.decisions() == [decision]
    assert again.deployment("late").champion == CHAMPION


def usage(id_: str, **changes: Any) -> Usage:
    row = Usage(
        id=id_,
        kind="training",
        run="run 1",
        model="late",
        team="eta",
        stage="fit",
        began_us=5,
        wall_seconds=2.0,
        cpu_seconds=1.5,
        rows=3,
        peak_bytes=100,
        memory_gb_seconds=0.5,
        read_bytes=10,
        written_bytes=20,
        gpu_seconds=None,
    )
    return evolve(row, **changes)


def test_usage_adds_up_under_its_id_and_the_unknown_stays_unknown(ledger: Ledger) -> None:
    ledger.record_usage([usage("a"), usage("b", model="eta", kind="serving", began_us=9)])
    ledger.record_usage([usage("a", began_us=4, peak_bytes=70, read_bytes=None)], checkpoint=("metered", {"at": 7}))
    first, second = ledger.usage()
    assert (first.id, first.began_us, first.cpu_seconds, first.rows, first.peak_bytes) == ("a", 4, 3.0, 6, 100)
    assert (first.read_bytes, first.written_bytes, first.gpu_seconds) == (None, 40, None)
    assert second == usage("b", model="eta", kind="serving", began_us=9)
    assert ledger.checkpoint("metered") == {"at": 7}
    assert ledger.usage("eta") == ledger.usage(kind="serving") == ledger.usage(since_us=5, until_us=10) == [second]


def test_a_decision_is_found_by_number_and_key_and_the_head_is_the_newest(ledger: Ledger) -> None:
    assert ledger.head() is None
    first, second = ledger.decide(draft("a")), ledger.decide(draft("b"))
    assert (ledger.decision(1), ledger.decision("b"), ledger.head()) == (first, second, second)
    with pytest.raises(UnknownDecision, match=r"expected the number or the key of a decision, got 'c'.*history"):
        ledger.decision("c")
