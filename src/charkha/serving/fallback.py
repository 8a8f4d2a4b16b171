"""What answers where the champion cannot, or had better not: the declared fallback.

Rules that hold go on deciding, by whatever features there are; where none does, the declared constant is answered.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import isnan

import numpy as np
from attrs import evolve

from charkha.bundles.encoding import encode_lists
from charkha.features.latest import Column, listed
from charkha.features.online import nothing_fetched, online_columns
from charkha.features.request import Columns
from charkha.serving.lineup import LineUp
from charkha.serving.prediction_log import Cause, Scored
from charkha.serving.routing import IndexArray
from charkha.serving.scoring import Answered, Batch, score
from charkha.spec.failures import ANY_FAILS
from charkha.spec.policies import Fallback

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# Of these the features are at fault, and the version before would be no better off.
_OF_FEATURES: tuple[Cause, ...] = ("features_unavailable", "features_missing", "source_stale")


def fall_back(lineup: LineUp, declared: Fallback, batch: Batch, cause: Cause, rows: BoolArray | None = None) -> Scored:
    """Answer all rows of a batch in the model's place. rows: those that will be answered so, if not all: bool (n,).

    The champion before answers, if it is asked and can; else the rules that hold, and where none does, the constant.
    """
    if lineup.former is not None and cause not in _OF_FEATURES and cause != "deadline_passed":
        with suppress(Exception):  # it is the fallback's fallback that has to answer then
            scored = score(lineup.former, batch)
            if np.isfinite(scored.scores if rows is None else scored.scores[rows]).all():
                return evolve(scored, cause=cause)
    return _constant(lineup, declared, batch, cause)


def _constant(lineup: LineUp, declared: Fallback, batch: Batch, cause: Cause) -> Scored:
    champion, count = lineup.champion, len(batch.times_us)
    schema, bundle = champion.bundle.manifest.schema, champion.bundle
    features = batch.features[champion.plan]
    if isinstance(features, Exception):
        features = _without_state(lineup, batch)
    held = bundle.held(features, None) if features else []
    decisions: BoolArray | None = None if declared.decision is None else np.full(count, declared.decision, np.bool_)
    hits: Sequence[tuple[str, ...]] = [()] * count
    if held and decisions is not None:
        decisions, hits = bundle.rules.applied(decisions, held)
    nothing = np.full((count, len(schema.columns)), np.nan)
    return Scored(
        version=champion.version,
        role="fallback",
        bundle=bundle.digest,
        plan=champion.plan,
        kept_as=champion.kept_as,
        matrix=encode_lists(schema, features) if features else nothing,
        text=tuple(
            listed(features[schema.columns[place].name]) if features else [None] * count for place in schema.categorical
        ),
        scores=np.full(count, np.nan if declared.score is None else declared.score),
        decisions=decisions,
        hits=hits,
        told=bundle.in_effect(hits),
        cause=cause,
    )


def _without_state(lineup: LineUp, batch: Batch) -> Columns:
    """Return the champion's features as of entities that nothing is known of; none where that cannot be."""
    plan = lineup.plans[lineup.champion.plan]
    try:
        return online_columns(plan, batch.asked, nothing_fetched(plan, batch.asked), batch.times_us)
    except ANY_FAILS:
        return {}


def abstains(lineup: LineUp, most_missing: float, features: Columns) -> BoolArray:
    """Say of which rows a larger share than `most_missing` of the champion's features from views is null: bool (n,)."""
    plan = lineup.plans[lineup.champion.plan]
    names = [name for name in plan.names if name not in plan.expressions and name in features]
    missing = np.array([_is_null(features[name]) for name in names])
    return missing.mean(axis=0) > most_missing if names else np.zeros(len(features[plan.at]), np.bool_)


def _is_null(column: Column) -> BoolArray:
    if isinstance(column, np.ndarray):
        return np.isnan(column)
    return np.array([value is None or (isinstance(value, float) and isnan(value)) for value in column], np.bool_)


def fallen_back(answered: Answered) -> Iterator[tuple[Cause, int]]:
    """Yield why the fallback answered rows of a batch, and how many."""
    for number, scored in enumerate(answered.versions):
        if scored.cause is not None:
            yield scored.cause, len(scored.scores) if answered.who is None else int((answered.who == number).sum())


def apart(who: IndexArray | None, rows: BoolArray, number: int) -> IndexArray:
    """Return who answers each row when those of some rows are answered by the version of a number."""
    found = np.zeros(len(rows), np.int64) if who is None else who.copy()
    found[rows] = number
    return found
