"""Who answers each row of a batch: champion, challengers, or the fallback; and, beside it, what shadows make of it."""

from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np

from charkha.serving.fallback import BoolArray, abstains, apart, fall_back
from charkha.serving.lineup import Player
from charkha.serving.observer import Observer
from charkha.serving.prediction_log import Cause, Scored
from charkha.serving.routing import IndexArray, assign, positions
from charkha.serving.scoring import Answered, Batch, score
from charkha.spec.failures import ANY_FAILS
from charkha.spec.policies import Fallback


class Killed(Exception):
    """A model that is killed, and has no fallback."""

    def __init__(self, model: str, reason: str) -> None:
        self.model, self.reason = model, reason
        super().__init__(
            f"model '{model}' is killed: {reason}. Declare fallback=ck.Fallback(…) to answer in its place, or let it "
            f"answer again: charkha revive {model}"
        )


class ScoresNotFinite(Exception):
    """A version whose scores are no numbers."""

    def __init__(self, rows: int, of: int) -> None:
        super().__init__(f"expected finite scores, got NaN or infinity for {rows} of {of} rows")


def answered(batch: Batch, observer: Observer, *, falls_back: bool) -> Answered:
    """Let those who answer score a batch. falls_back: whether the fallback, if any, answers where the model fails.

    Raises whatever the champion raises where it does not; and Killed.
    """
    lineup, declared = batch.lineup, batch.lineup.fallback
    who: IndexArray | None = None
    if (instead := lineup.instead) is None:
        versions, who = _by_the_model(batch, observer, falls_back=falls_back)
    elif declared is None:
        raise Killed(lineup.model, lineup.killed or "")
    else:
        versions = [fall_back(lineup, declared, batch, instead)]
    return Answered(versions, who)


def shadowed(batch: Batch, observer: Observer) -> list[Scored]:
    """Let the shadows score a batch whose answers are given; those that fail are left out."""
    return [scored for player in batch.lineup.shadows if (scored := _tried(player, batch, observer))]


def _by_the_model(batch: Batch, observer: Observer, *, falls_back: bool) -> tuple[list[Scored], IndexArray | None]:
    lineup, declared = batch.lineup, batch.lineup.fallback
    if declared is not None and batch.causes and batch.causes[0] and len(set(batch.causes)) == 1:
        return [fall_back(lineup, declared, batch, batch.causes[0])], None
    try:
        versions = [score(lineup.champion, batch)]
    except ANY_FAILS as error:
        if declared is None or not falls_back:
            raise
        observer.failed(lineup.model, lineup.champion, error)
        at_fault = isinstance(batch.features[lineup.champion.plan], Exception)
        return [fall_back(lineup, declared, batch, "features_unavailable" if at_fault else "model_failed")], None
    who = _routed(batch, versions, observer) if lineup.challengers else None
    if declared is not None:
        for cause, rows in (*_broken(batch, versions, who, observer), *_abstentions(batch, declared)):
            versions.append(fall_back(lineup, declared, batch, cause, rows))
            who = apart(who, rows, len(versions) - 1)
    return versions, who


def _routed(batch: Batch, versions: list[Scored], observer: Observer) -> IndexArray:
    """Let challengers score; return who answers each row. Rows on which one fails are left to the champion."""
    lineup = batch.lineup
    places = positions(lineup.model, list(zip(*(batch.asked[key] for key in lineup.keys), strict=True)))
    shares = assign(places, [player.share for player in lineup.challengers])
    who = shares * 0
    for number, player in enumerate(lineup.challengers, 1):
        scored = _tried(player, batch, observer) if (shares == number).any() else None
        if scored is not None:
            who[(shares == number) & np.isfinite(scored.scores)] = len(versions)
            versions.append(scored)
    return who


def _broken(
    batch: Batch, versions: Sequence[Scored], who: IndexArray | None, observer: Observer
) -> Iterator[tuple[Cause, BoolArray]]:
    """Yield, if there are any, the rows that the champion is to answer and its score of which is no finite number."""
    scores = versions[0].scores
    if isfinite(scores.dot(scores)):  # in a tenth of the time that asking each takes; what overflows is asked
        return
    fine = np.isfinite(scores)
    rows = ~fine if who is None else ~fine & (who == 0)
    if rows.any():
        observer.failed(batch.lineup.model, batch.lineup.champion, ScoresNotFinite(int(rows.sum()), len(rows)))
        yield "model_failed", rows


def _abstentions(batch: Batch, declared: Fallback) -> Iterator[tuple[Cause, BoolArray]]:
    """Yield why the model had better not answer some rows, and which."""
    features = batch.features[batch.lineup.champion.plan]
    if declared.max_missing is not None and not isinstance(features, Exception):
        missing = abstains(batch.lineup, declared.max_missing, features)
        if missing.any():
            yield "features_missing", missing
    for cause in {cause for cause in batch.causes or () if cause is not None}:
        yield cause, np.array([each == cause for each in batch.causes or ()], np.bool_)


def _tried(player: Player, batch: Batch, observer: Observer) -> Scored | None:
    try:
        return score(player, batch)
    except ANY_FAILS as error:
        observer.failed(batch.lineup.model, player, error)
        return None
