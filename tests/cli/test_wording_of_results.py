"""How results are shown: figures of a replay, progress on a terminal, the period that is replayed."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

import charkha
from charkha.cli.progress import parts, steps
from charkha.cli.replay import Period, period_of
from charkha.cli.timeline import gain, shown
from charkha.clock import to_datetime
from charkha.operations.replay_summary import Interval
from charkha.spec.project import load_project

UNKNOWN = Interval(None, None, None, 3)
QUICKSTART = Path(charkha.__file__).resolve().parents[2] / "examples" / "quickstart"


@pytest.mark.parametrize(
    ("served", "frozen", "higher_is_better", "expected"),
    [
        (0.75, 0.7, True, "[green]+0.0500[/]"),
        (0.7, 0.75, True, "[red]-0.0500[/]"),
        (0.7, 0.75, False, "[green]+0.0500[/]"),
        (0.7, 0.70001, True, "0"),
    ],
)
def test_a_gain_is_green_when_it_is_better(
    served: float, frozen: float, *, higher_is_better: bool, expected: str
) -> None:
    pair = (Interval(served, None, None, 9), Interval(frozen, None, None, 9))
    assert gain(*pair, higher_is_better=higher_is_better) == expected


def test_what_could_not_be_measured_is_a_dash() -> None:
    assert shown(UNKNOWN) == "-"
    assert gain(UNKNOWN, Interval(0.5, 0.4, 0.6, 9), higher_is_better=True) == "-"
    assert shown(Interval(0.5, 0.4, 0.6, 9)) == "0.5000 ±0.1000"
    assert shown(Interval(0.5, None, None, 9)) == "0.5000"


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


def test_the_last_third_of_the_history_is_replayed_unless_said_otherwise() -> None:
    project = load_project(QUICKSTART)
    model = project.models["likes"]
    period = period_of(project, model, None, None)
    assert to_datetime(period.from_us).date() == datetime(2013, 8, 21, tzinfo=UTC).date()
    assert to_datetime(period.until_us).date() == datetime(2013, 9, 1, tzinfo=UTC).date()
    assert period_of(project, model, "1970-01-01", "1970-01-02") == Period(0, 86_400_000_000)
