"""Progress on a terminal, and the period that is replayed."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

import charkha
from charkha.cli.progress import parts, steps, stoppable
from charkha.cli.replay import Period, period_of
from charkha.clock import to_datetime
from charkha.spec.project import load_project

QUICKSTART = Path(charkha.__file__).resolve().parents[2] / "examples" / "quickstart"


def written_by(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with steps(console) as on_step:
        on_step("fitting")
    with parts(console) as on_progress:
        on_progress(3, 4, "replaying 2013-08-22")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_progress_is_shown_on_a_terminal_and_nowhere_else() -> None:
    assert "replaying 2013-08-22" in written_by(terminal=True)
    assert written_by(terminal=False) == ""


def test_what_takes_minutes_is_told_in_lines_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=20)
    with steps(console, lines=True) as on_step:
        on_step("preparing the flights of [2013]")
    with parts(console, lines=True) as on_progress:
        on_progress(0, 400, "reading history")
        for day in range(400):
            on_progress(day, 400, f"replaying day {day}")
        on_progress(0, 0, "recomputing every served feature")
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue().splitlines()
    assert told[:2] == ["preparing the flights of [2013]", "reading history"]
    assert told[-2:] == ["replaying day 360 (90 %)", "recomputing every served feature"]
    assert len(told) == 2 + 2 + 9 + 1


def test_what_remains_is_said_when_it_is_stopped() -> None:
    console = Console(file=io.StringIO(), width=100)
    with pytest.raises(KeyboardInterrupt), stoppable(console, "the same command goes on"):
        raise KeyboardInterrupt
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "stopped: the same command goes on\n"


def test_the_last_third_of_the_history_is_replayed_unless_said_otherwise() -> None:
    project = load_project(QUICKSTART)
    model = project.models["likes"]
    period = period_of(project, model, None, None)
    assert to_datetime(period.from_us).date() == datetime(2013, 8, 21, tzinfo=UTC).date()
    assert to_datetime(period.until_us).date() == datetime(2013, 9, 1, tzinfo=UTC).date()
    assert period_of(project, model, "1970-01-01", "1970-01-02") == Period(0, 86_400_000_000)
