"""The gate `ck.survives_drill`: a version that was just trained, drilled on what the model served of late."""

from hashlib import sha256

import polars as pl
from attrs import evolve

from charkha.bundles.bundle import Bundle
from charkha.bundles.manifest import Estimate, GateResult
from charkha.bundles.store import BundleStore
from charkha.engines.engine import Engine
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.shares import wilson
from charkha.monitoring.traffic import Traffic
from charkha.operations.case import Question, TooLittleHistory
from charkha.operations.drills.declared import with_declared
from charkha.operations.drills.drilled import MEANINGS, Power
from charkha.operations.drills.own_traffic import drill_case
from charkha.operations.drills.pairs import kind_of
from charkha.operations.drills.power import CannotDrill, NoBundles, NotHealthy, drill
from charkha.operations.drills.rescoring import BundleRescore
from charkha.operations.wording import count_of
from charkha.serving.prediction_frames import FEATURES_LOGGED
from charkha.spec.durations import parse_duration
from charkha.spec.gates import SurvivesDrill
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.training.pipeline import Drill, OnStep


class OtherFeatures(CannotDrill):
    """A version of which other features are read than were served: there is no traffic with them."""

    def __init__(self, version: str) -> None:
        self.version = version
        super().__init__(f"{version} reads other features than were served: there is no traffic with them yet")


def drilling(project: Project, model: Model, home: Home, now_us: int, engine: Engine) -> Drill:
    """Return what judges the gates of a model by drills on its own traffic until `now_us`."""

    def judged(gate: SurvivesDrill, bundle: Bundle, on_step: OnStep) -> GateResult:
        on_step(f"drilling {', '.join(gate.kinds)}")
        question = Question(now_us=now_us, window_us=parse_duration(gate.window))
        try:
            case = drill_case(project, model, home, question, engine=engine, on_step=on_step)
            case = served_by(bundle, case, BundleStore(home.bundles))
            return judge(gate, drilled(gate, project, case, on_step))
        except NotHealthy as reason:  # what is wrong now is what the gate is there for
            return GateResult(gate.name, passed=False, value=None, target=gate.share, reason=str(reason))
        except (TooLittleHistory, CannotDrill) as reason:
            return _not_judged(gate, str(reason))

    return judged


def drilled(gate: SurvivesDrill, project: Project, case: Case, on_step: OnStep) -> Power:
    """Return what a gate's drills show of a case."""
    known = with_declared(project.incidents.values())
    kinds = [kind_of(kind, known) for kind in gate.kinds]
    return drill(
        case,
        kinds,
        range(1, gate.times + 1),
        sizes=False,
        on_progress=lambda done, total, text: on_step(f"drilling {text} ({done} of {total})"),
    )


def judge(gate: SurvivesDrill, power: Power) -> GateResult:
    """Return what a gate says of its drills; those that could not be told are left out of the share."""
    judged, good = len(power.judged), len(power.survived)
    if not judged:
        return _not_judged(gate, f"none of {count_of(len(power.drilled), 'drill')} could be told{_unlike(power)}")
    share = good / judged
    low, high = wilson(good, judged)
    measured = Estimate(share, min(low, share), max(high, share), judged)
    reason = f"the diagnosis did what it should in {good} of {count_of(judged, 'drill')}{_unlike(power)}"
    asked = f"a share of at least {gate.share:g} is asked for"
    return GateResult(gate.name, share >= gate.share, measured, gate.share, f"{reason}; {asked}")


def _unlike(power: Power) -> str:
    """Say which drills did not go as they should, and how they ended."""
    ended: dict[str, dict[str, None]] = {}
    for each in power.drilled:
        if not each.survived:
            ended.setdefault(MEANINGS[each.verdict], {})[each.kind] = None
    return "".join(f"; {', '.join(kinds)}: {meaning}" for meaning, kinds in ended.items())


def _not_judged(gate: SurvivesDrill, why: str) -> GateResult:
    """Let a version pass of which nothing can be drilled, and say so: a first one has no traffic."""
    return GateResult(gate.name, passed=True, value=None, target=gate.share, reason=f"passed without a drill: {why}")


def served_by(bundle: Bundle, case: Case, bundles: BundleStore) -> Case:
    """Return a case as if a version that never served had answered all of it. Raises NoBundles and OtherFeatures.

    Features, times and labels are those that were; scores and decisions are the version's own.
    """
    traffic, manifest = case.traffic, bundle.manifest
    if case.rescore is None:
        raise NoBundles(traffic.model)
    served = traffic.predictions["version"].unique().to_list()
    if any(bundles.manifest(manifest.model, each).plan_json != manifest.plan_json for each in served):
        raise OtherFeatures(manifest.version)
    rescore = BundleRescore({manifest.version: bundle})
    digest = sha256(bundle.state).hexdigest()
    return evolve(
        case,
        traffic=_answered(traffic, manifest.version, digest, rescore),
        registered={manifest.version: digest},
        rescore=rescore,
    )


def _answered(traffic: Traffic, version: str, digest: str, rescore: BundleRescore) -> Traffic:
    answered = traffic.predictions.filter(pl.col("role") != "shadow")
    rows = answered.with_columns(version=pl.lit(version), bundle=pl.lit(digest))
    scored = (rows["role"] != "fallback") & rows[FEATURES_LOGGED]
    scores, decisions = rescore(rows)
    told = [pl.when(scored).then(pl.Series("score", scores, nan_to_null=True)).otherwise("score").alias("score")]
    if decisions is not None:
        told.append(pl.when(scored).then(pl.Series("decision", decisions)).otherwise("decision").alias("decision"))
    of_these = traffic.recomputed.unique("id", keep="first", maintain_order=True)
    return evolve(
        traffic,
        predictions=rows.with_columns(told),
        recomputed=of_these.join(rows, on="id", how="semi").with_columns(version=pl.lit(version)),
    )
