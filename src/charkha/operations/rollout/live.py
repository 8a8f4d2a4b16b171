"""What two arms of the same time showed: the champion's answers and the challenger's, entity by entity."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray
from charkha.monitoring.sequential.clusters import ClusterMean, cluster_mean
from charkha.operations.rollout.guards import Figures
from charkha.operations.rollout.plan import LEAST_ENTITIES
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.serving.routing import assign, positions
from charkha.spec.model import Model
from charkha.training.influence import absolute_errors, binary_log_losses, squared_errors

ROW_LOSSES = {
    "log_loss": binary_log_losses,
    "brier": squared_errors,
    "absolute_error": absolute_errors,
    "squared_error": squared_errors,
}
# Of the scores, by the champion's quantiles.
BINS = 20
# So many slices with the most rows are looked at.
MOST_SLICES = 20
# A call that takes less is not slow, whatever the champion's take.
LEAST_SLOW_US = 10_000


@frozen(kw_only=True)
class Arm:
    """One version's part of the traffic.

    requests: that were to be its own, fallbacks among them. entities: that it answered first. failed, slow, decided: of
    its entities, those with such a request. latency_us: the 95th percentile. early: its loss on all labels so far;
    matured: on those whose delay has passed. predictions: how many of those there are to have a label.
    """

    version: str
    share: float
    requests: int
    entities: int
    failed: int
    slow: int
    decided: int
    latency_us: float | None
    early: ClusterMean
    matured: ClusterMean
    predictions: int


@frozen(kw_only=True)
class SliceDifference:
    """The difference of the losses in one slice, by all labels so far. information: 0 where there are too few."""

    name: str
    value: str
    difference: float
    information: float


@frozen(kw_only=True)
class Live:
    """Both arms over a span.

    scores: counts of first scores by the champion's quantiles, the challenger's first. slow_us: from when a call is.
    """

    champion: Arm
    challenger: Arm
    scores: tuple[tuple[int, ...], tuple[int, ...]]
    slices: tuple[SliceDifference, ...]
    slow_us: float
    span: Span

    @property
    def difference(self) -> tuple[float, float]:
        """The difference of the losses on matured labels, and its information."""
        return difference_of(self.challenger.matured, self.champion.matured)

    @property
    def figures(self) -> Figures:
        """What the guardrails are asked of."""
        mine, others = self.challenger, self.champion
        return Figures(
            entities=(mine.entities, others.entities),
            failed=(mine.failed, others.failed),
            slow=(mine.slow, others.slow),
            decided=(mine.decided, others.decided),
            scores=(np.array(self.scores[0], dtype=np.float64), np.array(self.scores[1], dtype=np.float64)),
            loss=difference_of(mine.early, others.early),
            slices=(
                np.array([each.difference for each in self.slices], dtype=np.float64),
                np.array([each.information for each in self.slices], dtype=np.float64),
            ),
            usual=others.early.value if others.early.rows else 1.0,
        )


def difference_of(challenger: ClusterMean, champion: ClusterMean) -> tuple[float, float]:
    """Return how much greater the challenger's mean is, and its information: 0 with too few entities in an arm."""
    if min(challenger.clusters, champion.clusters) < LEAST_ENTITIES:
        return 0.0, 0.0
    variance = challenger.variance + champion.variance
    return challenger.value - champion.value, 1 / variance if variance > 0 else 0.0


@frozen(eq=False)
class _Rows:
    """Answered rows, one each. first: of its entity. mine: of the challenger's arm. by_mine, by_champion: who did."""

    entity: IntArray
    first: BoolArray
    mine: BoolArray
    by_mine: BoolArray
    by_champion: BoolArray
    score: FloatArray
    decided: BoolArray
    latency_us: FloatArray
    at_us: IntArray
    label: FloatArray

    @property
    def own(self) -> BoolArray:
        """Whether a row was answered by its arm's version, and nobody in its place."""
        return np.where(self.mine, self.by_mine, self.by_champion).astype(np.bool_)


@frozen(eq=False)
class _Terms:
    """By what rows are measured. matured: bool (n,): whose label has."""

    metric: str
    slow_us: float
    matured: BoolArray


