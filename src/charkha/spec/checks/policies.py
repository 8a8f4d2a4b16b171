"""Checks of what a model promises: metrics, gates, costs, rollout, retraining, monitors and budget."""

from collections.abc import Iterator, Sequence

import attrs
import polars as pl

from charkha.spec.autonomy import MODES, Autonomy
from charkha.spec.checks.incidents import drill_gate_faults
from charkha.spec.checks.prices import costs_gate_faults
from charkha.spec.checks.values import duration_faults, listing, number_faults, quote, repeated, strings, way_to
from charkha.spec.faults import Fault
from charkha.spec.gates import AtLeast, BeatsRules, Calibrated, CostsAtMost, NoSliceWorse, SurvivesDrill, TestedGate
from charkha.spec.model import METRICS, Costs, Model, Split, Task
from charkha.spec.policies import Budget, Fallback, Monitors, Retrain
from charkha.spec.rules import Rule

GATES = (
    "ck.at_least",
    "ck.beats_champion",
    "ck.beats_rules",
    "ck.beats_trivial",
    "ck.calibrated",
    "ck.no_slice_worse",
    "ck.costs_at_most",
    "ck.survives_drill",
)


_OPTIONAL_DURATIONS = ("every", "update", "update_held_out", "window", "half_life")


def is_task(task: object) -> bool:
    """Say whether a task is one that Charkha knows."""
    return isinstance(task, str) and task in METRICS


def each_once(items: Sequence[object]) -> list[object]:
    """Return names without repetitions, then whatever else stands among them."""
    names = strings(items)
    return [*dict.fromkeys(names), *(item for item in items if not isinstance(item, str))]


def metric_faults(where: str, metric: object, task: Task) -> Iterator[Fault]:
    """Yield a fault when the task has no such metric."""
    if not isinstance(metric, str) or metric not in METRICS[task]:
        remedy = way_to(metric, METRICS[task], f"Metrics of {task}")
        yield Fault(where, f"a metric of {task}", quote(metric), remedy)


def metrics_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with the metrics a model reports."""
    inner = f"{where}, metrics"
    if not model.metrics:
        yield Fault(inner, "at least one metric", "none", "Leave it out to report all metrics of the task.")
    for metric in each_once(model.metrics):
        yield from metric_faults(inner, metric, model.task)
    for metric in repeated(model.metrics):
        yield Fault(inner, "each metric once", f"{metric!r} twice", "Name it once.")


def gate_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with each gate."""
    for gate in model.gates:
        inner = f"{where}, gate {type(gate).__name__}"
        if isinstance(gate, SurvivesDrill):
            yield from drill_gate_faults(inner, gate)
        elif isinstance(gate, CostsAtMost):
            yield from costs_gate_faults(inner, gate, model)
        elif not isinstance(gate, TestedGate):
            yield Fault(f"{where}, gates", "a gate", quote(gate), f"Use one of {listing(GATES)}.")
        elif isinstance(gate, Calibrated):
            yield from number_faults(inner, gate.max_error, "an error between 0 and 1", 0, 1)
            yield from _binary_only(inner, model.task, "probabilities to calibrate")
        else:
            yield from metric_faults(inner, gate.metric, model.task)
        if isinstance(gate, AtLeast):
            yield from number_faults(inner, gate.value, "a finite number", -float("inf"))
        if isinstance(gate, NoSliceWorse) and not model.slices:
            yield Fault(inner, "a model with slices", "no slices", "Give slices=[…]: request fields to cut by.")
        if isinstance(gate, BeatsRules):
            yield from _rules_gate_faults(inner, model)


def _rules_gate_faults(where: str, model: Model) -> Iterator[Fault]:
    yield from _binary_only(where, model.task, "decisions of rules to compare with")
    usable = [rule for rule in model.rules if isinstance(rule, Rule) and isinstance(rule.when, pl.Expr)]
    if not model.rules:
        yield Fault(where, "a model with rules", "no rules", "Give rules=[ck.Rule(…)], or use ck.beats_trivial.")
    elif usable and not any(rule.stands_alone for rule in usable):
        remedy = "Give a rule that neither is in shadow nor reads the score, or use ck.beats_trivial."
        yield Fault(where, "rules that decide without the model", "none of its rules", remedy)


