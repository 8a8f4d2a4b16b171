"""What was answered in an A/B test or a canary, row by row: of which entity, in whose arm, by whom, and its value.

The value is what the comparison is of: what the row lost by its score, what its decision cost as it was served, or the
business metric that was told of it; NaN where that is not known.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.performance import floats
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray
from charkha.serving.labels import METRIC_PREFIX
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.serving.routing import assign, positions
from charkha.spec.model import Model
from charkha.training.row_losses import row_losses

# Of the rows that were to be the challenger's or were answered by it, so many may be of entities that are not its own:
# those on their way while shares changed. Of keys that the log holds otherwise it is the champion's share and more.
MOST_ASTRAY = 0.05


@frozen(eq=False)
class Rows:
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
    value: FloatArray

    @property
    def own(self) -> BoolArray:
        """Whether a row was answered by its arm's version, and nobody in its place."""
        return np.where(self.mine, self.by_mine, self.by_champion).astype(np.bool_)

    @property
    def known(self) -> BoolArray:
        """Whether the value is."""
        return ~np.isnan(self.value)


def values_of(answers: pl.DataFrame, model: Model) -> FloatArray:
    """Return what the model's comparison is of, a number for each row (n,); NaN where it is not known."""
    if model.business_metric is not None:
        return floats(answers[METRIC_PREFIX + model.business_metric])
    labels, scores, decided = (floats(answers[name]) for name in ("_label", "score", "decision"))
    return row_losses(model.rollout.compare.metric, labels, scores, decided, model.costs)


def entities_of(answers: pl.DataFrame, model: Model) -> IntArray:
    """Return a number for the entity of each row, (n,), from 0 up."""
    hashes = answers.select(pl.struct(_keys(model)).hash(seed=0)).to_series().to_numpy()
    return np.unique(hashes, return_inverse=True)[1].astype(np.int64)


def arms_of(
    answers: pl.DataFrame,
    entity: IntArray,
    model: Model,
    challengers: Sequence[tuple[str, float]],
    challenger: str,
) -> IntArray:
    """Return whose each row was to be: 0 the champion's, 1 the challenger's, -1 of neither.

    By the place of its entity, so that what the challenger could not answer counts as its own. What it answered of an
    entity that was not its own is astray, and of neither. Where that is much, as for keys that the log holds otherwise,
    places say nothing, and whoever answered counts.
    """
    answered = np.where((answers["version"] == challenger) & (answers["role"] == "challenger"), 1, 0)
    others = [version for version, _ in challengers if version != challenger]
    answered = np.where(answers["version"].is_in(others) & (answers["role"] == "challenger"), -1, answered)
    if not len(entity):
        return answered.astype(np.int64)
    _, firsts = np.unique(entity, return_index=True)
    places = positions(model.name, answers[firsts.tolist()].select(_keys(model)).rows())
    number = [version for version, _ in challengers].index(challenger) + 1
    who = assign(places, [share for _, share in challengers])[entity]
    to_be = np.where(who == number, 1, np.where(who == 0, 0, -1))
    astray = (answered == 1) & (to_be != 1)
    places_hold = astray.sum() <= MOST_ASTRAY * ((to_be == 1) | astray).sum()
    return np.where(astray, -1, to_be).astype(np.int64) if places_hold else answered.astype(np.int64)


def firsts_of(entity: IntArray) -> BoolArray:
    """Return whether a row is the first of its entity among these, (n,)."""
    first = np.zeros(len(entity), dtype=np.bool_)
    first[np.unique(entity, return_index=True)[1]] = True
    return first


def while_loading(answers: pl.DataFrame, arms: IntArray, challenger: str, until_us: int) -> BoolArray:
    """Return which rows a replica answered while it could not yet answer by the challenger, (n,); none from `until_us`.

    Servers load a version when they see that it serves, and until then the champion answers its entities. So where a
    replica left entities of the challenger to the champion before its own first answer by the challenger, all that it
    answered up to that one is such, of either arm: an arm's share is the same among all rows after it. A replica that
    never answers by the challenger is taken to load until `until_us`, and to fail from then on.
    """
    if "replica" not in answers.columns:
        return np.zeros(len(arms), dtype=np.bool_)
    at_us, role = answers["_at_us"].to_numpy(), answers["role"].to_numpy()
    names, replica = np.unique(answers["replica"].fill_null("").to_numpy().astype(str), return_inverse=True)
    by_it = (arms == 1) & (role == "challenger") & (answers["version"] == challenger).to_numpy()
    first_us = np.full(len(names), until_us, dtype=np.int64)
    np.minimum.at(first_us, replica[by_it], at_us[by_it])
    left = (arms == 1) & (role == "champion") & (at_us < first_us[replica])
    loads = np.zeros(len(names), dtype=np.bool_)
    loads[replica[left]] = True
    return np.asarray(loads[replica] & (at_us <= first_us[replica]) & (at_us < until_us), dtype=np.bool_)


def rows_of(answers: pl.DataFrame, entity: IntArray, mine: BoolArray, challenger: str, model: Model) -> Rows:
    """Return the rows of both arms. entity: whose each is, (n,). mine: which are the challenger's, (n,)."""
    role, version = answers["role"].to_numpy(), answers["version"].to_numpy()
    return Rows(
        entity=entity,
        first=firsts_of(entity),
        mine=mine,
        by_mine=((role == "challenger") & (version == challenger)).astype(np.bool_),
        by_champion=(role == "champion").astype(np.bool_),
        score=answers["score"].to_numpy().astype(np.float64),
        decided=answers["decision"].fill_null(value=False).to_numpy().astype(np.bool_),
        latency_us=answers["latency_us"].fill_null(0).to_numpy().astype(np.float64),
        at_us=answers["_at_us"].to_numpy(),
        value=values_of(answers, model),
    )


def _keys(model: Model) -> list[str]:
    return [REQUEST_PREFIX + name for name in model.sticky_fields]
