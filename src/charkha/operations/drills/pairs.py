"""Two incidents at once: what harms has to be found, whatever else goes on at the time."""

from collections.abc import Mapping, Sequence
from functools import partial, reduce

from attrs import field, frozen

from charkha.features.plan import FeaturePlan
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident
from charkha.spec.drills import CAUSES, PAIR, Cause

# As what is asked becomes what is served, and then what is known of it.
ORDER: tuple[Cause, ...] = ("benign", "population", "prior", "concept", "source", "skew", "infrastructure", "label")


@frozen
class PairFault(Fault):
    """A fault of each of two kinds, from the same time on; resolved, in the order of the pair."""

    parts: tuple[Fault, Fault] = field(kw_only=True)


@frozen(eq=False, kw_only=True)
class Pair(Incident):
    """Two kinds at once.

    It is found once either of those that have to be is, under the cause of either; `cause` is the one that a diagnosis
    asks for first. So its window is the one that is over first.
    """

    parts: tuple[Incident, Incident]

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes of what has to be found; of two that harm nobody, both."""
        found = tuple(each.cause for each in self.parts if each.harmful)
        return found or tuple(each.cause for each in self.parts)

    def resolved(self, fault: Fault, traffic: Traffic, plan: FeaturePlan) -> PairFault:
        """Return both faults with their subjects and sizes. Raises BadFault for traffic that either cannot hit."""
        first, second = (
            part.resolved(Fault(part.kind, fault.since_us, fault.until_us, seed=fault.seed + place), traffic, plan)
            for place, part in enumerate(self.parts)
        )
        subject = " and ".join(each.subject for each in (first, second) if each.subject is not None)
        return PairFault(
            self.kind, fault.since_us, fault.until_us, subject or None, self.size, fault.seed, parts=(first, second)
        )

    def harms(self, fault: Fault, plan: FeaturePlan) -> bool:
        """Say whether either has to be found."""
        return any(part.harms(each, plan) for part, each in self._of(fault))

    def culprits(self, fault: Fault, plan: FeaturePlan) -> tuple[str, ...]:
        """Return the names of which a diagnosis may give any as the culprit; none where one has no name of its own."""
        named = [part.culprits(each, plan) for part, each in self._of(fault) if part.harms(each, plan)]
        return tuple(name for names in named for name in names) if all(named) else ()

    def deadline_us(self, fault: Fault, traffic: Traffic) -> int:
        """Return the end of the stated window that is over first, of those that have to be found (µs)."""
        times = [part.deadline_us(each, traffic) for part, each in self._of(fault) if part.harmful]
        return min(times or [part.deadline_us(each, traffic) for part, each in self._of(fault)])

    def _of(self, fault: Fault) -> Sequence[tuple[Incident, Fault]]:
        if not isinstance(fault, PairFault):
            raise TypeError(f"expected a resolved fault of {self.kind}, got {fault}")
        return list(zip(self.parts, fault.parts, strict=True))


def pair_of(first: Incident, second: Incident) -> Pair:
    """Return two kinds as one."""
    parts = (first, second)
    return Pair(
        kind=PAIR.join(each.kind for each in parts),
        cause=min((each.cause for each in parts if each.harmful), key=CAUSES.index, default="benign"),
        words=f"{first.words}; and {second.words}",
        inject=partial(_injected, parts),
        unit="none",
        size=1.0,
        harmful=any(each.harmful for each in parts),
        every_row=all(each.every_row for each in parts),
        within=first.within,
        rows=min(each.rows for each in parts),
        by_labels=all(each.by_labels for each in parts),
        touches=first.touches | second.touches,
        parts=parts,
    )


def kind_of(name: str, kinds: Mapping[str, Incident]) -> Incident:
    """Return a kind, or a pair of two that are joined by `+`. Raises KeyError."""
    first, plus, second = name.partition(PAIR)
    return pair_of(kinds[first], kinds[second]) if plus else kinds[name]


def _injected(parts: tuple[Incident, Incident], traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Put both in: what is of the world before what is of its data, and that before what is of the server."""
    resolved = fault.parts if isinstance(fault, PairFault) else ()
    ordered = sorted(zip(parts, resolved, strict=True), key=lambda each: ORDER.index(each[0].cause))
    return reduce(lambda bent, each: each[0].inject(bent, each[1], rescore), ordered, traffic)
