"""The demo, run as a newcomer runs it, and every feature that it served computed again."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
from attrs import evolve
from claims import Measured
from processes import charkha, last_words, run
from workbench import Workbench

from charkha.bundles.store import BundleStore
from charkha.engines.local import LocalEngine
from charkha.features.rows import read_rows
from charkha.monitoring.skew import FeatureSkew, exact_features, measure_skew
from charkha.serving.prediction_frames import REQUEST_PREFIX, decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home

LONGEST_SECONDS = 3600.0


def demo_figures(bench: Workbench) -> Iterator[tuple[str, Measured]]:
    """Yield what the demo shows: how long it takes, what it decides, and the skew of all that it served."""
    home, figures, log = bench.folder / "demo", bench.folder / "demo.json", bench.folder / "demo.log"
    finished = run(charkha("--home", home, "demo", "--json", figures), log, timeout_seconds=LONGEST_SECONDS)
    yield "demo_seconds", Measured(finished.wall_seconds, f"{finished.cpu_seconds:.0f} s of processor time")
    yield "demo_exit_status", Measured(finished.status, last_words(log) if finished.status else "")
    told = json.loads(figures.read_text())
    yield from _decided(told)
    yield "demo_months_of_served_beside_frozen_auc", _months(told)
    yield from _skew(evolve(load_project(bench.repository / "examples" / "flights"), home=home), told)


def _decided(told: dict[str, Any]) -> Iterator[tuple[str, Measured]]:
    """Yield what was decided, with a reason for each kind; the first training and promotion do not count."""
    trained, promoted, rejected = (_reasons(told, action) for action in ("train", "promote", "reject"))
    yield "demo_retrainings_with_a_reason", Measured(len(trained[1:]), _last(trained[1:]))
    yield "demo_promotions", Measured(told["promotions"], _last(promoted[1:]) or f"none, for: {_last(rejected)}")
    yield "demo_rejections", _count_or_reason(rejected, promoted[1:])


def _reasons(told: dict[str, Any], action: str) -> list[str]:
    reasons = [str(each["reason"]) for each in told["decisions"] if each["action"] == action]
    return [reason for reason in reasons if reason.strip()]


def _count_or_reason(decided: Sequence[str], otherwise: Sequence[str]) -> Measured:
    """Return how many decisions were of a kind; where none was, what was decided instead is the written reason."""
    note = _last(decided) if decided else f"none, for: {_last(otherwise)}"
    return Measured(len(decided), note, met=bool(decided or otherwise))


def _last(reasons: Sequence[str]) -> str:
    return reasons[-1] if reasons else ""


def _months(told: dict[str, Any]) -> Measured:
    served, frozen = told["served_auc_by_month"], told["frozen_auc_by_month"]
    both = [month for month, auc in served.items() if auc is not None and frozen.get(month) is not None]
    better = sum(served[month] > frozen[month] for month in both)
    counts = f"{told['predictions']:,} predictions, {told['labels']:,} labels"
    return Measured(len(both), f"served is above frozen in {better}; {counts}")


def _skew(project: Project, told: dict[str, Any]) -> Iterator[tuple[str, Measured]]:
    """Yield the worst skew of what must agree to the bit, and of what is computed and may differ in its last digits."""
    with open_home(project.home) as home:
        features = list(_recomputed(project, home))
    for name, wanted in (("max_skew_of_counts_and_latest_values", True), ("max_skew_of_other_features", False)):
        kind = [skew for to_the_bit, skew in features if to_the_bit is wanted]
        worst = max(kind, key=lambda skew: skew.max_difference)
        values, names = sum(skew.compared for skew in kind), len({skew.feature for skew in kind})
        note = f"{values:,} values of {names} features; the demo says {told['max_skew']:.2g} of all"
        yield name, Measured(worst.max_difference, f"{worst.feature}; {note}" if worst.max_difference else note)


def _recomputed(project: Project, home: Home) -> Iterator[tuple[bool, FeatureSkew]]:
    """Yield whether a feature must agree to the bit, and its skew, for each group of versions with the same plan."""
    (model,), bundles = project.models.values(), BundleStore(home.bundles)
    served = decode_predictions(home.log.read(prediction_stream(model.name)), bundles)
    served = served.filter(pl.col("role") != "shadow")
    rows = {source.name: read_rows(source, project.root, home.log) for source in model.sources}
    plans = {version: bundles.read(model.name, version).plan for version in served["version"].unique()}
    for text, plan in {plan.to_json(): plan for plan in plans.values()}.items():
        same = [version for version, other in plans.items() if other.to_json() == text]
        part = served.filter(pl.col("version").is_in(same))
        asked = part.rename({REQUEST_PREFIX + field: field for field in plan.request})
        to_the_bit = exact_features(plan) - set(plan.expressions)
        for skew in measure_skew(plan, asked, rows, LocalEngine()):
            yield skew.feature in to_the_bit, skew
