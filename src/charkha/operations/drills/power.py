"""A power analysis of the diagnosis: incidents are put into traffic, which is then looked at hour by hour.

healthy traffic ──quiet?──▶ for each kind and seed: inject → first look that finds it → verdict → smallest size
"""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from attrs import evolve, frozen

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.performance import Span
from charkha.monitoring.rescore import Rescore
from charkha.operations.drills.drilled import Drilled, Power, Verdict
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.seen import Seen, first_seen, next_look
from charkha.operations.drills.sizes import FIXED, sizes_of, smallest_seen
from charkha.spec.durations import MICROS

OnProgress = Callable[[int, int, str], None]


class CannotDrill(Exception):
    """Traffic that nothing can be put into, or in which nothing could be told."""


class NotHealthy(CannotDrill):
    """Traffic in which something is wrong before anything was put in."""

    def __init__(self, model: str, seen: Seen) -> None:
        self.model, self.seen = model, seen
        earliest_us = seen.diagnosis.earliest_us
        at, before = (to_iso(time_us)[:16] for time_us in (seen.at_us, earliest_us or seen.at_us))
        super().__init__(
            f"model {model!r}: expected traffic in which nothing is wrong, but as it is the diagnosis of {at} says: "
            f"{seen.diagnosis.headline}. Drill what came before it: --until {before}. Or see: "
            f"charkha diagnose {model} --until {at}"
        )


class NoBundles(CannotDrill):
    """Traffic of versions whose bundles are not at hand: what a bent row would score cannot be told."""

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"model {model!r}: expected the bundles of all versions that served in this time, to score what is bent; "
            "one of them is not there, or nothing was served. Drill a time that the present versions served: --window"
        )


@frozen(eq=False)
class Bench:
    """What faults are tried on: a case of healthy traffic, and what scores it."""

    case: Case
    rescore: Rescore

    @classmethod
    def of(cls, case: Case) -> "Bench":
        """Return a bench. Raises NoBundles, and NotHealthy when hourly looks would find something as it is."""
        if case.rescore is None:
            raise NoBundles(case.traffic.model)
        seen = first_seen(case)
        if seen is not None:
            raise NotHealthy(case.traffic.model, seen)
        return cls(case, case.rescore)


def drill(
    case: Case,
    kinds: Sequence[Incident],
    seeds: Sequence[int] = (1,),
    *,
    sizes: bool = True,
    on_progress: OnProgress = lambda done, total, text: None,
) -> Power:
    """Return what hourly looks at a case would find of incidents of some kinds, each once for every seed.

    case: of traffic as it is. The seed chooses what is hit, and when within the second seventh of what is watched.
    sizes: whether the smallest size that would be seen is looked for, which takes twice as long. on_progress: is
    told how much of how much is done, and what. Raises NoBundles and NotHealthy.
    """
    total = len(kinds) * len(seeds) + 1
    on_progress(0, total, "looking at the traffic as it is")
    bench, drilled = Bench.of(case), []
    for done, (incident, seed) in enumerate(product(kinds, seeds), start=1):
        on_progress(done, total, incident.kind)
        drilled.append(drilled_once(bench, incident, seed, sizes=sizes))
    at_us = case.traffic.predictions["_at_us"]
    watched = at_us.is_between(case.watched.since_us, case.watched.until_us, closed="left").sum()
    return Power(
        model=case.traffic.model,
        healthy=case.healthy,
        watched=case.watched,
        predictions=int(watched),
        drilled=tuple(drilled),
    )


def drilled_once(bench: Bench, incident: Incident, seed: int, *, sizes: bool) -> Drilled:
    """Return what is found of one incident; one that this traffic cannot have is left out, with the reason."""
    fault = Fault(incident.kind, onset_us(bench.case.watched, seed), seed=seed)
    try:
        found = _tried(bench, incident, fault)
        if not sizes or not found.harmful or found.verdict == "too_soon" or incident.unit in FIXED:
            return found
        return evolve(found, smallest=_smallest(bench, incident, fault, found))
    except BadFault as error:
        return Drilled(
            kind=incident.kind,
            cause=incident.cause,
            harmful=incident.harmful,
            seed=seed,
            since_us=fault.since_us,
            verdict="left_out",
            reason=str(error),
        )


