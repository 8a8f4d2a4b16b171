"""What a replay showed, gathered from the log, the ledger and the bundles after it."""

from collections.abc import Iterator

import polars as pl
from attrs import frozen

from charkha.bundles.profile import profile_of
from charkha.bundles.store import BundleStore
from charkha.clock import to_iso
from charkha.engines.engine import Engine
from charkha.features.rows import read_rows
from charkha.monitoring.logged import logged_predictions
from charkha.monitoring.psi import psi
from charkha.monitoring.skew import FeatureSkew, measure_skew
from charkha.operations.replay import Counts, Stage
from charkha.operations.replay_summary import (
    DecisionRow,
    DriftRow,
    GateRow,
    Interval,
    MonthRow,
    ReplaySummary,
    VersionSummary,
)
from charkha.serving.labels import LABEL_SCHEMA, decode_labels, label_stream
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.durations import DAY_US
from charkha.spec.fields import TIME
from charkha.spec.model import FloatArray
from charkha.storage.ledger import Decision
from charkha.training.metrics import MetricUndefined, estimate

NOTHING = Interval(None, None, None, 0)


@frozen(kw_only=True)
class Span:
    """From when to when a replay went (µs), how long it took, and how much it was."""

    from_us: int
    until_us: int
    seconds: float
    counts: Counts


def summarise(stage: Stage, span: Span, engine: Engine) -> ReplaySummary:
    """Return all that the report shows of a replay that has ended."""
    bundles = BundleStore(stage.home.bundles)
    served = served_predictions(stage, bundles)
    decisions = stage.home.ledger.decisions(stage.model.name)
    skew = _skew(stage, bundles, served, engine)
    actions = [decision.action for decision in decisions]
    return ReplaySummary(
        project=stage.project.name,
        model=stage.model.name,
        metric=stage.model.metrics[0],
        higher_is_better=stage.model.higher_is_better,
        from_time=to_iso(span.from_us),
        until_time=to_iso(span.until_us),
        seconds=round(span.seconds, 1),
        events=span.counts.events,
        predictions=span.counts.predictions,
        labels=span.counts.labels,
        # The first of each is the one that there was nothing before.
        retrains=max(0, actions.count("train") - 1),
        promotions=max(0, actions.count("promote") - 1),
        rejections=actions.count("reject"),
        max_skew=max((feature.max_difference for feature in skew), default=0.0),
        skew=tuple(skew),
        months=tuple(_months(stage, bundles, served)),
        drift=tuple(_drift(stage, bundles, served)),
        decisions=tuple(_decision_row(decision) for decision in decisions),
        versions=tuple(_version_summaries(stage, bundles)),
    )


def served_predictions(stage: Stage, bundles: BundleStore) -> pl.DataFrame:
    """Return what versions answered, with `label` where it came, and the `month` (UTC) of the prediction."""
    name, log = stage.model.name, stage.home.log
    predictions = logged_predictions(stage.home, name, bundles).filter(pl.col("role").is_in(["champion", "challenger"]))
    told = decode_labels(log.read(label_stream(name))).select(LABEL_SCHEMA.names())
    labels = told.drop_nulls("label").unique("id", keep="last")
    served = predictions.join(labels, on="id", how="left", maintain_order="left")
    return served.with_columns(month=pl.col("_at_us").cast(TIME).dt.strftime("%Y-%m"))


def _months(stage: Stage, bundles: BundleStore, served: pl.DataFrame) -> Iterator[MonthRow]:
    """Yield each month: what was served, and what the first champion would have made of the same features."""
    first = stage.home.ledger.deployments(stage.model.name)[0].champion
    if first is None:
        return
    frozen_scores = bundles.read(stage.model.name, first.version).score(served)
    scored = served.with_columns(_frozen=frozen_scores)
    for (month,), rows in scored.group_by("month", maintain_order=True):
        labelled = rows.drop_nulls("label")
        yield MonthRow(
            month=str(month),
            predictions=len(rows),
            labels=len(labelled),
            served=_interval(stage.model.metrics[0], labelled, "score"),
            frozen=_interval(stage.model.metrics[0], labelled, "_frozen"),
            versions=tuple(rows["version"].unique(maintain_order=True)),
        )


