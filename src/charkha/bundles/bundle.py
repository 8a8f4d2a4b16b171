"""A bundle in memory: one model version that can score and decide."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from attrs import evolve, field, frozen

from charkha.bundles.encoding import encode
from charkha.bundles.manifest import Manifest
from charkha.bundles.predictor import Explainer, NotExplainable, Predictor, RuntimeMissing, load_predictor
from charkha.bundles.rules import BoolArray, LoadedRule, RuleSet, held_beside, held_in_table
from charkha.features.evaluate import OnFailure, unheard
from charkha.features.latest import listed
from charkha.features.plan import FeaturePlan
from charkha.features.request import Columns, Program
from charkha.spec.model import FloatArray

logger = logging.getLogger(__name__)


@frozen(eq=False)
class Bundle:
    """One model version, ready to answer. Immutable, and safe to use from several threads.

    state: of the estimator, as it is stored. digest: SHA-256 of what was loaded, by which the store knows the version
    (see `BundleStore.digest`); empty where it came from none.
    """

    manifest: Manifest
    predictor: Predictor
    plan: FeaturePlan
    rules: RuleSet
    state: bytes = field(repr=False)
    digest: bytes = b""

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
        """Of each rule that does not read the score, in the order declared, when it holds."""
        return self.rules.before

    @cached_property
    def after(self) -> Program | None:
        """What evaluates the rules that read the score; None where there are none."""
        return self.rules.program(self.plan_with_rules) if self.rules.after else None

    @cached_property
    def plan_with_rules(self) -> FeaturePlan:
        """The plan with the conditions of the rules before the model: computed in one go with the features."""
        plan, rules = self.plan, self.rules
        never = {name: rules.never[name] for name in rules.before}
        return evolve(plan, expressions={**plan.expressions, **rules.before}, defaults={**plan.defaults, **never})

    def held(
        self, features: Columns, scores: FloatArray | None, on_failure: OnFailure = unheard
    ) -> list[Sequence[bool]]:
        """Return of each rule, in the order declared, whether it holds for each row of a small batch.

        features: the columns of `plan_with_rules`. scores: None where the model has none; what reads them holds not.
        """
        if self.after is None:
            return [listed(features[name]) for name in self.conditions]
        if scores is None:
            never = [False] * len(features[self.plan.at])
            return [never if rule.by_score else listed(features[rule.condition]) for rule in self.rules.declared]
        return held_beside(self.rules, self.after, features, scores, on_failure)

    def held_in(self, rows: pl.DataFrame, scores: FloatArray, on_failure: OnFailure = unheard) -> list[Sequence[bool]]:
        """Return the same of a table: the features, and the request fields, which rules may use.

        Conditions that are among its columns are not evaluated again.
        """
        return held_in_table(self.rules, rows, scores, on_failure)

    def decide(self, scores: FloatArray, rows: pl.DataFrame) -> tuple[BoolArray | None, list[tuple[str, ...]]]:
        """Return the decisions, bool (rows,), and the names of the rules that hold, per row; rows as of `held_in`."""
        return self.decide_where(scores, self.held_in(rows, scores))

    def decide_where(
        self, scores: FloatArray, held: Sequence[Sequence[bool]]
    ) -> tuple[BoolArray | None, list[tuple[str, ...]]]:
        """Return the same, given of each rule whether it holds for each row.

        The first rule that holds, and is not in shadow, decides; else the score does, by the threshold; without one,
        False. None when there is neither such a rule nor a threshold.
        """
        threshold = self.manifest.threshold
        by_score = None if threshold is None else scores >= threshold
        if not self.rules.declared:
            return by_score, [()] * len(scores)
        if by_score is None and self.rules.decides:
            by_score = np.zeros(len(scores), dtype=np.bool_)
        return self.rules.applied(by_score, held)

    def in_effect(self, hits: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
        """Return of rules that hold, by row, those that are not in shadow."""
        shadow = self.rules.in_shadow
        return [tuple(name for name in names if name not in shadow) for names in hits] if shadow else hits


def load_bundle(manifest: Manifest, state: bytes, digest: bytes = b"") -> Bundle:
    """Return the bundle of a manifest and an estimator's state. digest: of the stored version.

    Raises UnknownEstimator and BadState, and RuntimeMissing where the estimator's library is not installed.
    """
    return Bundle(
        manifest,
        _predictor(manifest, state),
        FeaturePlan.from_json(manifest.plan_json),
        RuleSet(tuple(LoadedRule.of(rule) for rule in manifest.rules)),
        state,
        digest,
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
