"""Checks of a rollout: its stages, the shares of the canary, the limits, and what the comparison decides by."""

from collections.abc import Collection, Iterator

from charkha.spec.checks.values import duration_faults, number_faults, quote, strings, way_to
from charkha.spec.faults import Fault
from charkha.spec.model import COST, ROW_LOSSES, Task
from charkha.spec.rollout import Approval, Canary, Compare, Rollout, Shadow

_NEVER = 1e-9
UNCLEAR = ("keep", "ask")


def rollout_faults(where: str, rollout: object, task: Task, business: object = ()) -> Iterator[Fault]:
    """Yield what is wrong with the rollout's stages. business: the model's business metrics, by name."""
    inner = f"{where}, rollout"
    if not isinstance(rollout, Rollout) or not _has_its_stages(rollout):
        loss = ROW_LOSSES[task][0]
        remedy = f'Write ck.shadow("7d") >> ck.compare("{loss}"); ck.canary(0.05, 0.25) may stand between.'
        yield Fault(inner, "a shadow stage, then a comparison", quote(rollout), remedy)
        return
    if rollout.unseen is not None:
        yield from _shadow_faults(f"{inner}.shadow", rollout.unseen)
    if rollout.canary is not None:
        yield from _canary_faults(f"{inner}.canary", rollout.canary)
    declared = strings(business) if isinstance(business, Collection) else []
    yield from _metric_faults(f"{inner}.compare", rollout, task, declared)
    yield from _compare_faults(f"{inner}.compare", rollout)
    if rollout.approval is not None and not isinstance(rollout.approval.two_persons, bool):
        found = quote(rollout.approval.two_persons)
        yield Fault(f"{inner}.approval, two_persons", "True or False", found, "Write ck.approval(two_persons=True).")


def _has_its_stages(rollout: Rollout) -> bool:
    kinds = ((rollout.unseen, Shadow), (rollout.canary, Canary), (rollout.approval, Approval))
    optional = all(stage is None or isinstance(stage, kind) for stage, kind in kinds)
    return isinstance(rollout.compare, Compare) and optional


def _shadow_faults(where: str, shadow: Shadow) -> Iterator[Fault]:
    yield from duration_faults(where, shadow.period)
    yield from number_faults(f"{where}, min_labels", shadow.min_labels, "a whole number from 2 on", 2)
    yield from number_faults(f"{where}, max_failures", shadow.max_failures, "a share above 0, below 1", _NEVER, 0.999)
    yield from number_faults(f"{where}, max_slowdown", shadow.max_slowdown, "a factor above 0", _NEVER)
    yield from number_faults(f"{where}, max_feature_change", shadow.max_feature_change, "a share from 0 to 1", 0, 1)
    if shadow.max_disagreement is not None:
        yield from number_faults(f"{where}, max_disagreement", shadow.max_disagreement, "a share above 0", _NEVER, 1)


def _canary_faults(where: str, canary: Canary) -> Iterator[Fault]:
    if not canary.shares:
        yield Fault(where, "at least one share of the entities", "none", "Write ck.canary(0.05, 0.25).")
    faulty = [
        fault
        for share in canary.shares
        for fault in number_faults(f"{where}, shares", share, "shares above 0 and below 1", _NEVER, 1 - _NEVER)
    ]
    yield from dict.fromkeys(faulty)
    if not faulty and any(later <= one for one, later in zip(canary.shares, canary.shares[1:], strict=False)):
        found = ", ".join(f"{share:g}" for share in canary.shares)
        yield Fault(f"{where}, shares", "ever larger shares", found, "Write the smallest first: a step only adds.")
    yield from duration_faults(f"{where}, period", canary.period)
    yield from number_faults(f"{where}, min_requests", canary.min_requests, "a whole number from 1 on", 1)
    for name in ("max_failures", "max_slowdown", "max_decision_change"):
        yield from number_faults(f"{where}, {name}", getattr(canary, name), "a factor from 1 on", 1)
    yield from number_faults(f"{where}, max_score_shift", canary.max_score_shift, "a distance from 0 to 1", 0, 1)


def _metric_faults(where: str, rollout: Rollout, task: Task, business: Collection[str]) -> Iterator[Fault]:
    metric = rollout.compare.metric
    losses = (*ROW_LOSSES[task], *((COST,) if task == "binary" else ()))
    if not isinstance(metric, str) or metric not in (*losses, *business):
        remedy = way_to(metric, (*losses, *business), f"{task.capitalize()} models have")
        if not business:
            remedy += ' A business metric is declared with the model: business={"margin": "higher"}.'
        yield Fault(where, f"a loss of single rows of {task}", quote(metric), remedy)
    elif metric in business and not rollout.live:
        remedy = "Give a share=, or put a ck.canary(…) before it: nobody hears a shadow, so its answers change nothing."
        yield Fault(
            where, f"an A/B test, for {metric!r} tells what answers led to", "a comparison on the shadow", remedy
        )


def _compare_faults(where: str, rollout: Rollout) -> Iterator[Fault]:
    compare = rollout.compare
    yield from number_faults(f"{where}, confidence", compare.confidence, "a confidence from 0.5 to 0.9999", 0.5, 0.9999)
    limits = {
        "mde": ("a share of the champion's mean above 0, such as 0.02", _NEVER, 1.0),
        "share": ("a share of the entities above 0 and below 1", _NEVER, 1 - _NEVER),
        "alpha": ("a probability from 0.0001 to 0.5", 1e-4, 0.5),
        "power": ("a probability from 0.5 to 0.999", 0.5, 0.999),
    }
    for name, (expected, low, high) in limits.items():
        if (value := getattr(compare, name)) is not None:
            yield from number_faults(f"{where}, {name}", value, expected, low, high)
            if not rollout.live:
                remedy = "Give a share=, or put a ck.canary(…) before it; or leave it out."
                yield Fault(f"{where}, {name}", "an A/B test, which it plans", "a comparison on the shadow", remedy)
    yield from duration_faults(f"{where}, within", compare.within)
    if compare.unclear not in UNCLEAR:
        remedy = "'keep' leaves the champion, 'ask' proposes to a person."
        yield Fault(f"{where}, unclear", "'keep' or 'ask'", quote(compare.unclear), remedy)
    yield from _last_step_faults(where, rollout)


def _last_step_faults(where: str, rollout: Rollout) -> Iterator[Fault]:
    shares = [share for share in rollout.shares if isinstance(share, int | float) and 0 < share < 1]
    if len(shares) > 1 and shares[-1] < shares[-2]:
        found = f"{shares[-1]:g} after a canary of {shares[-2]:g}"
        remedy = f"Write ck.compare(…, share={shares[-2]:g}), or a smaller canary."
        yield Fault(f"{where}, share", "at least the share of the canary's last step", found, remedy)