def _binary_only(where: str, task: Task, what: str) -> Iterator[Fault]:
    if task != "binary":
        yield Fault(where, f"a task with {what} (binary)", quote(task), "Leave it out.")


def decision_faults(where: str, model: Model) -> Iterator[Fault]:
    """Yield what is wrong with calibration and costs."""
    if model.calibrate is not None:
        inner = f"{where}, calibrate"
        if not isinstance(model.calibrate, str) or model.calibrate not in ("isotonic", "sigmoid"):
            yield Fault(inner, "'isotonic', 'sigmoid' or None", quote(model.calibrate), "Choose one of these.")
        yield from _binary_only(inner, model.task, "probabilities to calibrate")
    yield from _costs_faults(f"{where}, costs", model.costs, model.task)


def _costs_faults(where: str, costs: object, task: Task) -> Iterator[Fault]:
    if not isinstance(costs, Costs):
        yield Fault(where, "a ck.Costs", quote(costs), "Write ck.Costs(false_positive=1, false_negative=5).")
        return
    if costs != Costs():
        yield from _binary_only(where, task, "decisions that cost")
    values = (costs.false_positive, costs.false_negative, costs.true_positive, costs.true_negative)
    wrong = [fault for value in values for fault in number_faults(where, value, "a finite number", -float("inf"))]
    yield from wrong
    for mistake, right in (("false_positive", "true_negative"), ("false_negative", "true_positive")):
        if not wrong and getattr(costs, mistake) <= getattr(costs, right):
            found = f"{getattr(costs, mistake):g} against {getattr(costs, right):g}"
            remedy = "Costs are what is lost: write gains as negative costs."
            yield Fault(where, f"{mistake} to cost more than {right}", found, remedy)


def split_faults(where: str, split: object) -> Iterator[Fault]:
    """Yield what is wrong with the split."""
    if not isinstance(split, Split):
        yield Fault(f"{where}, split", "a ck.Split", quote(split), 'Write ck.Split(validation="14d", test="14d").')
        return
    yield from duration_faults(f"{where}, split.validation", split.validation)
    yield from duration_faults(f"{where}, split.test", split.test)
    if split.gap is not None:
        yield from duration_faults(f"{where}, split.gap", split.gap)


def retrain_faults(where: str, retrain: object) -> Iterator[Fault]:
    """Yield what is wrong with the retraining policy."""
    if not isinstance(retrain, Retrain):
        yield Fault(f"{where}, retrain", "a ck.Retrain", quote(retrain), 'Write ck.Retrain(cooldown="14d").')
        return
    for parameter in (*_OPTIONAL_DURATIONS, "cooldown", "budget_period", "horizon"):
        text = getattr(retrain, parameter)
        if text is not None or parameter not in _OPTIONAL_DURATIONS:
            yield from duration_faults(f"{where}, retrain.{parameter}", text)
    for parameter in ("budget_cpu_hours", "budget_inr", "inr_per_cpu_hour", "inr_per_cost"):
        value = getattr(retrain, parameter)
        if value is not None:
            yield from number_faults(f"{where}, retrain.{parameter}", value, "0 or more", 0)
    for parameter in ("new_labels", "budget_trainings"):
        count = getattr(retrain, parameter)
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            remedy = "Leave it out for none."
            yield Fault(f"{where}, retrain.{parameter}", "a whole number from 1 on", quote(count), remedy)
    if retrain.update_held_out is not None and retrain.update is None:
        remedy = 'Give update="1d" as well, or leave it out.'
        yield Fault(f"{where}, retrain.update_held_out", "updates", "none", remedy)


