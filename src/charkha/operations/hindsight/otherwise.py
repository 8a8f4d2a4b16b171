"""What would have happened otherwise: the loss of the version that a decision kept from answering, on the labels since.

It is measured on the very predictions that were answered, where the other version scored them too, as a shadow say, or
where the log has the features that it takes: its bundle is kept and scores them again. It is an estimate: other answers
might have led to other labels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from attrs import field, frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.store import BundleCorrupt, BundleStore, UnknownBundle
from charkha.monitoring.outcomes import OutcomeReader
from charkha.monitoring.performance import Span, floats
from charkha.operations.hindsight.alternatives import Alternative, Nothing, alternative_to
from charkha.operations.wording import metric_name
from charkha.serving.prediction_frames import FEATURES_LOGGED, REQUEST_PREFIX, as_asked, features_logged
from charkha.spec.durations import DAY_US
from charkha.spec.model import COST, ROW_LOSSES, Costs, FloatArray, Model
from charkha.storage.home import Home
from charkha.storage.ledger import Decision
from charkha.training.compare import paired_means
from charkha.training.intervals import Clusters
from charkha.training.metrics import Estimate, MetricUndefined, estimate_mean
from charkha.training.row_losses import row_losses

# So many days are read at a time, and so many labels looked at: the oldest, since what follows is nearest in time.
DAYS_AT_ONCE = 7
MOST_LABELS = 500_000


@frozen(kw_only=True)
class Otherwise:
    """What another decision would have come to, as an estimate.

    question: in words, such as "had v1 stayed the champion in place of v2". reason: why nothing can be measured, or how
    it was. loss: by which both are measured; lower is better. actual, instead: of what answered, and of the other
    version, on the same `labels` labelled predictions of a span; difference: the other's less that of what answered,
    paired, above 0 where the other would have been worse. logged, rescored: how many of the other's scores were
    logged, or made again.
    decided_otherwise: on how many of them the other would have decided otherwise; None for a model that decides not.
    """

    question: str
    reason: str
    loss: str | None = None
    actual: Estimate | None = None
    instead: Estimate | None = None
    difference: Estimate | None = None
    span: Span | None = None
    labels: int = 0
    logged: int = 0
    rescored: int = 0
    decided_otherwise: int | None = None

    @property
    def measured(self) -> bool:
        """Whether anything could be."""
        return self.labels > 0


@frozen(eq=False)
class _Rows:
    """What was lost on predictions, by the version that answered and by the other; all (n,)."""

    at_us: Clusters
    actual: FloatArray
    instead: FloatArray
    logged: int
    otherwise: int | None = field(default=None)


@frozen(eq=False)
class _Measure:
    """By what both are measured. loss: by its name. other: the bundle that can score again; None where none can.

    untold: the business metric that the decision rested on.
    """

    loss: str
    costs: Costs
    found: Alternative
    other: Bundle | None
    untold: str | None = None

    def losses(self, rows: pl.DataFrame, scores: pl.Series, decided: pl.Series) -> FloatArray:
        """Return what rows with a label lost by scores and decisions, both (n,)."""
        return row_losses(self.loss, floats(rows["_label"]), floats(scores), floats(decided), self.costs)


def otherwise(home: Home, model: Model, decision: Decision, now_us: int) -> Otherwise:
    """Return what would have happened had a decision been another, by the labels that had matured at `now_us`."""
    found = alternative_to(home.ledger, decision, now_us)
    if isinstance(found, Nothing):
        return Otherwise(question=found.question, reason=found.reason)
    bundles = BundleStore(home.bundles)
    until_us = min(found.span.until_us, now_us - model.label.delay_us)
    span = Span(found.span.since_us, max(found.span.since_us, until_us))
    other, trouble = _usable(bundles, model.name, found)
    measure = _Measure(_loss(model, decision), model.costs, found, other, _untold(model, decision))
    parts = list(_limited(_parts(_reader(home, model, other), span, now_us, measure)))
    if not parts:
        why = f"no labelled prediction since then can be scored by {found.instead}"
        return Otherwise(question=found.question, reason=f"{why}: {trouble}" if trouble else why, span=span)
    return _measured(_together(parts), measure, span)


def _usable(bundles: BundleStore, model: str, found: Alternative) -> tuple[Bundle | None, str]:
    """Return the other version's bundle if it can score what was logged of the one that answered; else why not."""
    try:
        other, actual = (bundles.read(model, version) for version in (found.instead, found.actual))
    except (UnknownBundle, BundleCorrupt) as error:
        return None, str(error)
    if other.manifest.plan_json != actual.manifest.plan_json:
        return None, f"it reads other features than {found.actual}, whose were logged"
    return other, "no features were logged of them, or no labels have matured"


def _reader(home: Home, model: Model, other: Bundle | None) -> OutcomeReader:
    """Return what reads the predictions, with all that the other version takes."""
    if other is None:
        return OutcomeReader(home, model)
    asked = [REQUEST_PREFIX + name for name in other.plan.request if name not in model.slices]
    return OutcomeReader(home, model, besides=[*other.manifest.schema.names, FEATURES_LOGGED, *asked])


