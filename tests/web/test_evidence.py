from hypothesis import given
from replay_summaries import EVIDENCE

from charkha.web.evidence import evidence_lines


def test_values_are_told_by_what_they_are() -> None:
    evidence = {
        "champion": None,
        "confidence": 0.95,
        "labels": 7611,
        "significant": True,
        "drifted": ["temp", "humid"],
        "since_us": 1_364_774_400_000_000,
    }

    assert evidence_lines(evidence) == [
        ("champion", "–"),
        ("confidence", "0.95"),
        ("labels", "7,611"),
        ("significant", "yes"),
        ("drifted", "temp; humid"),
        ("since", "2013-04-01 00:00 UTC"),
    ]


def test_estimates_are_one_line_and_other_mappings_are_unfolded() -> None:
    difference = {"value": -0.0041, "low": -0.0062, "high": -0.002}

    assert evidence_lines({"log_loss": {"difference": difference, "now": difference | {"n": 1200}}}) == [
        ("log loss.difference", "-0.0041 (-0.0062 to -0.002)"),
        ("log loss.now", "-0.0041 (-0.0062 to -0.002) over 1,200 rows"),
    ]


def test_a_time_that_no_calendar_has_stays_a_number() -> None:
    assert evidence_lines({"since_us": 10**30}) == [("since", f"{10**30:,}")]


@given(EVIDENCE)
def test_any_evidence_can_be_told(evidence: dict[str, object]) -> None:
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in evidence_lines(evidence))
