"""Incidents are opened once, brought up to date, merged and closed, whatever is looked at twice or dies in between."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnoses import BEGAN_US, NOW_US, diagnosis, healthy
from hypothesis import given
from hypothesis import strategies as st
from looked import look

from charkha.monitoring.diagnosis.incident import Culprit, Diagnosis, Hypothesis, Remedy
from charkha.monitoring.diagnosis.incidents import (
    INCIDENT_ACTIONS,
    PATIENCE_US,
    close,
    find,
    is_same,
    observe,
    revisions,
)
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.ledger import Incident, Ledger, UnknownIncident

MEND = Remedy(action="mend_serving", words="Mend it.")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


def actions(ledger: Ledger) -> list[str]:
    return [each.action for each in ledger.decisions("late")]


def skewed(now_us: int, feature: str, **changed: object) -> Diagnosis:
    return diagnosis(now_us, cause="skew", culprit=Culprit(features=feature), remedy=MEND, **changed)


def test_an_incident_is_opened_once_and_brought_up_to_date(ledger: Ledger) -> None:
    first = observe(ledger, diagnosis())
    again = observe(ledger, diagnosis(NOW_US + HOUR_US, share=0.9))
    assert [each.id for each in first] == [each.id for each in again] == ["late-1"]
    assert actions(ledger) == ["incident_open"]
    assert again[0].diagnosis["share"] == 0.9
    assert (again[0].opened_us, again[0].seen_us, again[0].began_us) == (NOW_US, NOW_US + HOUR_US, BEGAN_US)
    opened = ledger.decisions("late")[0]
    assert (opened.reason, opened.actor) == ("source: null flood of weather.temp", "diagnosis")
    assert opened.evidence["incident"] == "late-1"
    assert ledger.verify() == 1


def test_the_same_look_again_or_an_older_one_changes_nothing(ledger: Ledger) -> None:
    observe(ledger, diagnosis())
    before = ledger.incidents()
    observe(ledger, diagnosis(share=0.1))
    observe(ledger, healthy(NOW_US - DAY_US))
    assert ledger.incidents() == before


def test_it_is_closed_when_there_was_no_evidence_for_long_enough(ledger: Ledger) -> None:
    observe(ledger, diagnosis())
    assert observe(ledger, healthy(NOW_US + PATIENCE_US - 1))
    assert observe(ledger, healthy(NOW_US + PATIENCE_US)) == []
    found = find(ledger, "late-1")
    assert (found.status, found.closed_us, found.closed_by) == ("closed", NOW_US + PATIENCE_US, None)
    assert actions(ledger) == ["incident_open", "incident_close"]
    again = observe(ledger, diagnosis(NOW_US + 9 * DAY_US, began_us=NOW_US + 8 * DAY_US))
    assert [each.id for each in again] == ["late-2"]


def test_evidence_that_ended_long_ago_closes_it_though_it_is_still_in_the_window(ledger: Ledger) -> None:
    observe(ledger, diagnosis())
    later = NOW_US + 2 * DAY_US
    assert observe(ledger, diagnosis(later, until_us=NOW_US + HOUR_US)) == []
    assert observe(ledger, diagnosis(later, until_us=NOW_US + HOUR_US)) == []
    assert actions(ledger) == ["incident_open", "incident_close"]


def test_two_that_turn_out_to_be_one_are_merged(ledger: Ledger) -> None:
    observe(ledger, skewed(NOW_US, "v.x"))
    assert len(observe(ledger, skewed(NOW_US + HOUR_US, "v.y"))) == 2
    both = diagnosis(NOW_US + 2 * HOUR_US, cause="skew", culprit=Culprit(features=("v.x", "v.y")), remedy=MEND)
    assert [each.id for each in observe(ledger, both)] == ["late-1"]
    merged = find(ledger, "late-2")
    assert (merged.status, merged.merged_into) == ("merged", 1)
    assert actions(ledger) == ["incident_open", "incident_open", "incident_merge"]


def test_what_was_unknown_takes_the_cause_that_is_found_and_keeps_it(ledger: Ledger) -> None:
    observe(ledger, diagnosis(cause="unknown", culprit=Culprit(), remedy=Remedy()))
    observe(ledger, diagnosis(NOW_US + HOUR_US))
    found = observe(ledger, diagnosis(NOW_US + 2 * HOUR_US, cause="unknown", culprit=Culprit(), remedy=Remedy()))
    assert [(each.id, each.cause) for each in found] == [("late-1", "source")]
    assert actions(ledger) == ["incident_open", "incident_rename"]
    assert found[0].seen_us == NOW_US + 2 * HOUR_US


def test_a_look_that_does_not_know_merges_nothing(ledger: Ledger) -> None:
    observe(ledger, diagnosis())
    observe(ledger, skewed(NOW_US + HOUR_US, "v.x"))
    unknown = diagnosis(NOW_US + 2 * HOUR_US, cause="unknown", culprit=Culprit(), remedy=Remedy())
    assert [each.id for each in observe(ledger, unknown)] == ["late-1", "late-2"]


def test_a_second_fault_that_stands_beside_is_kept_open(ledger: Ledger) -> None:
    observe(ledger, skewed(NOW_US, "v.x"))
    later = NOW_US + 3 * DAY_US
    assert len(observe(ledger, diagnosis(later, also=(skewed(later, "v.x"),)))) == 2
    ruled_out = Hypothesis(cause="skew", kind="other", culprit=Culprit(features="v.x"), against="it agrees")
    assert len(observe(ledger, diagnosis(later + 2 * DAY_US, rivals=(ruled_out,)))) == 1


def test_two_faults_of_one_look_are_two_incidents(ledger: Ledger) -> None:
    found = observe(ledger, diagnosis(also=(skewed(NOW_US, "v.x"), skewed(NOW_US, "w.y"))))
    assert [(each.id, each.cause) for each in found] == [("late-1", "source"), ("late-2", "skew"), ("late-3", "skew")]
    again = NOW_US + HOUR_US
    assert observe(ledger, diagnosis(again, also=(skewed(again, "v.x"), skewed(again, "w.y"))))[2].seen_us == again
    assert actions(ledger) == ["incident_open"] * 3


def test_what_a_person_closed_stays_closed_for_a_while(ledger: Ledger) -> None:
    (opened,) = observe(ledger, diagnosis())
    closed = close(ledger, opened, "asha", "the feed is back", NOW_US + HOUR_US)
    assert (closed.status, closed.closed_by) == ("closed", "asha")
    assert close(ledger, opened, "ravi", "once more", NOW_US + 2 * HOUR_US) == closed
    assert observe(ledger, diagnosis(NOW_US + 3 * HOUR_US)) == []
    later = NOW_US + 2 * DAY_US
    assert [each.id for each in observe(ledger, diagnosis(later))] == ["late-2"]
    assert ledger.decisions("late")[1].actor == "asha"


def test_one_that_never_was_is_named(ledger: Ledger) -> None:
    with pytest.raises(UnknownIncident, match=r"got 'late-9'.*charkha incidents list --all"):
        find(ledger, "late-9")


looks = st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["a", "b", "ab", "?", ""])), max_size=12)


@given(looks)
def test_however_looks_follow_each_other_open_ones_are_all_different(drawn: list[tuple[int, str]]) -> None:
    """And every look, made twice, changes nothing the second time."""
    known: dict[int, Incident] = {}
    now_us, opened = NOW_US, 0
    for hours, found in drawn:
        now_us += hours * HOUR_US
        began = {"began_us": now_us, "earliest_us": now_us - HOUR_US, "latest_us": now_us}
        match found:
            case "":
                seen = healthy(now_us)
            case "?":
                seen = diagnosis(now_us, cause="unknown", culprit=Culprit(), remedy=Remedy(), **began)
            case _:
                seen = diagnosis(now_us, culprit=Culprit(sources=tuple(found)), **began)
        changed = revisions(list(known.values()), seen)
        opened += sum(each.draft is not None and each.draft.action == "incident_open" for each in changed)
        known |= {each.incident.number: each.incident for each in changed}
        assert revisions(list(known.values()), seen) == []
        named = [each for each in known.values() if each.status == "open" and is_same(each, seen)]
        assert len(named) <= 1 or not seen.is_incident or found == "?"
        assert {each.draft.action for each in changed if each.draft} <= set(INCIDENT_ACTIONS)
    assert len(known) == opened == max(known, default=0)


def test_a_killed_look_is_whole_or_not_there(tmp_path: Path) -> None:
    url, done = f"sqlite:///{tmp_path}/ledger.db", 0
    script = Path(__file__).parent / "looked.py"
    for instant in range(8):
        child = subprocess.Popen([sys.executable, script, url, str(done)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = child.stdout.readline()
        time.sleep(0.003 * instant)
        child.kill()
        done = int((said + child.communicate()[0]).split()[-1])
    ledger, other = Ledger(url), Ledger(f"sqlite:///{tmp_path}/other.db")
    look(ledger, done)  # the one that may have been written and was not acknowledged
    for number in range(done + 1):
        look(other, number)
    assert ledger.incidents() == other.incidents()
    assert [each.key for each in ledger.decisions()] == [each.key for each in other.decisions()]
    assert ledger.verify() == other.verify() > 0
    ledger.close()
    other.close()
