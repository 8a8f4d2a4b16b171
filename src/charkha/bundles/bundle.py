"""A bundle in memory: one model version that can score and decide."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import compress

import numpy as np
import polars as pl
from attrs import evolve, field, frozen

from charkha.bundles.encoding import encode
from charkha.bundles.manifest import Manifest
from charkha.bundles.predictor import Explainer, NotExplainable, Predictor, RuntimeMissing, load_predictor
from charkha.features.evaluate import with_values
from charkha.features.expressions import expression_from_json
from charkha.features.plan import FeaturePlan
from charkha.spec.model import FloatArray

logger = logging.getLogger(__name__)

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@frozen(eq=False)
class Bundle:
    """One model version, ready to answer. Immutable, and safe to use from several threads.

    rules: (name, expression, decision), in the order declared. state: of the estimator, as it is stored.
    """

    manifest: Manifest
    predictor: Predictor
    plan: FeaturePlan
    rules: tuple[tuple[str, pl.Expr, bool], ...]
    state: bytes = field(repr=False)

    @cached_property
    def explainer(self) -> Explainer:
        """What takes scores apart: the trainer's own code, loaded when it is first asked. Raises NotExplainable."""
        if isinstance(self.predictor, Explainer):
            return self.predictor
        kind = self.manifest.estimator.kind
        found = load_predictor(kind, self.state)
        if not isinstance(found, Explainer):
            raise NotExplainable(kind)
        return found

    def score(self, features: pl.DataFrame) -> FloatArray:
        """Return calibrated scores, float64 (rows,). `features`: at least the columns of the schema."""
        return self.score_matrix(encode(self.manifest.schema, features))

    def score_matrix(self, matrix: FloatArray) -> FloatArray:
        """Return the same of encoded features, float64 (rows, columns): each row's bits whatever rows are beside it."""
        scores = self.predictor.predict(matrix)
        calibration = self.manifest.calibration
        return scores if calibration is None else calibration.apply(scores)

    @cached_property
    def conditions(self) -> Mapping[str, pl.Expr]:
        """Of each rule, in the order declared, when it holds, under a name no feature can have.

        It does not where it is null, nor (`never`) where it cannot be evaluated.
        """
        return {f"rule {name}": when.cast(pl.Boolean).fill_null(False) for name, when, _ in self.rules}

    @property
    def never(self) -> Mapping[str, bool]:
        """Of each condition, what stands where it cannot be evaluated."""
        return dict.fromkeys(self.conditions, False)

    @cached_property
    def plan_with_rules(self) -> FeaturePlan:
        """The plan with the rules' conditions among its expressions: computed in one go with the features."""
        plan = self.plan
        expressions, defaults = {**plan.expressions, **self.conditions}, {**plan.defaults, **self.never}
        return evolve(plan, expressions=expressions, defaults=defaults)

    def decide(self, scores: FloatArray, rows: pl.DataFrame) -> tuple[BoolArray | None, list[tuple[str, ...]]]:
        """Return the decisions, bool (rows,), and the names of the rules that hold, per row.

        rows: the features and the request fields, which rules may use.
        """
        # Not `select`: it would make one row of a rule that looks at no column.
        conditions = [when.alias(name) for name, when in self.conditions.items()]
        held = with_values(rows, conditions, self.never).select(*self.conditions)
        return self.decide_where(scores, [column.to_list() for column in held.get_columns()])

    def decide_where(
        self, scores: FloatArray, held: Sequence[Sequence[bool]]
    ) -> tuple[BoolArray | None, list[tuple[str, ...]]]:
        """Return the same, given of each condition whether it holds for each row.

        The first rule that holds decides; else the score does, by the threshold; without one, False. None when there is
        neither a rule nor a threshold.
        """
        threshold = self.manifest.threshold
        if not self.rules:
            return (None if threshold is None else scores >= threshold), [()] * len(scores)
        return self.ruled(np.zeros(len(scores), dtype=np.bool_) if threshold is None else scores >= threshold, held)

    def ruled(self, decisions: BoolArray, held: Sequence[Sequence[bool]]) -> tuple[BoolArray, list[tuple[str, ...]]]:
        """Return decisions with those of the first rule that holds in their place, and the names of all that do.

        decisions: bool (rows,), which are changed. held: of each condition whether it holds for each row.
        """
        for (_, _, decide), holds in zip(reversed(self.rules), reversed(held), strict=True):
            decisions[np.array(holds, dtype=np.bool_)] = decide
        names = [name for name, _, _ in self.rules]
        return decisions, [tuple(compress(names, holds)) for holds in zip(*held, strict=True)]


def load_bundle(manifest: Manifest, state: bytes) -> Bundle:
    """Return the bundle of a manifest and an estimator's state.

    Raises UnknownEstimator and BadState, and RuntimeMissing where the estimator's library is not installed.
    """
    return Bundle(
        manifest,
        _predictor(manifest, state),
        FeaturePlan.from_json(manifest.plan_json),
        tuple((rule.name, expression_from_json(rule.when_json), rule.decide) for rule in manifest.rules),
        state,
    )


def _predictor(manifest: Manifest, state: bytes) -> Predictor:
    """Return the predictor by the runtime that was chosen, or where that is not to be had by the trainer's own."""
    kind, choice = manifest.estimator.kind, manifest.runtime
    try:
        return load_predictor(kind, state, choice.name if choice else None)
    except RuntimeMissing as error:
        if choice is None:
            raise
        name = f"{manifest.model} {manifest.version}"
        logger.warning("%s is served without the runtime %r, so slower: %s", name, choice.name, error)
        return load_predictor(kind, state)