def _interval(metric: str, rows: pl.DataFrame, scores: str) -> Interval:
    """Return a metric with its interval; rows of a day share its weather, so days are the clusters."""
    try:
        found = estimate(metric, _floats(rows, "label"), _floats(rows, scores), rows["_at_us"].to_numpy() // DAY_US)
    except MetricUndefined:
        return NOTHING
    return Interval(found.value, found.low, found.high, found.n)


def _floats(rows: pl.DataFrame, column: str) -> FloatArray:
    return rows[column].cast(pl.Float64).to_numpy()


def _drift(stage: Stage, bundles: BundleStore, served: pl.DataFrame) -> Iterator[DriftRow]:
    """Yield each feature and the score of each month against the reference of the version that answered most of it."""
    for (month,), rows in served.group_by("month", maintain_order=True):
        version = rows["version"].value_counts(sort=True)["version"][0]
        manifest = bundles.manifest(stage.model.name, version)
        shape = manifest.shape
        current = profile_of(shape, rows, _floats(rows, "score"))
        for name, reference in manifest.reference.features.items():
            counts = current.features[name]
            index = psi(shape.by_tenths(name, reference), shape.by_tenths(name, counts))
            yield DriftRow(str(month), name, index, counts[-1] / max(1, current.rows))
        tenths = shape.score.by_tenths
        yield DriftRow(str(month), "score", psi(tenths(manifest.reference.scores), tenths(current.scores)), 0.0)


def _skew(stage: Stage, bundles: BundleStore, served: pl.DataFrame, engine: Engine) -> list[FeatureSkew]:
    """Recompute all that was served, each version by the plan of its bundle, and keep each feature's worst."""
    rows = {source.name: read_rows(source, stage.project.root, stage.home.log) for source in stage.model.sources}
    worst: dict[str, FeatureSkew] = {}
    for versions in _versions_by_plan(stage, bundles, served):
        plan = bundles.read(stage.model.name, versions[0]).plan
        part = served.filter(pl.col("version").is_in(versions))
        asked = part.rename({REQUEST_PREFIX + field: field for field in plan.request})
        for feature in measure_skew(plan, asked, rows, engine):
            known = worst.get(feature.feature)
            if known is None or feature.max_difference >= known.max_difference:
                worst[feature.feature] = feature
    return list(worst.values())


def _versions_by_plan(stage: Stage, bundles: BundleStore, served: pl.DataFrame) -> list[list[str]]:
    by_plan: dict[str, list[str]] = {}
    for version in served["version"].unique(maintain_order=True):
        by_plan.setdefault(bundles.manifest(stage.model.name, version).plan_json, []).append(version)
    return list(by_plan.values())


def _decision_row(decision: Decision) -> DecisionRow:
    version = decision.evidence.get("version")
    return DecisionRow(
        sequence=decision.sequence,
        time=to_iso(decision.time_us),
        action=decision.action,
        reason=decision.reason,
        version=str(version) if version else None,
        evidence=dict(decision.evidence),
    )


def _version_summaries(stage: Stage, bundles: BundleStore) -> Iterator[VersionSummary]:
    for row in stage.home.ledger.versions(stage.model.name):
        manifest = bundles.manifest(row.model, row.version)
        tested = manifest.metrics["test"][stage.model.metrics[0]]
        yield VersionSummary(
            version=row.version,
            trained_at=to_iso(row.created_us),
            rows=manifest.lineage.rows,
            metric=Interval(tested.value, tested.low, tested.high, tested.n),
            gates=tuple(GateRow(gate.name, gate.passed, gate.reason) for gate in manifest.gates),
            status=row.status,
        )
