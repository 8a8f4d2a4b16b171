"""What two arms of the same time showed: the champion's answers and the challenger's, entity by entity."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray
from charkha.monitoring.sequential.clusters import ClusterMean, cluster_mean
from charkha.operations.rollout.guards import Figures
from charkha.operations.rollout.plan import LEAST_ENTITIES
from charkha.operations.rollout.rows import Rows, arms_of, entities_of, rows_of, while_loading
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.durations import MICROS
from charkha.spec.model import ROW_LOSSES, Model

# Of the scores, by the champion's quantiles.
BINS = 20
# So many slices with the most rows are looked at.
MOST_SLICES = 20
# A call that takes less is not slow, whatever the champion's take.
LEAST_SLOW_US = 10_000
# Since a stage began, for so long a replica may not have loaded its challenger yet.
MOST_LOADING_US = 5 * MICROS["m"]


@frozen(kw_only=True)
class Arm:
    """One version's part of the traffic.

    requests: that were to be its own, fallbacks among them. entities: that it answered first. failed, slow, decided: of
    its entities, those with such a request. latency_us: the 95th percentile. early: the mean of what is compared on all
    labels so far; matured: on those whose delay has passed. predictions: how many of those there are to have a label.
    without: of its entities, those with a matured row that has none; first_with, first_without: by the first such row.
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
    without: int = 0
    first_with: int = 0
    first_without: int = 0


@frozen(kw_only=True)
class SliceDifference:
    """The difference of the means in one slice, by all labels so far. information: 0 where there are too few."""

    name: str
    value: str
    difference: float
    information: float


@frozen(kw_only=True)
class Live:
    """Both arms over a span.

    scores: counts of first scores by the champion's quantiles, the challenger's first. slow_us: from when a call is.
    higher_is_better: of what is compared. watched: differences of which size the guardrails watch for are a share of
    this; of the champion's mean where it is None.
    """

    champion: Arm
    challenger: Arm
    scores: tuple[tuple[int, ...], tuple[int, ...]]
    slices: tuple[SliceDifference, ...]
    slow_us: float
    span: Span
    higher_is_better: bool = False
    watched: float | None = None

    @property
    def difference(self) -> tuple[float, float]:
        """The difference of the means on matured labels, and its information."""
        return difference_of(self.challenger.matured, self.champion.matured)

    @property
    def figures(self) -> Figures:
        """What the guardrails are asked of."""
        mine, others = self.challenger, self.champion
        worse = -1.0 if self.higher_is_better else 1.0
        early, information = difference_of(mine.early, others.early)
        usual = others.early.value if others.early.rows else 1.0
        return Figures(
            entities=(mine.entities, others.entities),
            failed=(mine.failed, others.failed),
            slow=(mine.slow, others.slow),
            decided=(mine.decided, others.decided),
            scores=(np.array(self.scores[0], dtype=np.float64), np.array(self.scores[1], dtype=np.float64)),
            loss=(worse * early, information),
            slices=(
                worse * np.array([each.difference for each in self.slices], dtype=np.float64),
                np.array([each.information for each in self.slices], dtype=np.float64),
            ),
            labels=(
                (mine.first_without, others.first_without),
                (mine.first_with, others.first_with),
                (mine.without, others.without),
            ),
            usual=usual if self.watched is None else self.watched,
        )


def spread_of(mean: ClusterMean) -> float:
    """Return the standard deviation of a row, as it counts in a mean; 1 where it is not known, or there is none.

    What is no loss may have a mean of about 0, of which no share is a size to watch for.
    """
    spread = float(np.sqrt(mean.variance * mean.rows))
    return spread if np.isfinite(spread) and spread > 0 else 1.0


def difference_of(challenger: ClusterMean, champion: ClusterMean) -> tuple[float, float]:
    """Return how much greater the challenger's mean is, and its information: 0 with too few entities in an arm."""
    if min(challenger.clusters, champion.clusters) < LEAST_ENTITIES:
        return 0.0, 0.0
    variance = challenger.variance + champion.variance
    return challenger.value - champion.value, 1 / variance if variance > 0 else 0.0


@frozen(eq=False)
class _Terms:
    """By what rows are measured. matured: bool (n,): whose label has."""

    slow_us: float
    matured: BoolArray