def live_of(
    rows: pl.DataFrame, model: Model, challengers: Sequence[tuple[str, float]], pair: tuple[str, str], span: Span
) -> Live:
    """Compare two arms on what was answered in a span; its end, less the label's delay, is what has matured.

    rows: outcomes with fallbacks, `latency_us` and the fields that versions stick to. challengers: all of the
    deployment, in its order, with their shares. pair: the champion and the challenger that are compared.
    """
    within = rows.filter(pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left"))
    answers = within.filter(pl.col("role") != "shadow").sort("_at_us", maintain_order=True)
    keys = [REQUEST_PREFIX + name for name in model.sticky_fields]
    entity, first = _entities(answers, keys)
    arms = _assigned(answers, entity, model, challengers, pair[1])
    chosen = arms >= 0
    table = _rows(answers.filter(pl.Series(chosen)), (entity[chosen], first[chosen]), arms[chosen] == 1, pair[1])
    shares = (1 - sum(each for _, each in challengers), dict(challengers)[pair[1]])
    terms = _Terms(
        metric=model.rollout.compare.metric,
        slow_us=_slow_from(table, model.rollout.guardrails.max_slowdown),
        matured=table.at_us < span.until_us - model.label.delay_us,
    )
    scores = [_first_scores(table, mine=mine) for mine in (True, False)]
    edges = np.quantile(scores[1], np.arange(1, BINS) / BINS) if len(scores[1]) else None
    return Live(
        champion=_arm(table, pair[0], shares[0], terms, mine=False),
        challenger=_arm(table, pair[1], shares[1], terms, mine=True),
        scores=(_binned(scores[0], edges), _binned(scores[1], edges)),
        slices=tuple(_slices(table, answers.filter(pl.Series(chosen)), model)),
        slow_us=terms.slow_us,
        span=span,
    )


def loss_of(rows: pl.DataFrame, model: Model, version: str) -> tuple[ClusterMean, int | None]:
    """Return what a version's answers lost on all their labels, and when it answered first (µs); None where it never.

    rows: as of `live_of`.
    """
    own = rows.filter((pl.col("version") == version) & pl.col("role").is_in(["champion", "challenger"]))
    usable = own.filter(pl.col("_label").is_not_null() & pl.col("score").is_finite())
    entity, _ = _entities(usable, [REQUEST_PREFIX + name for name in model.sticky_fields])
    labels, scores = (usable[name].cast(pl.Float64).to_numpy() for name in ("_label", "score"))
    first_us = own["_at_us"].min()
    losses = ROW_LOSSES[model.rollout.compare.metric](labels, scores)
    return cluster_mean(losses, entity), first_us if isinstance(first_us, int) else None


def _entities(answers: pl.DataFrame, keys: list[str]) -> tuple[IntArray, BoolArray]:
    """Return a number for the entity of each row, and whether the row is its first."""
    hashes = answers.select(pl.struct(keys).hash(seed=0)).to_series().to_numpy()
    _, firsts, codes = np.unique(hashes, return_index=True, return_inverse=True)
    first = np.zeros(len(hashes), dtype=np.bool_)
    first[firsts] = True
    return codes.astype(np.int64), first


def _assigned(
    answers: pl.DataFrame,
    entity: IntArray,
    model: Model,
    challengers: Sequence[tuple[str, float]],
    challenger: str,
) -> IntArray:
    """Return whose each row was to be: 0 the champion's, 1 the challenger's, -1 of neither.

    By the place of its entity, so that what the challenger could not answer counts as its own. Where places do not
    agree with who answered, as for keys that the log holds otherwise, whoever answered counts.
    """
    answered = np.where((answers["version"] == challenger) & (answers["role"] == "challenger"), 1, 0)
    others = [version for version, _ in challengers if version != challenger]
    answered = np.where(answers["version"].is_in(others) & (answers["role"] == "challenger"), -1, answered)
    if not len(entity):
        return answered.astype(np.int64)
    _, firsts = np.unique(entity, return_index=True)
    keys = [REQUEST_PREFIX + name for name in model.sticky_fields]
    places = positions(model.name, answers[firsts.tolist()].select(keys).rows())
    number = [version for version, _ in challengers].index(challenger) + 1
    who = assign(places, [share for _, share in challengers])[entity]
    to_be = np.where(who == number, 1, np.where(who == 0, 0, -1))
    astray = (answered == 1) & (to_be != 1)
    return np.asarray(answered if astray.any() else to_be, dtype=np.int64)


def _rows(answers: pl.DataFrame, entities: tuple[IntArray, BoolArray], mine: BoolArray, challenger: str) -> _Rows:
    role, version = answers["role"].to_numpy(), answers["version"].to_numpy()
    return _Rows(
        entity=entities[0],
        first=entities[1],
        mine=mine,
        by_mine=((role == "challenger") & (version == challenger)).astype(np.bool_),
        by_champion=(role == "champion").astype(np.bool_),
        score=answers["score"].to_numpy().astype(np.float64),
        decided=answers["decision"].fill_null(value=False).to_numpy().astype(np.bool_),
        latency_us=answers["latency_us"].fill_null(0).to_numpy().astype(np.float64),
        at_us=answers["_at_us"].to_numpy(),
        label=answers["_label"].cast(pl.Float64).to_numpy().astype(np.float64),
    )


def _slow_from(table: _Rows, factor: float) -> float:
    usual = table.latency_us[~table.mine & table.own]
    return max(float(LEAST_SLOW_US), factor * float(np.quantile(usual, 0.95))) if len(usual) else float(LEAST_SLOW_US)


def _arm(table: _Rows, version: str, share: float, terms: _Terms, *, mine: bool) -> Arm:
    arm = table.mine == mine
    own = arm & table.own
    answered_first = table.first & (table.by_mine if mine else table.by_champion)
    latencies = table.latency_us[own]
    return Arm(
        version=version,
        share=share,
        requests=int(arm.sum()),
        entities=int(answered_first.sum()),
        failed=_distinct(table, arm & ~table.own),
        slow=_distinct(table, own & (table.latency_us > terms.slow_us)),
        decided=_distinct(table, own & table.decided),
        latency_us=float(np.quantile(latencies, 0.95)) if len(latencies) else None,
        early=_loss(table, own, terms.metric),
        matured=_loss(table, own & terms.matured, terms.metric),
        predictions=int((own & terms.matured).sum()),
    )


def _distinct(table: _Rows, rows: BoolArray) -> int:
    return len(np.unique(table.entity[rows]))


def _loss(table: _Rows, rows: BoolArray, metric: str) -> ClusterMean:
    usable = rows & np.isfinite(table.label) & np.isfinite(table.score)
    losses: FloatArray = ROW_LOSSES[metric](table.label[usable], table.score[usable])
    _, clusters = np.unique(table.entity[usable], return_inverse=True)
    return cluster_mean(losses, clusters.astype(np.int64))


def _first_scores(table: _Rows, *, mine: bool) -> FloatArray:
    chosen = (table.mine == mine) & table.own & table.first & np.isfinite(table.score)
    scores: FloatArray = table.score[chosen]
    return scores


def _binned(scores: FloatArray, edges: FloatArray | None) -> tuple[int, ...]:
    if edges is None:
        return (0,) * BINS
    counts = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=BINS)
    return tuple(int(count) for count in counts)


def _slices(table: _Rows, answers: pl.DataFrame, model: Model) -> list[SliceDifference]:
    """Return the declared slices with the most labelled rows, by name and value."""
    labelled = table.own & np.isfinite(table.label) & np.isfinite(table.score)
    found: list[tuple[int, SliceDifference]] = []
    for name in model.slices:
        values = answers[REQUEST_PREFIX + name].cast(pl.String).fill_null("null").to_numpy()
        for value in np.unique(values[labelled].astype(str)):
            inside = (values == value) & labelled
            means = [
                _loss(table, inside & (table.mine == mine), model.rollout.compare.metric) for mine in (True, False)
            ]
            difference, information = difference_of(*means)
            of_slice = SliceDifference(name=name, value=str(value), difference=difference, information=information)
            found.append((int(inside.sum()), of_slice))
    found.sort(key=lambda each: (-each[0], each[1].name, each[1].value))
    return [each for _, each in found[:MOST_SLICES]]
