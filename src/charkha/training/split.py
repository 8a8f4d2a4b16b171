"""The split by time: learn on the past, judge on what came after, and let no label cross the line.

        ◄──────── train ────────►├ delay ┤◄ validation ►├ delay ┤◄── test ──►├ delay ┤ as of
                                 │                      │                    │
    labels known before          └─ validation begins   └─ test begins       └─ as of

The last gap is there for the same reason as the others: labels that come fast differ from those that come late, so the
newest rows, of which only the fast labels are there, would bend the test. `Split(gap=…)` shortens the gaps before
validation and test, and then labels count that were known by `as of`; the last gap stays.
"""

from typing import Literal

import numpy as np
from attrs import frozen

from charkha.clock import to_iso
from charkha.spec.durations import parse_duration
from charkha.spec.model import Split

TimeArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
IndexArray = np.ndarray[tuple[int, ...], np.dtype[np.intp]]
PartName = Literal["train", "validation", "test"]

BEGINNING = int(np.iinfo(np.int64).min)
# Fewer rows than these give no model, no calibration and no interval worth the name.
SMALLEST: dict[PartName, int] = {"train": 50, "validation": 20, "test": 20}


class SplitTooSmall(ValueError):
    """A part of the split has too few rows. `part`, `rows`, `needed` and the part's `span` say which and why."""

    def __init__(self, part: PartName, rows: int, span: "Span", left_out: int = 0) -> None:
        self.part, self.rows, self.needed, self.span = part, rows, SMALLEST[part], span
        besides = f" {left_out:,} rows of the time of incidents are left out." if left_out else ""
        super().__init__(
            f"the {part} part of the split has {rows} rows with a label known in time, at least {self.needed} are "
            f"needed; it is made of the predictions {span}.{besides} {_remedy(part)}"
        )


def _remedy(part: PartName) -> str:
    if part == "train":
        return (
            "Train as of a later time (charkha train --as-of TIME), shorten Split(validation=…, test=…), or widen "
            "Retrain(window=…)"
        )
    return (
        f"Train as of a time that has labelled predictions shortly before it (charkha train --as-of TIME): history may "
        f"have ended, but for a few newer rows, long before. Or lengthen Split({part}=…), or check that Label(delay=…) "
        "is not shorter than the delay"
    )


@frozen
class Span:
    """A stretch of time in µs since 1970; the end is outside."""

    since_us: int
    until_us: int

    def __str__(self) -> str:
        since = "" if self.since_us == BEGINNING else f"from {to_iso(self.since_us)} "
        return f"{since}until {to_iso(self.until_us)}"

    def holds(self, at_us: TimeArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return which times lie in the span, bool (n,)."""
        return (at_us >= self.since_us) & (at_us < self.until_us)


@frozen
class Spans:
    """The three parts in time, and by when the labels of each must have been known: before its `known_us`."""

    train: Span
    validation: Span
    test: Span
    known_us: dict[PartName, int]


@frozen(eq=False)
class Parts:
    """Row numbers of each part, intp, ascending; no row is in two parts."""

    train: IndexArray
    validation: IndexArray
    test: IndexArray


def split_spans(split: Split, delay_us: int, as_of_us: int, window_us: int | None = None) -> Spans:
    """Return where each part lies in time. `window_us`: the length of the training part; unbounded unless given."""
    gap_us = delay_us if split.gap is None else parse_duration(split.gap)
    test_until = as_of_us - delay_us
    test_since = test_until - parse_duration(split.test)
    validation_until = test_since - gap_us
    validation_since = validation_until - parse_duration(split.validation)
    train_until = validation_since - gap_us
    ended_us = as_of_us + 1
    in_time = split.gap is None
    return Spans(
        Span(BEGINNING if window_us is None else train_until - window_us, train_until),
        Span(validation_since, validation_until),
        Span(test_since, test_until),
        {
            "train": validation_since if in_time else ended_us,
            "validation": test_since if in_time else ended_us,
            "test": ended_us,
        },
    )


def split_by_time(
    at_us: TimeArray,
    label_known_us: TimeArray,
    split: Split,
    delay_us: int,
    as_of_us: int,
    *,
    window_us: int | None = None,
) -> Parts:
    """Cut rows, by the time of prediction and the time their label was known, both int64 µs (n,).

    Each gap between parts is as long as the label's delay, unless the split says otherwise. A row whose label came even
    later than that is left out rather than let across: nothing that was learnt from had been known later than the next
    part begins. Raises SplitTooSmall when a part has fewer rows than `SMALLEST`.
    """
    spans = split_spans(split, delay_us, as_of_us, window_us)
    known_us = spans.known_us
    parts = Parts(
        train=np.flatnonzero(spans.train.holds(at_us) & (label_known_us < known_us["train"])),
        validation=np.flatnonzero(spans.validation.holds(at_us) & (label_known_us < known_us["validation"])),
        test=np.flatnonzero(spans.test.holds(at_us) & (label_known_us < known_us["test"])),
    )
    _require_rows("train", parts.train, spans.train)
    _require_rows("validation", parts.validation, spans.validation)
    _require_rows("test", parts.test, spans.test)
    return parts


def _require_rows(part: PartName, rows: IndexArray, span: Span) -> None:
    if len(rows) < SMALLEST[part]:
        raise SplitTooSmall(part, len(rows), span)
