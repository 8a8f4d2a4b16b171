"""What the steps of the diagnosis benchmark share: looks at the worlds, made in processes side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from attrs import define, frozen
from diagnosis_looks import Seen, days_of
from diagnosis_worlds import world
from features_child import Outcome, in_child

from charkha.operations.drills.catalogue import INCIDENTS
from charkha.spec.drills import PAIR

Anchors = Mapping[str, Sequence[int]]
# The days on which watched weeks begin. Whatever is chosen by hand in the checks was chosen on days such as these …
LEARNT_ON: Anchors = {"flights": (28, 133), "taxi": (60,), "loans": (42,), "bank": (30,)}
# … and is shown on these, which were not looked at before that: no rule was mended for what they show. (Of bank calls
# there are eight weeks, then months with hardly any.)
SHOWN_ON: Anchors = {"taxi": (200, 330), "loans": (77, 91), "flights": (112, 175), "bank": (44,)}
# Two kinds at once: so many pairs, of which one has to be found, drawn by chance.
PAIRS, PAIRS_SEED = 12, 5
FIRST_DAY = 28
DENSE_ON: Anchors = {"flights": (63,), "taxi": (90,)}
OF_EVERY_ROW = ("unit_change", "null_flood", "constant", "schema_change")


@frozen
class Extent:
    """How much is looked at.

    scales: of the default size. smaller: what is reported beside. seeds: of dense drills. every_week: one natural week
    in so many. model_months: simulated, in which nothing happens. rows: that a check is timed with.
    """

    learnt: Anchors = LEARNT_ON
    shown: Anchors = SHOWN_ON
    scales: Sequence[float] = (1.0, 2.0)
    smaller: Sequence[float] = (0.5,)
    seeds: int = 6
    every_week: int = 1
    model_months: int = 1_000
    rows: int = 1_000_000


QUICK = Extent(
    learnt={"bank": (30,)},
    shown={"taxi": (200,), "loans": (77,), "flights": (175,)},
    scales=(1.0,),
    smaller=(),
    seeds=3,
    every_week=2,
    model_months=50,
    rows=100_000,
)


@define(slots=False, eq=False)
class Bench:
    """A temporary folder to work in. cache: where worlds and peers' environments are kept. side_by_side: processes."""

    folder: Path
    cache: Path
    extent: Extent = Extent()
    side_by_side: int = 2
    tell: Callable[[str], None] = print

    @property
    def log(self) -> Path:
        """What the processes of this run say."""
        return self.folder / "log"

    def child(self, function: str, **arguments: Any) -> Outcome:
        """Have a function called in a process of its own."""
        return in_child(function, self.log, **arguments)

    @cached_property
    def shown(self) -> list[Seen]:
        """The drills of the worlds and times on which nothing was chosen."""
        return self.drilled(self.extent.shown, self.extent.scales)

    @cached_property
    def learnt(self) -> list[Seen]:
        """The drills of the worlds and times on which the checks were made."""
        return self.drilled(self.extent.learnt, self.extent.scales[:1])

    @cached_property
    def natural(self) -> list[Seen]:
        """The natural weeks of all worlds."""
        chunks = []
        for name in dict.fromkeys((*self.extent.learnt, *self.extent.shown)):
            days = list(range(FIRST_DAY, days_of(world(name).traffic) - 6, 7 * self.extent.every_week))
            chunks += [("weeks", {"name": name, "days": days[start::2]}) for start in (0, 1)]
        return self._looked(chunks)

    def drilled(self, anchors: Anchors, scales: Sequence[float]) -> list[Seen]:
        """Return what was seen of every kind of incident at some sizes, on some days of the worlds."""
        return self._drilled(sorted(INCIDENTS), anchors, scales)

    @cached_property
    def pairs(self) -> list[Seen]:
        """The drills of two kinds at once, on the first of the shown days of each world."""
        first = {name: days[:1] for name, days in self.extent.shown.items()}
        return self._drilled(some_pairs(), first, [1.0])

    def _drilled(self, kinds: Sequence[str], anchors: Anchors, scales: Sequence[float]) -> list[Seen]:
        for name in anchors:
            world(name)  # once, before several processes would make it
        chunks = [
            ("drills", {"name": name, "day": day, "kinds": list(kinds[start::2]), "scales": list(scales)})
            for name, days in anchors.items()
            for day in days
            for start in (0, 1)
        ]
        return self._looked(chunks)

    def dense(self, anchors: Anchors) -> list[Seen]:
        """Return what was seen of faults of every row of a feature, at ten questions a minute."""
        return self._looked(
            [
                ("minutes", {"name": name, "day": day, "kinds": [kind], "seeds": list(range(self.extent.seeds))})
                for name, days in anchors.items()
                for day in days
                for kind in OF_EVERY_ROW
            ]
        )

    def _looked(self, chunks: Sequence[tuple[str, dict[str, Any]]]) -> list[Seen]:
        found: list[Seen] = []
        with ThreadPoolExecutor(self.side_by_side) as pool:
            running = {pool.submit(self._chunk, number, *chunk): chunk for number, chunk in enumerate(chunks)}
            try:
                for done in as_completed(running):
                    found += done.result()
                    what, asked = running[done]
                    self.tell(f"    {what} of {asked['name']}: {len(done.result())} looks, {len(found)} in all")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return found

    def _chunk(self, number: int, what: str, asked: dict[str, Any]) -> list[Seen]:
        out = self.folder / f"{what}-{asked['name']}-{asked.get('day', '')}-{number}.jsonl"
        self.child(f"diagnosis_looks:{what}", **asked, out=str(out))
        return list(read_seen(out))


def some_pairs() -> list[str]:
    """Return pairs of kinds, each with one that has to be found beside any other."""
    random = Random(PAIRS_SEED)
    harmful, every = sorted(kind for kind, each in INCIDENTS.items() if each.harmful), sorted(INCIDENTS)
    possible = [f"{one}{PAIR}{other}" for one in harmful for other in every if one != other]
    return sorted(random.sample(possible, PAIRS))


def read_seen(path: Path) -> Iterator[Seen]:
    """Yield what was written down, line by line."""
    decoder = msgspec.json.Decoder(Seen)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
