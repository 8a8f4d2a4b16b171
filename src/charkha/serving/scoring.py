"""A batch of calls, as pure functions: what was fetched for them in, answers and the records for the log out.

Every version scores all rows of a batch at once; which of its scores are answers is decided afterwards, row by row.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen

from charkha.bundles.encoding import encode_lists
from charkha.features.ages import stamps
from charkha.features.evaluate import Failure, OnFailure
from charkha.features.latest import listed
from charkha.features.online import Fetched, online_columns
from charkha.features.plan import FeaturePlan
from charkha.features.request import Columns
from charkha.serving.lineup import LineUp, Player
from charkha.serving.prediction_ids import format_ids
from charkha.serving.prediction_log import (
    FORMAT,
    Cause,
    PredictionBatch,
    Role,
    Scored,
    features_used,
    pack_first_id,
    version_answers,
)
from charkha.serving.routing import IndexArray
from charkha.serving.sampling import drawn
from charkha.spec.failures import ANY_FAILS, as_error
from charkha.spec.model import FloatArray

Row = tuple[Any, ...]
# What a version scored, and which rows of that it is asked for; None for all.
Part = tuple[Scored, tuple[int, ...] | None]


@frozen(eq=False)
class Question:
    """One call: what was asked, when (µs), and what the state then held for each plan of the line-up, or why not.

    rows: the values of the line-up's fields, row by row, and asked: the same by field; times as datetime in UTC.
    seen_us: when the newest row of that state became known; None where it could not be read. started_ns, begun_ns: when
    the call came and when its state began to be read, by the counter that latencies are measured with. cause: why the
    fallback is to answer, if it is clear beforehand.
    """

    lineup: LineUp
    rows: Sequence[Row]
    asked: Columns
    time_us: int
    seen_us: int | None
    started_ns: int
    begun_ns: int
    fetched: Sequence[Fetched | Exception]
    cause: Cause | None = None


class PlanFeatures(dict[int, Columns | Exception]):
    """Features of plans, by position, each computed when it is first asked for.

    A version that answers no row of a batch keeps it from nothing: what is slow about it is its own.
    """

    def __init__(self, compute: Callable[[int], Columns | Exception]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, plan: int) -> Columns | Exception:
        found = self[plan] = self._compute(plan)
        return found


@frozen(eq=False)
class Batch:
    """Questions that are answered together, all put to one line-up: their rows one after the other.

    times_us: of the prediction of each row. features: of plans of the line-up, by position, or why they could not be
    computed; those that are not computed yet are when they are first asked for.
    causes: of each row why the fallback is to answer it; None where no row has one. failures: the request features, and
    the conditions of rules, that could not be evaluated for some rows; scoring adds those of rules by the score.
    """

    lineup: LineUp
    asked: Columns
    times_us: Sequence[int]
    features: PlanFeatures
    causes: Sequence[Cause | None] | None = None
    failures: list[Failure] = field(factory=list)


@frozen(eq=False)
class Answered:
    """Who answers a batch. who: per row the position in `versions` of the one that answers it; None for the first."""

    versions: Sequence[Scored]
    who: IndexArray | None

    def of(self, rows: slice) -> "Answered":
        """Return the same of the rows of one question."""
        who = None if self.who is None else self.who[rows]
        return Answered([one.of(rows) for one in self.versions], who)

    def parts(self) -> list[Part]:
        """Return who answered which rows."""
        if self.who is None:
            return [(self.versions[0], None)]
        own = [tuple(np.flatnonzero(self.who == number).tolist()) for number in range(len(self.versions))]
        return [(scored, rows) for scored, rows in zip(self.versions, own, strict=True) if rows]


@frozen(eq=False)
class Answers:
    """The answers of one call, row by row. scores: float64 (n,). decisions: None where the version decides nothing.
    causes: why the fallback answered; None where it did not.

    time_us: the one time of all of them, by the clock. logged: whether they are in the log.
    """

    ids: list[str]
    scores: FloatArray
    decisions: list[bool | None]
    versions: list[str]
    roles: list[Role]
    rules: Sequence[tuple[str, ...]]
    causes: Sequence[Cause | None]
    time_us: int
    logged: bool = True


def batch_of(questions: Sequence[Question], plans: Iterable[int]) -> Batch:
    """Return questions as one batch. plans: positions of those in their line-up whose features are computed now."""
    lineup = questions[0].lineup
    asked = {field: [value for question in questions for value in question.asked[field]] for field in lineup.fields}
    times = [question.time_us for question in questions for _ in question.rows]
    failures: list[Failure] = []

    def compute(number: int) -> Columns | Exception:
        fetched = [question.fetched[number] for question in questions]
        return _features(lineup.plans[number], asked, fetched, times, failures.append)

    features = PlanFeatures(compute)
    for number in plans:
        features[number]
    causes = None
    if any(question.cause for question in questions):
        causes = [question.cause for question in questions for _ in question.rows]
    return Batch(lineup, asked, times, features, causes, failures)


def each_once(failures: Sequence[Failure]) -> list[Failure]:
    """Return of each name its worst failure: versions that share a feature fail on the same rows."""
    worst = {failure.name: failure for failure in sorted(failures, key=lambda failure: failure.rows)}
    return list(worst.values())


def _features(
    plan: FeaturePlan,
    asked: Columns,
    fetched: Sequence[Fetched | Exception],
    times: Sequence[int],
    on_failure: OnFailure,
) -> Columns | Exception:
    parts = [each for each in fetched if isinstance(each, Fetched)]
    failed = next((each for each in fetched if isinstance(each, Exception)), None)
    if failed is not None:
        return failed
    try:
        return online_columns(plan, asked, Fetched.together(parts), times, on_failure)
    except ANY_FAILS as error:
        return as_error(error)


def score(player: Player, batch: Batch) -> Scored:
    """Score all rows of a batch. Raises whatever its features or its estimator raised."""
    features = batch.features[player.plan]
    if isinstance(features, Exception):
        raise features
    bundle, schema = player.bundle, player.bundle.manifest.schema
    matrix = encode_lists(schema, features)
    scores = bundle.score_matrix(matrix)
    decisions, hits = bundle.decide_where(scores, bundle.held(features, scores, batch.failures.append))
    text = tuple(listed(features[schema.columns[position].name]) for position in schema.categorical)
    told = bundle.in_effect(hits)
    who = (player.version, player.role, bundle.digest, player.plan, player.kept_as)
    return Scored(*who, matrix, text, scores, decisions, hits, told)


def record(
    question: Question, parts: Sequence[Part], first: int, latency_us: int, replica: str | None = None
) -> PredictionBatch:
    """Return what the log keeps: of each version the rows it is asked for; features once per kind.

    Where the policy is to log the features of a share of the rows, they are of these for everyone. replica: who
    answered.
    """
    kept = {scored.kept_as: scored for scored, _ in parts}
    places = {version: place for place, version in enumerate(kept)}
    lineup = question.lineup
    featured = drawn(first, len(question.rows), lineup.features_share)
    return PredictionBatch(
        FORMAT,
        lineup.model,
        pack_first_id(first),
        question.time_us,
        latency_us,
        lineup.fields,
        lineup.kinds,
        question.rows,
        tuple([features_used(scored, _newest(question, scored, featured), featured) for scored in kept.values()]),
        tuple([version_answers(scored, places[scored.kept_as], rows) for scored, rows in parts]),
        question.seen_us,
        featured,
        replica,
    )


def _newest(question: Question, scored: Scored, rows: tuple[int, ...] | None) -> bytes | None:
    """Return when the newest is of that a version's features were made of, as it is logged; None if it is not known."""
    fetched = question.fetched[scored.plan]
    return None if isinstance(fetched, Exception) else stamps(question.lineup.plans[scored.plan], fetched, rows)


def answers(question: Question, answered: Answered, first: int) -> Answers:
    """Return the answers in the order of the requests."""
    count, time_us = len(question.rows), question.time_us
    ids = format_ids(first, count)
    if answered.who is None:
        only = answered.versions[0]
        same = [only.version] * count
        roles, causes = [only.role] * count, [only.cause] * count
        return Answers(ids, only.scores, _decisions(only), same, roles, only.told, causes, time_us)
    chosen = [answered.versions[number] for number in answered.who]
    decided = [_decisions(scored) for scored in answered.versions]
    return Answers(
        ids=ids,
        scores=np.array([scored.scores[row] for row, scored in enumerate(chosen)]),
        decisions=[decided[number][row] for row, number in enumerate(answered.who)],
        versions=[scored.version for scored in chosen],
        roles=[scored.role for scored in chosen],
        rules=[scored.told[row] for row, scored in enumerate(chosen)],
        causes=[scored.cause for scored in chosen],
        time_us=time_us,
    )


def _decisions(scored: Scored) -> list[bool | None]:
    return [None] * len(scored.scores) if scored.decisions is None else scored.decisions.tolist()