def live_of(
    rows: pl.DataFrame, model: Model, challengers: Sequence[tuple[str, float]], pair: tuple[str, str], span: Span
) -> Live:
    """Compare two arms on what was answered in a span; its end, less the label's delay, is what has matured.

    rows: outcomes with fallbacks, `latency_us`, `replica` and the fields that versions stick to. challengers: all of
    the deployment, in its order, with their shares. pair: the champion and the challenger that are compared.
    """
    within = rows.filter(pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left"))
    answers = within.filter(pl.col("role") != "shadow").sort("_at_us", maintain_order=True)
    entity = entities_of(answers, model)
    arms = arms_of(answers, entity, model, challengers, pair[1])
    chosen = (arms >= 0) & ~while_loading(answers, arms, pair[1], span.since_us + MOST_LOADING_US)
    ours = answers.filter(pl.Series(chosen))
    table = rows_of(ours, entity[chosen], arms[chosen] == 1, pair[1], model)
    shares = (1 - sum(each for _, each in challengers), dict(challengers)[pair[1]])
    terms = _Terms(
        slow_us=_slow_from(table, model.rollout.guardrails.max_slowdown),
        matured=table.at_us < span.until_us - model.label.delay_us,
    )
    scores = [_first_scores(table, mine=mine) for mine in (True, False)]
    edges = np.quantile(scores[1], np.arange(1, BINS) / BINS) if len(scores[1]) else None
    champion = _arm(table, pair[0], shares[0], terms, mine=False)
    return Live(
        champion=champion,
        challenger=_arm(table, pair[1], shares[1], terms, mine=True),
        scores=(_binned(scores[0], edges), _binned(scores[1], edges)),
        slices=tuple(_slices(table, ours, model)),
        slow_us=terms.slow_us,
        span=span,
        higher_is_better=model.compared_higher,
        watched=None if model.rollout.compare.metric in ROW_LOSSES[model.task] else spread_of(champion.early),
    )


def _slow_from(table: Rows, factor: float) -> float:
    usual = table.latency_us[~table.mine & table.own]
    return max(float(LEAST_SLOW_US), factor * float(np.quantile(usual, 0.95))) if len(usual) else float(LEAST_SLOW_US)


def _arm(table: Rows, version: str, share: float, terms: _Terms, *, mine: bool) -> Arm:
    arm = table.mine == mine
    own = arm & table.own
    answered_first = table.first & (table.by_mine if mine else table.by_champion)
    latencies = table.latency_us[own]
    matured = np.flatnonzero(own & terms.matured)
    firsts = matured[np.unique(table.entity[matured], return_index=True)[1]]
    first_with = int(table.known[firsts].sum())
    return Arm(
        version=version,
        share=share,
        requests=int(arm.sum()),
        entities=int(answered_first.sum()),
        failed=_distinct(table, arm & ~table.own),
        slow=_distinct(table, own & (table.latency_us > terms.slow_us)),
        decided=_distinct(table, own & table.decided),
        latency_us=float(np.quantile(latencies, 0.95)) if len(latencies) else None,
        early=_mean(table, own),
        matured=_mean(table, own & terms.matured),
        predictions=len(matured),
        without=_distinct(table, own & terms.matured & ~table.known),
        first_with=first_with,
        first_without=len(firsts) - first_with,
    )


def _distinct(table: Rows, rows: BoolArray) -> int:
    return len(np.unique(table.entity[rows]))


def _mean(table: Rows, rows: BoolArray) -> ClusterMean:
    usable = rows & table.known
    _, clusters = np.unique(table.entity[usable], return_inverse=True)
    return cluster_mean(table.value[usable], clusters.astype(np.int64))


def _first_scores(table: Rows, *, mine: bool) -> FloatArray:
    chosen = (table.mine == mine) & table.own & table.first & np.isfinite(table.score)
    scores: FloatArray = table.score[chosen]
    return scores


def _binned(scores: FloatArray, edges: FloatArray | None) -> tuple[int, ...]:
    if edges is None:
        return (0,) * BINS
    counts = np.bincount(np.searchsorted(edges, scores, side="left"), minlength=BINS)
    return tuple(int(count) for count in counts)


def _slices(table: Rows, answers: pl.DataFrame, model: Model) -> list[SliceDifference]:
    """Return the declared slices with the most rows of known value, by name and value."""
    labelled = table.own & table.known
    found: list[tuple[int, SliceDifference]] = []
    for name in model.slices:
        values = answers[REQUEST_PREFIX + name].cast(pl.String).fill_null("null").to_numpy()
        for value in np.unique(values[labelled].astype(str)):
            inside = (values == value) & labelled
            means = [_mean(table, inside & (table.mine == mine)) for mine in (True, False)]
            difference, information = difference_of(*means)
            of_slice = SliceDifference(name=name, value=str(value), difference=difference, information=information)
            found.append((int(inside.sum()), of_slice))
    found.sort(key=lambda each: (-each[0], each[1].name, each[1].value))
    return [each for _, each in found[:MOST_SLICES]]