def autonomy_faults(where: str, autonomy: object) -> Iterator[Fault]:
    """Yield what is wrong with what the operator may do by itself."""
    if not isinstance(autonomy, Autonomy):
        remedy = 'Write ck.Autonomy("propose"), or ck.Autonomy(retrain="observe").'
        yield Fault(f"{where}, autonomy", "a ck.Autonomy", quote(autonomy), remedy)
        return
    for name, mode in attrs.asdict(autonomy).items():
        if mode is not None and mode not in MODES:
            remedy = way_to(mode, MODES, "Modes")
            yield Fault(f"{where}, autonomy.{name}", f"one of {listing(MODES)}", quote(mode), remedy)


def monitor_faults(where: str, monitors: object, sources: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with the monitors; `sources` are the names of those the model reads."""
    inner = f"{where}, monitors"
    if not isinstance(monitors, Monitors):
        yield Fault(inner, "a ck.Monitors", quote(monitors), 'Write ck.Monitors(window="28d").')
        return
    yield from duration_faults(f"{inner}.window", monitors.window)
    yield from number_faults(f"{inner}.psi", monitors.psi, "a number above 0", 1e-9)
    yield from number_faults(f"{inner}.null_rise", monitors.null_rise, "a share between 0 and 1", 0, 1)
    if isinstance(monitors.skew_sample, bool) or not isinstance(monitors.skew_sample, int):
        remedy = "Write skew_sample=300, or 0 to recompute none."
        yield Fault(f"{inner}.skew_sample", "a whole number", quote(monitors.skew_sample), remedy)
    else:
        yield from number_faults(f"{inner}.skew_sample", monitors.skew_sample, "0 or more", 0)
    yield from _source_age_faults(f"{inner}.max_source_age", monitors.max_source_age, sources)


def _source_age_faults(where: str, ages: object, sources: Sequence[str]) -> Iterator[Fault]:
    if not isinstance(ages, dict):
        yield Fault(where, "a dict of source names and durations", quote(ages), 'Write {"x": "6h"}.')
        return
    for source, age in ages.items():
        if source not in sources:
            remedy = way_to(source, sources, "It reads")
            yield Fault(where, "a source that the model reads", quote(source), remedy)
        yield from duration_faults(f"{where}[{source!r}]", age)


def fallback_faults(where: str, model: Model, sources: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with the fallback, if there is one; `sources` are the names of those the model reads."""
    inner, fallback = f"{where}, fallback", model.fallback
    if fallback is None:
        return
    if not isinstance(fallback, Fallback):
        yield Fault(inner, "a ck.Fallback", quote(fallback), "Write ck.Fallback(decision=False).")
        return
    if not (fallback.decision is None or isinstance(fallback.decision, bool)):
        yield Fault(f"{inner}.decision", "True or False", quote(fallback.decision), "Write decision=False.")
    decides = any(not getattr(rule, "shadow", False) for rule in model.rules)
    if fallback.decision is None and (model.task == "binary" or decides):
        remedy = "Write decision=True or decision=False: what is decided where no rule holds."
        yield Fault(f"{inner}.decision", "a decision, for the model decides", "none", remedy)
    if fallback.score is not None:
        least, most = (0.0, 1.0) if model.task == "binary" else (-float("inf"), float("inf"))
        said = "a probability between 0 and 1" if model.task == "binary" else "a finite number"
        yield from number_faults(f"{inner}.score", fallback.score, said, least, most)
    if not isinstance(fallback.previous, bool):
        yield Fault(f"{inner}.previous", "True or False", quote(fallback.previous), "Write previous=True.")
    if fallback.max_missing is not None:
        yield from number_faults(f"{inner}.max_missing", fallback.max_missing, "a share between 0 and 1", 0, 1)
    yield from _source_age_faults(f"{inner}.max_source_age", fallback.max_source_age, sources)


def budget_faults(where: str, budget: object) -> Iterator[Fault]:
    """Yield what is wrong with the training budget."""
    inner = f"{where}, budget"
    if not isinstance(budget, Budget):
        yield Fault(inner, "a ck.Budget", quote(budget), "Write ck.Budget(train_minutes=60, train_memory_gb=8).")
        return
    yield from number_faults(f"{inner}.train_minutes", budget.train_minutes, "minutes above 0", 1e-3)
    yield from number_faults(f"{inner}.train_memory_gb", budget.train_memory_gb, "at least 0.5 GB", 0.5)