def onset_us(watched: Span, seed: int) -> int:
    """Return when a fault begins: at a minute of the second seventh of what is watched, chosen by the seed."""
    seventh = (watched.until_us - watched.since_us) // 7
    drawn = int(np.random.default_rng(seed).integers(0, max(1, seventh // MICROS["m"])))
    return watched.since_us + seventh + drawn * MICROS["m"]


def _tried(bench: Bench, incident: Incident, fault: Fault) -> Drilled:
    """Put a fault in and say what is found of it. Raises BadFault."""
    case, plan = bench.case, bench.rescore.plan
    resolved = incident.resolved(fault, case.traffic, plan)
    seen = first_seen(_bent(bench, incident, resolved), resolved.since_us + 1)
    harmful, end_us = incident.harms(resolved, plan), case.watched.until_us
    deadline_us = next_look(incident.deadline_us(resolved, case.traffic))
    culprits = incident.culprits(resolved, plan)
    return Drilled(
        kind=incident.kind,
        cause=incident.cause,
        harmful=harmful,
        seed=fault.seed,
        since_us=resolved.since_us,
        verdict=verdict_of(incident, seen, min(deadline_us, end_us + 1), end_us, harmful=harmful),
        subject=resolved.subject,
        size=resolved.size,
        unit=incident.unit,
        deadline_us=deadline_us if deadline_us <= end_us else None,
        seen_us=None if seen is None else seen.at_us,
        found=None if seen is None else seen.diagnosis,
        right_culprit=None if seen is None or not culprits else names_any(seen.diagnosis, culprits),
    )


def verdict_of(incident: Incident, seen: Seen | None, deadline_us: int, end_us: int, *, harmful: bool) -> Verdict:
    """Say how a drill ended. deadline_us: the first look after its stated window; end_us: the last look of all."""
    if seen is None:
        return "quiet" if not harmful else "missed" if deadline_us <= end_us else "too_soon"
    if not incident.harmful:
        return "false_alarm"
    if seen.at_us > deadline_us:
        return "late"
    return "caught" if seen.diagnosis.cause in incident.causes else "misnamed"


def names_any(found: Diagnosis, culprits: Sequence[str]) -> bool:
    """Say whether a diagnosis names any of some culprits."""
    return any(name in culprits for _, names in found.culprit.named() for name in names)


def _smallest(bench: Bench, incident: Incident, fault: Fault, usual: Drilled) -> float | None:
    """Return the smallest size that is seen by the look at the end of its stated window, larger ones taken as seen.

    usual: what was found of the usual size. Raises BadFault.
    """
    case = bench.case
    end_us = case.watched.until_us if usual.deadline_us is None else usual.deadline_us
    shorter = evolve(bench, case=evolve(case, watched=Span(case.watched.since_us, end_us)))

    def is_seen(size: float) -> bool:
        resolved = incident.resolved(evolve(fault, size=size), case.traffic, bench.rescore.plan)
        return diagnose(_bent(shorter, incident, resolved)).is_incident

    larger = [size for size in sizes_of(incident) if abs(size) > abs(incident.size)]
    smaller = [size for size in sizes_of(incident) if abs(size) < abs(incident.size)]
    if usual.verdict not in ("caught", "misnamed"):
        return smallest_seen(larger, is_seen)
    below = smallest_seen(smaller, is_seen)
    return incident.size if below is None else below


def _bent(bench: Bench, incident: Incident, fault: Fault) -> Case:
    """Return the case with a resolved fault in its traffic."""
    return evolve(bench.case, traffic=incident.inject(bench.case.traffic, fault, bench.rescore))
