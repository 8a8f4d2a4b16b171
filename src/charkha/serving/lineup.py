"""Who answers for a model now: the bundles of one deployment, each in its role, loaded and ready."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
from attrs import frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.store import BundleStore
from charkha.features.plan import FeaturePlan
from charkha.serving.prediction_log import Cause, Role, field_kinds
from charkha.serving.problems import Problem, UnusableBundle, problem_of
from charkha.spec.failures import ANY_FAILS
from charkha.spec.model import Model
from charkha.spec.policies import Fallback
from charkha.storage.ledger import Deployment

# Role and version → why it could not be loaded.
LeftOut = Mapping[tuple[Role, str], Problem]


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
    absent: whether the champion could not be loaded, so that the fallback answers all calls in its place (`stand_in`).
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
    absent: bool = False
    features_share: float = 1.0

    @cached_property
    def oldest_us(self) -> Mapping[str, int]:
        """Of each source that must not be stale, how old its newest row may be (µs)."""
        return self.fallback.max_source_age_us if self.fallback else {}

    @cached_property
    def ruled(self) -> tuple[Player, ...]:
        """Those who may answer, and whose versions have rules."""
        answering = (self.champion, *self.challengers, *([self.former] if self.former else []))
        return tuple(player for player in answering if player.bundle.rules.declared)

    @property
    def instead(self) -> Cause | None:
        """Why the fallback is to answer every call, if it is."""
        return "killed" if self.killed is not None else "model_failed" if self.absent else None

    @property
    def answering(self) -> tuple[Player, ...]:
        """Who answers, but for the fallback: the champion and the challengers; nobody while the champion is absent."""
        return () if self.absent else (self.champion, *self.challengers)

    @property
    def players(self) -> tuple[Player, ...]:
        """Everyone: the champion, the challengers, the shadows."""
        return (*self.answering, *self.shadows)


def line_up(
    model: Model, deployment: Deployment, bundles: BundleStore, former: str | None = None, *, whole: bool = True
) -> tuple[LineUp | None, LeftOut]:
    """Load what a deployment names; return the line-up, None without a champion, and who was left out of it.

    former: the champion before, if the fallback asks it. whole: whether there is a line-up to keep, which is better
    than half of this one. A champion that cannot be loaded raises (UnknownBundle, BundleCorrupt, UnusableBundle, …),
    and so does a challenger where it is to be whole. Others that cannot be loaded are left out.
    """
    champion = deployment.champion
    if champion is None:
        return None, {}
    others = [each for each in deployment.serving if each is not champion]
    must = [champion, *(others if whole else ())]
    may: list[tuple[str, Role, float]] = [] if whole else [(each.version, each.role, each.share) for each in others]
    may += [(shadow.version, "shadow", 1.0) for shadow in deployment.shadows]
    if former is not None:
        may.append((former, "fallback", 1.0))
    loaded = [Loaded(each.version, each.role, each.share, usable_bundle(model, each.version, bundles)) for each in must]
    left_out: dict[tuple[Role, str], Problem] = {}
    for version, role, share in may:
        try:
            loaded.append(Loaded(version, role, share, usable_bundle(model, version, bundles)))
        except ANY_FAILS as error:
            left_out[role, version] = problem_of(f"{role} {version} left out", error)
    return assemble(model, deployment.generation, loaded), left_out


@frozen(eq=False)
class Loaded:
    """A version that was loaded for a role."""

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


def assemble(model: Model, generation: int, loaded: Sequence[Loaded]) -> LineUp:
    """Return the line-up of versions, the champion first."""
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
        keys=model.sticky_fields,
    )


def _plan_key(bundle: Bundle) -> tuple[str, bytes]:
    return bundle.manifest.plan_json, msgspec.json.encode(bundle.manifest.rules)


def _layout(bundle: Bundle) -> tuple[object, ...]:
    """Return what two versions must share for their logged features to be the same: plan, columns and their kinds."""
    columns = tuple((column.name, column.kind) for column in bundle.manifest.schema.columns)
    return (bundle.manifest.plan_json, columns)
