from datetime import UTC, datetime
from itertools import pairwise

from replay_summaries import a_year

from charkha.operations.replay_summary import DecisionRow
from charkha.web.episodes import episodes, reigns, trials

END = datetime(2014, 1, 1, tzinfo=UTC)


def decision(action: str, version: str | None = None, day: int = 1) -> DecisionRow:
    return DecisionRow(1, f"2013-04-{day:02}T00:00:00Z", action, "because", version, {})


def test_a_year_has_one_episode_a_challenger() -> None:
    told = [(episode.version, episode.outcome) for episode in episodes(a_year().decisions)]

    assert told == [
        ("v1", "promoted"),
        ("v2", "promoted"),
        ("v3", "rejected"),
        ("v4", "promoted"),
        ("v5", "promoted"),
        ("v6", "rejected"),
    ]


def test_every_decision_is_in_one_episode() -> None:
    decisions = a_year().decisions

    assert [row for episode in episodes(decisions) for row in episode.decisions] == list(decisions)


def test_a_rollback_and_a_failed_training_are_episodes_of_their_own() -> None:
    rows = [decision("train"), decision("train_failed"), decision("rollback", "v1"), decision("train")]

    assert [(e.version, e.outcome) for e in episodes(rows)] == [
        (None, "failed"),
        ("v1", "rolled back"),
        (None, "open"),
    ]


def test_reigns_follow_one_another_until_the_end() -> None:
    found = reigns(a_year().decisions, END)

    assert [reign.version for reign in found] == ["v1", "v2", "v4", "v5"]
    assert all(one.end == other.start for one, other in pairwise(found))
    assert found[-1].end == END


def test_a_rollback_begins_a_reign() -> None:
    rows = [decision("promote", "v1", 1), decision("promote", "v2", 5), decision("rollback", "v1", 9)]

    assert [(r.version, r.start.day) for r in reigns(rows, END)] == [("v1", 1), ("v2", 5), ("v1", 9)]


def test_trials_end_with_their_verdict_or_not_at_all() -> None:
    rows = [decision("shadow", "v2", 2), decision("reject", "v2", 9), decision("shadow", "v3", 10)]

    assert [(t.version, t.end, t.outcome) for t in trials(rows, END)] == [
        ("v2", datetime(2013, 4, 9, tzinfo=UTC), "rejected"),
        ("v3", END, "in shadow"),
    ]
