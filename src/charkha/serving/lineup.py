"""Who answers for a model now: the bundles of one deployment, each in its role, loaded and ready."""

from collections.abc import Sequence

import msgspec
from attrs import evolve, frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.store import BundleStore
from charkha.features.plan import FeaturePlan
from charkha.serving.prediction_log import Role, field_kinds
from charkha.spec.model import Model
from charkha.storage.ledger import Assignment, Deployment


class UnusableBundle(Exception):
    """A bundle that loads, but whose features cannot be computed from the requests that the definition describes."""


@frozen(eq=False)
class Player:
    """One version in its role. share: of the requests it answers. plan: position of its feature plan in the line-up.

    kept_as: the version under which its features are logged: the first that has the same columns.
    """

    version: str
    role: Role
    share: float
    bundle: Bundle
    plan: int
    kept_as: str


@frozen(eq=False)
class LineUp:
    """One deployment of a model, ready to answer; replaced as a whole when the next one comes.

    plans: every feature plan in use with its rules, each once, the champion's first: versions that share one share its
        features.
    fields, kinds: the request's fields, as the log keeps them. keys: the fields by which an entity sticks to a version.
    """

    model: str
    generation: int
    champion: Player
    challengers: tuple[Player, ...]
    shadows: tuple[Player, ...]
    plans: tuple[FeaturePlan, ...]
    fields: tuple[str, ...]
    kinds: str
    keys: tuple[str, ...]

    @property
    def players(self) -> tuple[Player, ...]:
        """Everyone: the champion, the challengers, the shadows."""
        return (self.champion, *self.challengers, *self.shadows)


def line_up(model: Model, deployment: Deployment, bundles: BundleStore) -> tuple[LineUp | None, list[str]]:
    """Load what a deployment names; return the line-up, None without a champion, and the problems met, in words.

    A champion or challenger that cannot be loaded raises (UnknownBundle, BundleCorrupt, UnusableBundle, …): the former
    line-up is better than half of this one. A shadow that cannot be loaded is left out, and is a problem.
    """
    champion = deployment.champion
    if champion is None:
        return None, []
    assignments = [champion, *(each for each in deployment.serving if each is not champion)]
    loaded = [(assignment, _load(model, assignment.version, bundles)) for assignment in assignments]
    problems: list[str] = []
    for shadow in deployment.shadows:
        try:
            loaded.append((shadow, _load(model, shadow.version, bundles)))
        except Exception as error:
            problems.append(f"shadow left out: {error}")
    return _assemble(model, deployment.generation, loaded), problems


def _load(model: Model, version: str, bundles: BundleStore) -> Bundle:
    bundle = bundles.read(model.name, version)
    declared = model.request_fields
    missing = [name for name, kind in bundle.plan.request.items() if declared.get(name) is not kind]
    if missing:
        raise UnusableBundle(
            f"version '{version}' of model '{model.name}': expected the request fields {missing} as they were when it "
            f"was trained, got {sorted(declared)}. Keep them in the definition until a version without them serves"
        )
    return bundle


def _assemble(model: Model, generation: int, loaded: Sequence[tuple[Assignment, Bundle]]) -> LineUp:
    plans = {_plan_key(bundle): _with_rules(bundle) for _, bundle in reversed(loaded)}
    keys = list(dict.fromkeys(_plan_key(bundle) for _, bundle in loaded))
    owners = {_layout(bundle): assignment.version for assignment, bundle in reversed(loaded)}
    champion, *others = [
        Player(each.version, each.role, each.share, bundle, keys.index(_plan_key(bundle)), owners[_layout(bundle)])
        for each, bundle in loaded
    ]
    return LineUp(
        model=model.name,
        generation=generation,
        champion=champion,
        challengers=tuple(player for player in others if player.role == "challenger"),
        shadows=tuple(player for player in others if player.role == "shadow"),
        plans=tuple(plans[key] for key in keys),
        fields=tuple(model.request_fields),
        kinds=field_kinds(model.request_fields),
        keys=_sticky_fields(model),
    )


def _plan_key(bundle: Bundle) -> tuple[str, bytes]:
    return bundle.manifest.plan_json, msgspec.json.encode(bundle.manifest.rules)


def _with_rules(bundle: Bundle) -> FeaturePlan:
    """Return the plan with the rules' conditions among its expressions: computed in one go with the features."""
    plan = bundle.plan
    expressions, defaults = {**plan.expressions, **bundle.conditions}, {**plan.defaults, **bundle.never}
    return evolve(plan, expressions=expressions, defaults=defaults)


def _layout(bundle: Bundle) -> tuple[object, ...]:
    """Return what two versions must share for their logged features to be the same: plan, columns and their kinds."""
    columns = tuple((column.name, column.kind) for column in bundle.manifest.schema.columns)
    return (bundle.manifest.plan_json, columns)


def _sticky_fields(model: Model) -> tuple[str, ...]:
    """Return the keys of the model's entities that a request carries; without entities, all of its fields."""
    keys = dict.fromkeys(key for view in model.views for key in view.entity.keys if key in model.request)
    return tuple(keys) or model.request
