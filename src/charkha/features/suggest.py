"""A contract to begin from, made of rows that are there: what they keep today, with room for tomorrow."""

import json
import math
from collections.abc import Iterator, Mapping

import polars as pl
from attrs import frozen

from charkha.spec.contracts import Contract, Expect
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.fields import FieldType
from charkha.spec.sources import Source

# A text is a choice among few when it has at most so many values, each of them so often.
MOST_VALUES, FEWEST_OF_EACH = 30, 5
# Room beside what was seen: of the range, of the share of nulls, of the rows of a day.
RANGE_ROOM, NULL_ROOM, VOLUME_ROOM = 0.1, 1.5, 1.5
_DAYS = 7
_NO_NULLS_FROM = 100  # rows without a null, to say that there is never one


@frozen
class Suggestion:
    """What rows keep. ordered: two time columns of which the second is never before the first, or None."""

    fields: Mapping[str, Expect]
    ordered: tuple[str, str] | None
    unique: bool
    max_age: str | None
    rows_per_day: tuple[float, float] | None

    def contract(self) -> Contract:
        """Return it as a contract."""
        where = {self._rule: pl.col(self.ordered[1]) >= pl.col(self.ordered[0])} if self.ordered else {}
        return Contract(
            fields=self.fields,
            where=where,
            unique=self.unique,
            max_age=self.max_age,
            rows_per_day=self.rows_per_day,
        )

    def code(self, *, still: bool = False) -> str:
        """Return it as Python to paste into a `ck.Source(…)`. still: no new rows come, so that these would fail."""
        lines = [f"        {_quoted(name)}: {_code_of(expect)}," for name, expect in self.fields.items()]
        parts = ["    fields={", *lines, "    },"] if lines else []
        if self.ordered:
            time, known = self.ordered
            rule = f"pl.col({_quoted(known)}) >= pl.col({_quoted(time)})"
            parts.append(f"    where={{{_quoted(self._rule)}: {rule}}},")
        if self.unique:
            parts.append("    unique=True,")
        live = [f'max_age="{self.max_age}",'] if self.max_age else []
        if self.rows_per_day:
            live.append(f"rows_per_day=({self.rows_per_day[0]:_}, {self.rows_per_day[1]:_}),")
        parts += [f"    # {part}  # once new rows come" if still else f"    {part}" for part in live]
        return "\n".join(("contract=ck.Contract(", *parts, "),"))

    @property
    def _rule(self) -> str:
        time, known = self.ordered or ("", "")
        return f"{known} not before {time}"


def suggest(source: Source, sample: pl.DataFrame, known_us: pl.Series) -> Suggestion:
    """Return what the rows of a source keep.

    sample: some of its rows. known_us: when all of them became known (µs).
    """
    fields = {name: _expect(sample[name], kind, name in source.key) for name, kind in source.fields.items()}
    ordered = _ordered(source, sample)
    unique = bool(source.key) and not sample.select(pl.struct(source.key).is_duplicated().any()).item()
    known = known_us.drop_nulls().sort()
    timed = not source.static and len(known) > 1
    return Suggestion(
        {name: expect for name, expect in fields.items() if expect != Expect()},
        ordered,
        unique,
        _age(known) if timed else None,
        _volume(known) if timed else None,
    )


def _expect(values: pl.Series, kind: FieldType, is_key: bool) -> Expect:
    nulls, present = _nulls(values), values.drop_nulls()
    if is_key or present.is_empty():
        return Expect(nulls=nulls)
    if kind is str:
        counts = present.value_counts()
        few = counts.height <= MOST_VALUES and counts["count"].min() >= FEWEST_OF_EACH  # type: ignore[operator]
        return Expect(allowed=tuple(present.unique().sort()) if few else None, nulls=nulls)
    if kind not in (int, float) or _is_id(values.name):
        return Expect(nulls=nulls)
    low, high = _range([float(present.min()), float(present.max())])  # type: ignore[arg-type]
    return (
        Expect(low=math.floor(low), high=math.ceil(high), nulls=nulls)
        if kind is int
        else Expect(low=low, high=high, nulls=nulls)
    )


def _is_id(name: str) -> bool:
    """Say whether a number is a name: the next one is larger than all before it."""
    return name == "id" or name.lower().endswith("_id")


def _nulls(values: pl.Series) -> float | None:
    missing = values.null_count()
    if not missing:
        return 0 if len(values) >= _NO_NULLS_FROM else None
    share = missing / len(values) * NULL_ROOM
    return None if share >= 1 else math.ceil(round(share * 1000, 6)) / 1000


def _range(found: list[float]) -> tuple[float, float]:
    """Return a range around numbers, its ends round; it does not go below zero where they do not."""
    low, high = found
    room = (high - low) * RANGE_ROOM or max(1.0, abs(high) * RANGE_ROOM)
    step = 10.0 ** math.floor(math.log10(room))
    digits = max(0, -math.floor(math.log10(step)))
    below, above = math.floor((low - room) / step) * step, math.ceil((high + room) / step) * step
    return round(max(0.0, below) if low >= 0 else below, digits), round(above, digits)


def _ordered(source: Source, sample: pl.DataFrame) -> tuple[str, str] | None:
    if source.time is None or source.known is None or source.known == source.time:
        return None
    early = (sample[source.known] < sample[source.time]).any()
    return None if early else (source.time, source.known)


def _age(known: pl.Series) -> str:
    """Return twice the longest time without a new row, in whole hours or days."""
    longest = int(known.diff().max() or 0)  # type: ignore[arg-type]
    hours = max(1, math.ceil(2 * longest / HOUR_US))
    return f"{hours}h" if hours <= 48 else f"{math.ceil(hours / 24)}d"


def _volume(known: pl.Series) -> tuple[float, float] | None:
    """Return the fewest and most rows of a whole day with room; None when there are too few days."""
    days = known // DAY_US
    first, last = int(days[0]) + 1, int(days[-1]) - 1
    if last - first + 1 < _DAYS:
        return None
    counts = days.value_counts(name="rows").filter(pl.col(known.name).is_between(first, last))
    fewest = int(counts["rows"].min()) if counts.height == last - first + 1 else 0  # type: ignore[arg-type]
    return math.floor(fewest / VOLUME_ROOM), math.ceil(int(counts["rows"].max()) * VOLUME_ROOM)  # type: ignore[arg-type]


def _code_of(expect: Expect) -> str:
    return f"ck.Expect({', '.join(_arguments(expect))})"


def _arguments(expect: Expect) -> Iterator[str]:
    for name in ("low", "high"):
        bound = getattr(expect, name)
        if bound is not None:
            yield f"{name}={int(bound) if bound == int(bound) else bound:_}"
    if expect.allowed is not None:
        values = ", ".join(_quoted(value) for value in expect.allowed)
        yield f"allowed=[{values}]"
    if expect.nulls is not None:
        yield f"nulls={expect.nulls:g}"


def _quoted(text: object) -> str:
    """Return a text as Python; what JSON writes is that, too."""
    return json.dumps(text, ensure_ascii=False)
