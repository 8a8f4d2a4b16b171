"""Who answers for a model now: the bundles of one deployment, each in its role, loaded and ready."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
from attrs import frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.store import BundleStore
from charkha.features.plan import FeaturePlan
from charkha.serving.prediction_log import Role, field_kinds
from charkha.spec.model import Model
from charkha.spec.policies import Fallback
from charkha.storage.ledger import Deployment


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
    former: the champion before, where the fallback asks it first. killed: why the model is on its fallback, if it is.
    fields, kinds: the request's fields, as the log keeps them. keys: the fields by which an entity sticks to a version.
    features_share: of the rows whose features are logged.
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
    fallback: Fallback | None = None
    former: Player | None = None
    killed: str | None = None
    features_share: float = 1.0

    @cached_property
    def oldest_us(self) -> Mapping[str, int]:
        """Of each source that must not be stale, how old its newest row may be (µs)."""
        return self.fallback.max_source_age_us if self.fallback else {}

    @cached_property
    def answering_plans(self) -> tuple[int, ...]:
        """The positions of the plans that answers need."""
        answering = (self.champion, *self.challengers, *([self.former] if self.former else []))
        return tuple(dict.fromkeys(player.plan for player in answering))

    @cached_property
    def shadow_plans(self) -> tuple[int, ...]:
        """The positions of the plans that shadows alone need."""
        return tuple(dict.fromkeys(each.plan for each in self.shadows if each.plan not in self.answering_plans))

    @property
    def players(self) -> tuple[Player, ...]:
        """Everyone: the champion, the challengers, the shadows."""
        return (self.champion, *self.challengers, *self.shadows)


def line_up(
    model: Model, deployment: Deployment, bundles: BundleStore, former: str | None = None
) -> tuple[LineUp | None, list[str]]:
    """Load what a deployment names; return the line-up, None without a champion, and the problems met, in words.

    former: the champion before, if the fallback asks it.
    A champion or challenger that cannot be loaded raises (UnknownBundle, BundleCorrupt, UnusableBundle, …): the line-up
    that was is better than half of this one. A shadow or a former champion that cannot be loaded is left out, and is a
    problem.
    """
    champion = deployment.champion
    if champion is None:
        return None, []
    must = [champion, *(each for each in deployment.serving if each is not champion)]
    may: list[tuple[str, Role]] = [(shadow.version, "shadow") for shadow in deployment.shadows]
    if former is not None:
        may.append((former, "fallback"))
    loaded = [
        _Loaded(each.version, each.role, each.share, usable_bundle(model, each.version, bundles)) for each in must
    ]
    problems: list[str] = []
    for version, role in may:
        try:
            loaded.append(_Loaded(version, role, 1.0, usable_bundle(model, version, bundles)))
        except Exception as error:
            problems.append(f"{role} left out: {error}")
    return _assemble(model, deployment.generation, loaded), problems


@frozen(eq=False)
class _Loaded:
    version: str
    role: Role
    share: float
    bundle: Bundle


def usable_bundle(model: Model, version: str, bundles: BundleStore) -> Bundle:
    """Return a version that requests as they are declared now can be put to. Raises UnusableBundle, and as `read`."""
    bundle = bundles.read(model.name, version)
    declared = model.request_fields
    missing = [name for name, kind in bundle.plan.request.items() if declared.get(name) is not kind]
    if missing:
        raise UnusableBundle(
            f"version '{version}' of model '{model.name}': expected the request fields {missing} as they were when it "
            f"was trained, got {sorted(declared)}. Keep them in the definition until a version without them serves"
        )
    return bundle


def _assemble(model: Model, generation: int, loaded: Sequence[_Loaded]) -> LineUp:
    plans = {_plan_key(each.bundle): each.bundle.plan_with_rules for each in reversed(loaded)}
    keys = list(dict.fromkeys(_plan_key(each.bundle) for each in loaded))
    owners = {_layout(each.bundle): each.version for each in reversed(loaded)}
    champion, *others = [
        Player(
            each.version,
            each.role,
            each.share,
            each.bundle,
            keys.index(_plan_key(each.bundle)),
            owners[_layout(each.bundle)],
        )
        for each in loaded
    ]
    return LineUp(
        model=model.name,
        generation=generation,
        champion=champion,
        challengers=tuple(player for player in others if player.role == "challenger"),
        shadows=tuple(player for player in others if player.role == "shadow"),
        former=next((player for player in others if player.role == "fallback"), None),
        fallback=model.fallback,
        features_share=model.log.features_share,
        plans=tuple(plans[key] for key in keys),
        fields=tuple(model.request_fields),
        kinds=field_kinds(model.request_fields),
        keys=_sticky_fields(model),
    )


def _plan_key(bundle: Bundle) -> tuple[str, bytes]:
    return bundle.manifest.plan_json, msgspec.json.encode(bundle.manifest.rules)


def _layout(bundle: Bundle) -> tuple[object, ...]:
    """Return what two versions must share for their logged features to be the same: plan, columns and their kinds."""
    columns = tuple((column.name, column.kind) for column in bundle.manifest.schema.columns)
    return (bundle.manifest.plan_json, columns)


def _sticky_fields(model: Model) -> tuple[str, ...]:
    """Return the keys of the model's entities that a request carries; without entities, all of its fields."""
    keys = dict.fromkeys(key for view in model.views for key in view.entity.keys if key in model.request)
    return tuple(keys) or model.request
