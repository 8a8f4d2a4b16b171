"""Looking: what the rows of the ledger come down to."""

import pytest

from charkha.operations.look import (
    champion_since,
    last_training,
    open_versions,
    side_by_side_since,
)
from charkha.operations.retraining.begun import last_trained_us, last_updated_us
from charkha.operations.step_keys import failure_key
from charkha.storage.ledger import Assignment, Decision, Deployment, Run, VersionRow


def deployment(generation: int, champion: str | None, shadow: str | None = None) -> Deployment:
    assignments = [Assignment(champion, "champion")] if champion else []
    assignments += [Assignment(shadow, "shadow")] if shadow else []
    return Deployment("late", generation, tuple(assignments), generation * 100)


def decision(key: str, action: str, time_us: int = 5, **evidence: object) -> Decision:
    return Decision(key, time_us, "late", "operator", action, f"{action} because", evidence, 1, None, "", "")


def version(name: str, status: str = "accepted", created_us: int = 3) -> VersionRow:
    return VersionRow("late", name, created_us, "", "", f"run-{name}", {}, status)  # type: ignore[arg-type]


def run(key: str, status: str, **result: object) -> Run:
    return Run(key, "training", "late", 7, None, status, result)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pairs", "since"),
    [
        ([], 0),
        ([("v1", None)], 100),
        ([("v1", None), ("v1", "v2")], 200),
        ([("v1", "v2"), ("v1", "v2")], 100),
        ([("v1", "v2"), ("v1", None), ("v1", "v2")], 300),
        ([("v1", "v2"), ("v3", "v2")], 200),
    ],
)
def test_side_by_side_since_both_were_there(pairs: list[tuple[str, str | None]], since: int) -> None:
    assert side_by_side_since([deployment(number, *pair) for number, pair in enumerate(pairs, 1)]) == since


@pytest.mark.parametrize(
    ("pairs", "since"),
    [
        ([], 0),
        ([("v1", None)], 100),
        ([("v1", None), ("v1", "v2"), ("v1", None)], 100),
        ([("v1", None), ("v1", "v2"), ("v2", None), ("v2", "v3")], 300),
        ([("v1", None), ("v2", None), ("v1", None), ("v1", "v3")], 300),
    ],
)
def test_the_champion_serves_since_it_was_promoted_whoever_shadows_it(
    pairs: list[tuple[str, str | None]], since: int
) -> None:
    assert champion_since([deployment(number, *pair) for number, pair in enumerate(pairs, 1)]) == since


def test_a_version_is_open_until_it_is_decided_about() -> None:
    versions = [version("v1"), version("v2"), version("v3", "rejected"), version("v4"), version("v5", "candidate")]
    decisions = [
        decision("a", "promote", version="v1"),
        decision("b", "shadow", version="v2"),
        decision("c", "reject", version="v3"),
    ]
    serving = deployment(4, "v1", "v4")
    assert [row.version for row in open_versions(versions, decisions, serving)] == ["v2"]


def test_no_training_was_decided_on() -> None:
    assert last_training([], [], [run("by-hand", "running")]) is None


@pytest.mark.parametrize(
    ("runs", "state", "error"),
    [
        ([], "decided", ""),
        ([run("k2", "running")], "running", ""),
        ([run("k2", "done", version="v2")], "done", ""),
        ([run("k1", "done"), run("k2", "failed", error="no rows")], "failed", "no rows"),
    ],
)
def test_the_last_training_is_as_far_as_its_run(runs: list[Run], state: str, error: str) -> None:
    trained = [decision("k1", "train", 1, champion=None), decision("k2", "train", 2, champion="v1")]
    training = last_training(trained, trained, runs)
    assert training is not None
    assert (training.run_key, training.decided_us, training.first) == ("k2", 2, False)
    assert (training.state, training.error, training.noted) == (state, error, False)


def test_a_failure_is_noted_by_its_key() -> None:
    trained = [decision("k1", "train", champion=None)]
    noted = [*trained, decision(failure_key("k1"), "train_failed")]
    training = last_training(trained, noted, [run("k1", "failed")])
    assert training is not None
    assert training.noted
    assert training.first


def test_the_last_training_may_be_by_hand() -> None:
    assert last_trained_us([], [], []) is None
    assert last_trained_us([decision("k", "train", 5)], [version("v1", created_us=3)], []) == 5
    assert last_trained_us([decision("k", "train", 5)], [version("v1", created_us=9)], [run("k", "done")]) == 9
    assert last_trained_us([], [], [run("by-hand", "running")]) == 7
    assert last_trained_us([decision("late/update/1", "train", 8)], [], [run("by-hand", "running")]) == 7
    assert last_updated_us([decision("late/update/1", "train", 8)], [], [run("late/update/by-hand/x", "done")]) == 8
    assert last_updated_us([], [], [run("by-hand", "running")]) is None
