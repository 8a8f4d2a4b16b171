"""A kind of incident: what it does to traffic, and what a good diagnosis should say of it."""

from collections.abc import Callable, Sequence, Set

import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.features.plan import FeaturePlan
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.targets import Subjects, Target, nothing
from charkha.spec.drills import Cause
from charkha.spec.durations import parse_duration

Inject = Callable[[Traffic, Fault, Rescore], Traffic]


@frozen(eq=False, kw_only=True)
class Incident:
    """One kind of the catalogue.

    cause: what a diagnosis should call it. words: what happens, as a sentence. subjects: what it can hit in some
    traffic. unit, size: what the size of a fault means, and how strong it is unless a fault says otherwise.
    harmful: whether it has to be found; what is not harmful must not be reported. every_row: whether all rows of what
    it hits are changed. within, rows: it should be found once so long a time has passed and so many questions were hit
    (for what is seen in labels: so many labels of them known), whichever is later.
    by_labels: whether it is seen in labels alone. touches: the frames it changes. reaches: whether what a fault hits
    reaches the model at all.
    """

    kind: str
    cause: Cause
    words: str
    inject: Inject
    subjects: Subjects = nothing
    unit: str
    size: float
    harmful: bool = True
    every_row: bool = True
    within: str
    rows: int
    by_labels: bool = False
    reaches: Callable[[Fault, FeaturePlan], bool] = lambda fault, plan: True
    touches: Set[str]

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What a diagnosis may call it."""
        return (self.cause,)

    def resolved(self, fault: Fault, traffic: Traffic, plan: FeaturePlan) -> Fault:
        """Return a fault with its subject and size: the default size, and a subject chosen by the seed.

        Raises BadFault for traffic that this kind cannot hit.
        """
        span = fault.within(traffic.span)
        if span.until_us <= span.since_us:
            raise BadFault(
                fault, "a span within that of the traffic", f"{span}", "Choose another since_us or until_us."
            )
        size = self.size if fault.size is None else fault.size
        if fault.subject is not None or self.subjects is nothing:
            return evolve(fault, size=size)
        possible = self.subjects(traffic, plan)
        if not possible:
            found = f"traffic of model {traffic.model!r} that has none"
            raise BadFault(fault, f"something that {self.kind} can hit", found, "Leave this kind out for this model.")
        return evolve(fault, size=size, subject=possible[fault.seed % len(possible)])

    def harms(self, fault: Fault, plan: FeaturePlan) -> bool:
        """Say whether a fault has to be found: what does not reach the model, as a row that a key repeats, has not."""
        return self.harmful and self.reaches(fault, plan)

    def culprits(self, fault: Fault, plan: FeaturePlan) -> tuple[str, ...]:
        """Return the names of which a diagnosis may give any as the culprit, the exact one first."""
        return () if fault.subject is None else Target.of(fault.subject).names(plan)

    def deadline_us(self, fault: Fault, traffic: Traffic) -> int:
        """Return until when a fault should be found; the end of its stated window (µs).

        The largest time where the traffic ends before enough was hit.
        """
        span = fault.within(traffic.span)
        asked = traffic.predictions.filter(pl.col("role") != "shadow").select("id", "_at_us")
        hit = asked.filter((pl.col("_at_us") >= span.since_us) & (pl.col("_at_us") < span.until_us)).unique("id")
        times = hit["_at_us"]
        if self.by_labels:
            first = traffic.labels.unique("id", keep="first", maintain_order=True)
            times = first.join(hit, on="id", how="semi")["_label_known_us"]
        ordered = np.sort(times.to_numpy())
        enough = int(ordered[self.rows - 1]) if len(ordered) >= self.rows else 1 << 62
        return max(span.since_us + parse_duration(self.within), enough)


def check_subject(fault: Fault, possible: Sequence[str], what: str) -> None:
    """Raise BadFault unless a fault's subject is among those that are possible."""
    if fault.subject not in possible:
        some = ", ".join(map(repr, possible[:5])) + (", …" if len(possible) > 5 else "")
        raise BadFault(fault, f"{what} as its subject", repr(fault.subject), f"Possible here: {some or 'none'}.")
