"""The operator's look for incidents: once an hour, never in the way, and before anything is learnt from."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from operator_world import NAME, make_project, midnight, trainer

sys.path.append(str(Path(__file__).parents[1] / "monitoring"))
sys.path.append(str(Path(__file__).parents[1] / "serving"))
from diagnoses import NOW_US, diagnosis, healthy
from serving_project import MODEL, Stage, open_stage
from serving_project import NOW_US as SERVING_US

from charkha.clock import SimulatedClock
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.incidents import observe
from charkha.monitoring.performance import Span
from charkha.operations.diagnosis_child import LookFailed, diagnose_in_child
from charkha.operations.history import TooLittleHistory
from charkha.operations.incident_watch import IncidentWatch
from charkha.operations.notifier import Notifier
from charkha.operations.operator import Operator
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import open_home
from charkha.storage.ledger import Draft, Ledger
from charkha.training.tracking import NoTracker

MINUTE_US = 60_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


class Looks:
    """Looks that find what they are told to, or fail with it."""

    def __init__(self, found: Callable[[int], Diagnosis] | Exception) -> None:
        self.at_us: list[int] = []
        self.found = found

    def __call__(self, model: str, now_us: int) -> Diagnosis:
        self.at_us.append(now_us)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found(now_us)


def test_it_looks_once_an_hour_whoever_asks(ledger: Ledger) -> None:
    looks = Looks(healthy)
    for minute in range(0, 121, 10):
        # A watch of its own each time: `charkha operate --once` by a scheduler.
        IncidentWatch(ledger, looks).watch("late", NOW_US + minute * MINUTE_US)
    assert looks.at_us == [NOW_US, NOW_US + HOUR_US, NOW_US + 2 * HOUR_US]
    IncidentWatch(ledger, looks).watch("late", NOW_US - DAY_US)  # a clock that was put back stops no look
    assert len(looks.at_us) == 4


def test_what_it_finds_is_opened_once_and_told(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []

    class Telling(Notifier):
        def tell(self, now_us: int) -> None:
            told.append(now_us)
            self.troubles.append("webhook at ops.example answered 404")

    watch = IncidentWatch(ledger, Looks(diagnosis), Telling(ledger, {}))
    with caplog.at_level(logging.INFO):
        for hour in range(3):
            watch.watch("late", NOW_US + hour * HOUR_US)
            watch.tell(NOW_US + hour * HOUR_US)
    assert [(each.id, each.status, each.looked_us) for each in ledger.incidents("late")] == [
        ("late-1", "open", NOW_US + 2 * HOUR_US)
    ]
    assert told == [NOW_US + hour * HOUR_US for hour in range(3)]
    assert "late: source: null flood of weather.temp; open: late-1" in caplog.messages
    assert caplog.messages.count("webhook at ops.example answered 404") == 2  # of the two looks before the last


def test_too_little_history_is_no_error(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    little = TooLittleHistory("late", 3, 40, Span(NOW_US - 7 * DAY_US, NOW_US))
    with caplog.at_level(logging.INFO):
        IncidentWatch(ledger, Looks(little)).watch("late", NOW_US)
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert "found 40 predictions on 3 days" in record.message


def test_a_look_that_fails_is_told_and_tried_again_in_an_hour(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks(OSError("the disk is gone"))
    watch = IncidentWatch(ledger, looks)
    for minute in (0, 1, 59, 60):
        watch.watch("late", NOW_US + minute * MINUTE_US)
    assert looks.at_us == [NOW_US, NOW_US + HOUR_US]
    assert "the disk is gone" in caplog.text


def test_a_look_that_kills_the_process_is_not_made_again_at_once(ledger: Ledger) -> None:
    class Killed(BaseException):
        pass

    def dies(model: str, now_us: int) -> Diagnosis:
        raise Killed

    with pytest.raises(Killed):
        IncidentWatch(ledger, dies).watch("late", NOW_US)
    looks = Looks(healthy)
    IncidentWatch(ledger, looks).watch("late", NOW_US + MINUTE_US)
    assert looks.at_us == []


def test_a_look_that_takes_long_is_made_less_often(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 600))
    monkeypatch.setattr("charkha.operations.incident_watch.time.perf_counter", lambda: next(clock))
    looks = Looks(healthy)
    watch = IncidentWatch(ledger, looks)  # of ten minutes each
    for hour in range(8):
        watch.watch("late", NOW_US + hour * HOUR_US)
    assert looks.at_us == [NOW_US, NOW_US + 4 * HOUR_US]


def test_the_operator_looks_before_it_trains(tmp_path: Path) -> None:
    project, clock = make_project(tmp_path / "project"), SimulatedClock(midnight(30))
    with open_home(project.home) as home:
        looks = Looks(lambda now_us: evolve(diagnosis(now_us), model=NAME, began_us=now_us, earliest_us=now_us - 1))
        watch = IncidentWatch(home.ledger, looks)
        operator = Operator(project, home, clock, trainer(home, clock, NoTracker()), NoTracker(), incidents=watch)
        assert operator.tick(NAME)[-1].action == "promote"
        assert looks.at_us == []  # nobody has served yet
        clock.advance_to(midnight(31))
        assert [each.action for each in operator.tick(NAME)] == ["page"]
        assert looks.at_us == [midnight(31)]
        (incident,) = home.ledger.incidents(NAME)
        withdrawn = Draft("gone", clock.now(), NAME, "asha", "withdraw", "to see", {"version": "v1"})
        home.ledger.decide(withdrawn, deploy=[], expect_generation=home.ledger.deployment(NAME).generation)
        clock.advance_to(midnight(40))
        (held,) = operator.tick(NAME)
        assert (held.action, held.evidence["incidents"]) == ("train_waits", [incident.id])
        assert held.reason.startswith(f"training waits: incident {incident.id}: source: null flood of weather.temp")
        assert operator.tick(NAME) == []
        observe(home.ledger, evolve(healthy(midnight(42)), model=NAME))
        clock.advance_to(midnight(42))
        assert operator.tick(NAME)[0].action == "train"


def served(stage: Stage, days: int) -> int:
    """Have a few questions answered on so many days, and return when that is over."""
    for day in range(days):
        stage.clock.advance_to(SERVING_US + day * DAY_US)
        rows = [("Pune", float(km), 2, True) for km in range(1, 6)]
        stage.service.answer([stage.service.ask_rows(MODEL, rows)])
    return SERVING_US + days * DAY_US


def test_a_child_diagnoses_what_was_served(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        now_us = served(stage, 16)
        model = stage.project.models[MODEL]
        found = diagnose_in_child(stage.project, model, now_us)
        assert (found.model, found.watched) == (MODEL, Span(now_us - 7 * DAY_US, now_us))
        with pytest.raises(TooLittleHistory, match=r"found 15 predictions on 3 days\. In all .* since"):
            diagnose_in_child(stage.project, model, SERVING_US + 10 * DAY_US)
        with pytest.raises(LookFailed, match=r"it took longer than 0.001 minutes and was ended"):
            diagnose_in_child(stage.project, model, now_us, minutes=0.001)