def _parts(reader: OutcomeReader, span: Span, now_us: int, measure: _Measure) -> Iterator[_Rows]:
    for since_us in range(span.since_us, span.until_us, DAYS_AT_ONCE * DAY_US):
        until_us = min(span.until_us, since_us + DAYS_AT_ONCE * DAY_US)
        rows = reader.outcomes(since_us, until_us, now_us)
        rows = rows.filter(pl.col("_label").is_not_null() & pl.col("score").is_finite())
        if not rows.is_empty():
            yield from _of(rows, measure)


def _of(rows: pl.DataFrame, measure: _Measure) -> Iterator[_Rows]:
    """Yield the predictions that the actual version answered, with the other's logged scores, then with those anew."""
    found, other = measure.found, measure.other
    heard = rows.filter((pl.col("version") == found.actual) & (pl.col("role") == found.role))
    theirs = rows.filter(pl.col("version") == found.instead).unique("id")
    theirs = theirs.select("id", pl.col("score").alias("_instead"), pl.col("decision").alias("_instead_decision"))
    both = heard.join(theirs, on="id", how="left", maintain_order="left")
    logged = both.filter(pl.col("_instead").is_not_null())
    if not logged.is_empty():
        yield _rows(logged, measure, (logged["_instead"], logged["_instead_decision"]), logged.height)
    rest = both.filter(pl.col("_instead").is_null())
    rest = rest.filter(features_logged(rest)) if other is not None else rest.clear()
    if other is not None and not rest.is_empty():
        scores = other.score(rest)
        decided, _ = other.decide(scores, as_asked(other.plan, rest))
        nobody = pl.Series([None], dtype=pl.Boolean).new_from_index(0, rest.height)
        yield _rows(rest, measure, (pl.Series(scores), nobody if decided is None else pl.Series(decided)), 0)


def _rows(rows: pl.DataFrame, measure: _Measure, instead: tuple[pl.Series, pl.Series], logged: int) -> _Rows:
    """Return what rows lost. instead: the other version's scores and decisions. logged: how many of those were."""
    actual = measure.losses(rows, rows["score"], rows["decision"])
    theirs = measure.losses(rows, *instead)
    known = ~np.isnan(actual) & ~np.isnan(theirs)
    at_us = rows["_at_us"].to_numpy()[known]
    otherwise = _differing(rows["decision"], instead[1])
    return _Rows(at_us, actual[known], theirs[known], min(logged, len(at_us)), otherwise)


def _differing(actual: pl.Series, instead: pl.Series) -> int | None:
    undecided = len(actual) in (actual.null_count(), instead.null_count())
    return None if undecided else int((actual != instead).sum())


def _limited(parts: Iterator[_Rows]) -> Iterator[_Rows]:
    """Yield parts until there are labels enough."""
    taken = 0
    for part in parts:
        yield part
        taken += len(part.at_us)
        if taken >= MOST_LABELS:
            return


def _together(parts: Sequence[_Rows]) -> _Rows:
    counted = [part.otherwise for part in parts if part.otherwise is not None]
    return _Rows(
        at_us=np.concatenate([part.at_us for part in parts]),
        actual=np.concatenate([part.actual for part in parts]),
        instead=np.concatenate([part.instead for part in parts]),
        logged=sum(part.logged for part in parts),
        otherwise=sum(counted) if counted else None,
    )


def _measured(rows: _Rows, measure: _Measure, span: Span) -> Otherwise:
    loss, days, count, found = measure.loss, rows.at_us // DAY_US, len(rows.at_us), measure.found
    rescored = count - rows.logged
    how = f"{rows.logged:,} scores of {found.instead} were logged beside the answers, {rescored:,} made again from the "
    try:
        difference = paired_means(loss, rows.instead, rows.actual, clusters=days)
    except MetricUndefined:
        difference = None
    lacking = "" if difference else "; for an interval there have to be labels of two days at least"
    if measure.untold:
        lacking += f"; by {metric_name(loss)}, for nobody knows the {metric_name(measure.untold)} of other answers"
    return Otherwise(
        question=found.question,
        reason=f"{how}logged features{lacking}",
        loss=loss,
        actual=_estimate(loss, rows.actual, days),
        instead=_estimate(loss, rows.instead, days),
        difference=difference,
        span=span,
        labels=count,
        logged=rows.logged,
        rescored=rescored,
        decided_otherwise=rows.otherwise,
    )


def _loss(model: Model, decision: Decision) -> str:
    """Return the loss that a decision rested on; the task's first where it is another metric."""
    named, losses = decision.evidence.get("metric"), ROW_LOSSES[model.task]
    return str(named) if named in (*losses, COST) else losses[0]


def _untold(model: Model, decision: Decision) -> str | None:
    """Return the business metric that a decision rested on: what other answers would have led to, nobody was told."""
    named = decision.evidence.get("metric")
    return str(named) if named in model.business else None


def _estimate(loss: str, losses: FloatArray, days: Clusters) -> Estimate | None:
    try:
        return estimate_mean(loss, losses, days)
    except MetricUndefined:
        return None
