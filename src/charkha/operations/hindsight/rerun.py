"""A decision made again: the same rules on what was known then, compared with what the ledger says was decided.

The rules are pure and the past is kept, so they come to the same step unless somebody changed the definition or the
code, or what they rest on is no longer there; the latter is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NoReturn

import msgspec
from attrs import field, frozen

from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock, to_iso
from charkha.features.progress import newest_known_of
from charkha.monitoring.prune import first_kept_day
from charkha.operations.act import ACTOR, Workshop, act
from charkha.operations.decide import decide
from charkha.operations.hindsight.as_of import WouldDecide, home_as_of
from charkha.operations.look import Lookout
from charkha.operations.situation import Situation
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.ledger import Decision, Draft
from charkha.training.lineage import definition_digest
from charkha.training.pipeline import Order

# equal: the same step on the same figures. same_step: on others. differs: another step, or none. unseen: another one,
# but what was known then is no longer all there. not_by_rule: a person decided, or a look did.
Verdict = Literal["equal", "same_step", "differs", "unseen", "not_by_rule"]
# Figures that differ by less than this share are the same: sums are added up in another order.
NEGLIGIBLE = 1e-9
# What the operator writes beside what a decision rests on.
BESIDE = ("cost",)
GONE = "no longer kept: "


@frozen(kw_only=True)
class Differing:
    """One figure of the evidence, as it was written and as it is now; None where one of them has it not."""

    name: str
    then: object
    now: object


@frozen(kw_only=True)
class Rerun:
    """What the rules say now of a decision.

    again: what they would write; None for nothing. differing: of the evidence. unseen: what is no longer kept as it
    was, and what has changed, in words.
    """

    decision: Decision
    verdict: Verdict
    again: Draft | None = None
    differing: tuple[Differing, ...] = ()
    unseen: tuple[str, ...] = field(default=())


def rerun(project: Project, home: Home, decision: Decision, now_us: int) -> Rerun:
    """Decide again what the operator decided, on what was known then. Changes nothing.

    Raises KeyError for a model that the project no longer has, and what a look raises.
    """
    if decision.actor != ACTOR:
        return Rerun(decision=decision, verdict="not_by_rule")
    model = project.models[decision.model]
    past = home_as_of(home, decision)
    situation = Lookout(model, past).look(decision.time_us)
    unseen = tuple(_unseen(home, past, model, situation, now_us))
    lacking = any(each.startswith(GONE) for each in unseen) or ("skewed" in decision.evidence and not situation.skew)
    workshop = Workshop(model, project.root, past.ledger, SimulatedClock(decision.time_us), _never)
    again = _draft_of(situation, model, workshop)
    if again is None or (again.key, again.action) != (decision.key, decision.action):
        return Rerun(decision=decision, verdict="unseen" if lacking else "differs", again=again, unseen=unseen)
    differing = tuple(_differing(decision, again))
    verdict: Verdict = "same_step" if differing else "equal"
    return Rerun(decision=decision, verdict=verdict, again=again, differing=differing, unseen=unseen)


def _draft_of(situation: Situation, model: Model, workshop: Workshop) -> Draft | None:
    """Return what the step that is due would write first; None when nothing is due."""
    step = decide(situation, model)
    if step is None:
        return None
    try:
        act(step, workshop)
    except WouldDecide as would:
        return would.draft
    return None


def _never(order: Order) -> NoReturn:
    raise PermissionError(f"the past cannot be trained: {order.run_key}")


def _differing(decision: Decision, again: Draft) -> Iterator[Differing]:
    then, now = (_flat(each.evidence) for each in (decision, again))
    for name in sorted({*then, *now}):
        if name.split(".")[0] not in BESIDE and not _same(then.get(name), now.get(name)):
            yield Differing(name=name, then=then.get(name), now=now.get(name))


def _flat(value: object, name: str = "") -> dict[str, object]:
    """Return nested evidence as one level, "difference.low" for what lies within; lists whole."""
    plain = msgspec.to_builtins(value)
    if not isinstance(plain, Mapping):
        return {name: plain}
    found: dict[str, object] = {}
    for key, inner in plain.items():
        found |= _flat(inner, f"{name}.{key}" if name else str(key))
    return found


def _same(then: object, now: object) -> bool:
    if isinstance(then, int | float) and isinstance(now, int | float):
        return abs(then - now) <= NEGLIGIBLE * max(1.0, abs(then), abs(now))
    if isinstance(then, Sequence) and isinstance(now, Sequence) and not isinstance(then, str):
        return list(then) == list(now)
    return then == now


def _unseen(home: Home, past: Home, model: Model, situation: Situation, now_us: int) -> Iterator[str]:
    kept = first_kept_day(model, now_us)
    spans = [each.span for each in (situation.health, situation.contest) if each is not None]
    if spans and to_iso(min(each.since_us for each in spans))[:10] < kept:
        yield f"{GONE}predictions before {kept}, by the retention of the model's log"
    shadow = next(iter(situation.deployment.shadows), None)
    if shadow is not None and situation.skew is None and model.monitors.skew_sample:
        yield f"what was measured of the skew of {shadow.version} then: only the newest measurement is kept"
    with home.online.read() as state:
        newest = newest_known_of(state, list(model.monitors.max_source_age))
    for source in sorted(name for name, newest_us in newest.items() if newest_us > situation.now_us):
        yield f"how old the newest row of source {source!r} was then: it had rows since, and is taken for fresh"
    if (said := _other_definition(past, model)) is not None:
        yield said


def _other_definition(past: Home, model: Model) -> str | None:
    """Say that the definition is another one than that of the newest version of then."""
    rows = past.ledger.versions(model.name)
    if not rows:
        return None
    newest = rows[-1].version
    if BundleStore(past.bundles).manifest(model.name, newest).lineage.definition_digest == definition_digest(model):
        return None
    return f"the definition has changed since {newest} was trained: these are the rules and thresholds of now"
