"""How often each rule holds, counted beside the answers: a batch only leaves its hits here, and others count them."""

from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import is_not
from typing import NamedTuple

from prometheus_client import Counter

from charkha.serving.lineup import LineUp
from charkha.serving.scoring import Part

# So many are left to be counted by others; it takes them a millisecond.
_MOST_LEFT = 1024

Hits = Sequence[tuple[str, ...]]
Rows = tuple[int, ...] | None


class _Left(NamedTuple):
    """The hits of a part, and without those of rules in shadow: not all of `Scored`, whose features may be large."""

    model: str
    hits: Hits
    told: Hits
    rows: Rows


class RuleHits:
    """Counts by the rules that the versions of each model declare. Safe to use from several threads.

    counter: by model, rule, and whether it is in shadow.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._of_rule: dict[tuple[str, str, bool], Counter] = {}
        self._left: deque[_Left] = deque()

    def declared(self, lineup: LineUp) -> None:
        """Have the rules of a line-up counted from 0 on: a series that begins later hides its first hits."""
        for player in lineup.ruled:
            for rule in player.bundle.rules.declared:
                self._counter_of(lineup.model, rule.name, shadow=rule.shadow)

    def leave(self, model: str, parts: Sequence[Part]) -> None:
        """Have the hits of answers counted, soon. parts: who answered which rows."""
        for scored, rows in parts:
            self._left.append(_Left(model, scored.hits, scored.told, rows))
        if len(self._left) > _MOST_LEFT:
            self.refresh()

    def refresh(self) -> bool:
        """Count what was left; return whether there was any. All of it together: each tally takes a microsecond."""
        hits, told = defaultdict[str, list[Hits]](list), defaultdict[str, list[Hits]](list)
        with suppress(IndexError):  # another thread may take the last of it
            while self._left:
                left = self._left.popleft()
                own = _of(left.hits, left.rows)
                hits[left.model].append(own)
                told[left.model].append(own if left.told is left.hits else _of(left.told, left.rows))
        for model, those in hits.items():
            effective = _tally(told[model])
            shadowed = _tally(those) - effective if any(map(is_not, those, told[model])) else Tally[str]()
            for counted, shadow in ((effective, False), (shadowed, True)):
                for rule, count in counted.items():
                    self._counter_of(model, rule, shadow=shadow).inc(count)
        return bool(hits)

    def problems(self) -> Mapping[str, str]:
        """Return nothing: counting has none."""
        return {}

    def _counter_of(self, model: str, rule: str, *, shadow: bool) -> Counter:
        found = self._of_rule.get((model, rule, shadow))
        if found is None:
            found = self._of_rule[model, rule, shadow] = self._counter.labels(model, rule, str(shadow).lower())
        return found


def _of(hits: Hits, rows: Rows) -> Hits:
    return hits if rows is None else [hits[row] for row in rows]


def _tally(hits: Iterable[Hits]) -> Tally[str]:
    return Tally(chain.from_iterable(filter(None, chain.from_iterable(hits))))  # most rows hit nothing
