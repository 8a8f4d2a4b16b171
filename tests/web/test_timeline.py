from io import StringIO

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from replay_summaries import SUMMARIES, a_year
from rich.console import Console

from charkha.operations.replay_summary import ReplaySummary
from charkha.web.timeline import WIDTH, bar, render_timeline, shorten


def printed(summary: ReplaySummary) -> str:
    written = StringIO()
    Console(file=written, width=WIDTH, color_system=None).print(render_timeline(summary))
    return written.getvalue()


def test_months_tell_both_models_and_who_answered() -> None:
    lines = printed(a_year()).splitlines()
    july = next(line for line in lines if line.startswith("July 2013"))

    assert july.split()[2:4] == ["28,400", "0.783"]
    assert "0.768" in july
    assert "+0.015" in july
    assert july.rstrip().endswith("v2 → v4")


def test_decisions_have_their_day_and_reason_and_shadows_are_left_out() -> None:
    text = printed(a_year())

    assert "13 May 2013  promote  v2  log loss 0.402 against" in text
    assert "13 Jun 2013  reject   v3" in text
    assert "scores every request unseen" not in text


def test_the_last_line_is_the_result() -> None:
    assert printed(a_year()).splitlines()[-2:] == [
        "5 retrained, 3 promoted, 2 rejected. Served and recomputed features differ by 4.4e-16 at most.",
        "Served ROC-AUC 0.771, never retrained 0.763: +0.008 (mean of the months, better in 7, worse in 1).",
    ]


def test_it_fits_its_width_and_is_compact() -> None:
    lines = printed(a_year()).splitlines()

    assert max(len(line) for line in lines) <= WIDTH
    assert len(lines) < 50


def test_nothing_that_happened_is_still_told() -> None:
    text = printed(replace(a_year(), months=(), decisions=(), max_skew=0.0))

    assert "No month has enough labels to say how the model did." in text


def test_markup_in_a_reason_is_text() -> None:
    year = a_year()
    row = replace(year.decisions[0], reason="[bold]not bold[/bold] [link=x]")

    assert "[bold]not bold[/bold] [link=x]" in printed(replace(year, decisions=(row,)))


@settings(max_examples=40, deadline=None)
@given(SUMMARIES)
def test_any_summary_can_be_printed(summary: ReplaySummary) -> None:
    assert "retrained" in printed(summary)


@given(st.integers(0, 144))
def test_bars_are_as_long_as_their_value(eighths: int) -> None:
    drawn = bar(eighths / 8)

    assert len(drawn) == -(-eighths // 8)
    assert drawn.count("█") == eighths // 8


@given(text=st.text(max_size=60), longest=st.integers(1, 40))
def test_shortened_text_fits_and_begins_as_it_did(text: str, longest: int) -> None:
    short = shorten(text, longest)

    assert len(short) <= longest
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))
