"""One call, as pure functions: requests and their features in, answers and the record for the log out.

Every version scores all rows of a call at once; which of its scores are answers is decided afterwards, row by row.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.encoding import encode_lists
from charkha.features.request import Columns
from charkha.serving.lineup import LineUp, Player
from charkha.serving.prediction_ids import format_ids
from charkha.serving.prediction_log import (
    FORMAT,
    PredictionBatch,
    Role,
    Scored,
    VersionAnswers,
    features_used,
    pack_first_id,
    version_answers,
)
from charkha.serving.routing import IndexArray
from charkha.spec.model import FloatArray


@frozen(eq=False)
class Call:
    """What was asked, when (µs), and the features of each plan of the line-up, or why they could not be computed."""

    lineup: LineUp
    requests: pl.DataFrame
    time_us: int
    features: Sequence[Columns | Exception]


@frozen(eq=False)
class Answered:
    """Who scored the call. who: per row the position in `versions` of the one that answers it; None for the first.

    shadows scored every row and answered none.
    """

    versions: Sequence[Scored]
    who: IndexArray | None
    shadows: Sequence[Scored]


@frozen(eq=False)
class Answers:
    """The answers of one call, row by row. scores: float64 (n,). decisions: None where the version decides nothing.

    time_us: the one time of all of them, by the clock.
    """

    ids: list[str]
    scores: FloatArray
    decisions: list[bool | None]
    versions: list[str]
    roles: list[Role]
    rules: Sequence[tuple[str, ...]]
    time_us: int


def score(player: Player, call: Call) -> Scored:
    """Score all rows of a call. Raises whatever its features or its estimator raised."""
    features = call.features[player.plan]
    if isinstance(features, Exception):
        raise features
    bundle, schema = player.bundle, player.bundle.manifest.schema
    matrix = encode_lists(schema, features)
    scores = bundle.predictor.predict(matrix)
    if bundle.manifest.calibration is not None:
        scores = bundle.manifest.calibration.apply(scores)
    decisions, hits = bundle.decide_where(scores, [features[name] for name in bundle.conditions])
    used = features_used(player.kept_as, schema, matrix, features)
    return Scored(player.version, player.role, used, scores, decisions, hits)


def record(call: Call, answered: Answered, first: int, latency_us: int) -> PredictionBatch:
    """Return what the log keeps: of those who answered their own rows, of shadows all; features once per kind."""
    everyone = (*answered.versions, *answered.shadows)
    kept = {scored.used.version: scored.used for scored in everyone}
    places = {version: place for place, version in enumerate(kept)}
    lineup = call.lineup
    return PredictionBatch(
        format=FORMAT,
        model=lineup.model,
        first_id=pack_first_id(first),
        time_us=call.time_us,
        latency_us=latency_us,
        fields=lineup.fields,
        kinds=lineup.kinds,
        requests=call.requests.rows(),
        features=tuple(kept.values()),
        answers=_blocks(answered, places),
    )


def _blocks(answered: Answered, places: dict[str, int]) -> tuple[VersionAnswers, ...]:
    shadows = [version_answers(scored, places[scored.used.version]) for scored in answered.shadows]
    if answered.who is None:
        only = answered.versions[0]
        return (version_answers(only, places[only.used.version]), *shadows)
    own = [tuple(np.flatnonzero(answered.who == number).tolist()) for number in range(len(answered.versions))]
    chosen = [(scored, rows) for scored, rows in zip(answered.versions, own, strict=True) if rows]
    return (*(version_answers(scored, places[scored.used.version], rows) for scored, rows in chosen), *shadows)


def answers(call: Call, answered: Answered, first: int) -> Answers:
    """Return the answers in the order of the requests."""
    count = call.requests.height
    ids = format_ids(first, count)
    if answered.who is None:
        only = answered.versions[0]
        same = [only.version] * count
        return Answers(ids, only.scores, _decisions(only), same, [only.role] * count, only.hits, call.time_us)
    chosen = [answered.versions[number] for number in answered.who]
    decided = [_decisions(scored) for scored in answered.versions]
    return Answers(
        ids=ids,
        scores=np.array([scored.scores[row] for row, scored in enumerate(chosen)]),
        decisions=[decided[number][row] for row, number in enumerate(answered.who)],
        versions=[scored.version for scored in chosen],
        roles=[scored.role for scored in chosen],
        rules=[scored.hits[row] for row, scored in enumerate(chosen)],
        time_us=call.time_us,
    )


def _decisions(scored: Scored) -> list[bool | None]:
    return [None] * len(scored.scores) if scored.decisions is None else scored.decisions.tolist()
