"""Who answers for a model whose champion cannot be loaded, where nobody answered before: its declared fallback.

The champion before, if it is asked and can be loaded; else the rules as they are defined now, and the constant. For
these a bundle is made of the definition, which has features and rules and nothing that scores.
"""

from contextlib import suppress

from attrs import evolve, frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.encoding import FeatureSchema
from charkha.bundles.manifest import EstimatorSpec, Lineage, Manifest, RuleSpec
from charkha.bundles.profile import NumericShape, Profile, ProfileShape
from charkha.bundles.rules import LoadedRule, RuleSet
from charkha.bundles.store import BundleStore
from charkha.features.plan import FeaturePlan, plan_features
from charkha.serving.lineup import LineUp, Loaded, assemble, usable_bundle
from charkha.serving.prediction_log import NO_FEATURES
from charkha.spec.model import FloatArray, Model
from charkha.storage.ledger import Assignment


class ChampionAbsent(Exception):
    """A score of a version that could not be loaded."""


@frozen
class _Nothing:
    """Predicts nothing."""

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Raise ChampionAbsent."""
        raise ChampionAbsent("expected the champion to score, but it could not be loaded")


def stand_in(
    model: Model, generation: int, champion: Assignment, bundles: BundleStore, former: str | None = None
) -> LineUp:
    """Return the line-up in which the fallback answers every call. former: the champion before, if it is asked.

    Its features are not logged: there is no bundle that names their columns.
    """
    loaded = [Loaded(champion.version, champion.role, champion.share, _of_definition(model, champion.version))]
    if former is not None:
        with suppress(Exception):  # then rules and constant answer, as they do where it fails on a call
            loaded.append(Loaded(former, "fallback", 1.0, usable_bundle(model, former, bundles)))
    found = assemble(model, generation, loaded)
    return evolve(found, champion=evolve(found.champion, kept_as=NO_FEATURES), absent=True, features_share=0.0)


def _of_definition(model: Model, version: str) -> Bundle:
    plan = plan_features(model)
    manifest = _manifest(model, version, plan)
    rules = RuleSet(tuple(LoadedRule.of(rule) for rule in manifest.rules))
    return Bundle(manifest, _Nothing(), plan, rules, b"")


def _manifest(model: Model, version: str, plan: FeaturePlan) -> Manifest:
    """Return a manifest that says nothing of a training, for there was none."""
    return Manifest(
        model=model.name,
        version=version,
        task=model.task,
        created_us=0,
        as_of_us=0,
        estimator=EstimatorSpec("none"),
        plan_json=plan.to_json(),
        rules=tuple(RuleSpec.of(rule) for rule in model.rules),
        schema=FeatureSchema(()),
        reference=Profile("", 0, {}, ()),
        shape=ProfileShape((), (), NumericShape("score", ())),
        lineage=Lineage(fingerprint="", rows=0, definition_digest="", as_of_us=0, seed=0, versions={}, source_rows={}),
        purpose=model.purpose,
        owner=model.owner,
        positive_share=0.0,
    )
