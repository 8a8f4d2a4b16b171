"""Other rules for a version, without training: a version of their own that is the other one in all else.

    rules of the definition → held to what the version can be asked → manifest → bundle → ledger → one decision

The same rules applied to the same version give the same version, however often it is begun anew.
"""

import hashlib
from collections.abc import Iterable
from typing import TypedDict

import msgspec
import polars as pl
from attrs import frozen
from polars.exceptions import PolarsError

from charkha.bundles.bundle import Bundle, load_bundle
from charkha.bundles.manifest import Manifest, RulesApplied, RuleSpec, format_with
from charkha.bundles.store import BundleStore
from charkha.clock import Clock
from charkha.features.plan import FeaturePlan
from charkha.governance.card import model_card
from charkha.operations.beside import deploy_beside, refuse_beside_a_trial, with_beside
from charkha.operations.deploy import DeploymentRefused, refuse_failed, require_reason
from charkha.operations.two_persons import promote_by_hand, require_another_than_maker
from charkha.serving.lineup import usable_bundle
from charkha.spec.checks.expressions import type_of
from charkha.spec.checks.request_features import request_feature_faults
from charkha.spec.checks.views import feature_types
from charkha.spec.fields import POLARS_TYPES, TIME
from charkha.spec.model import Model
from charkha.spec.rules import SCORE, Rule
from charkha.storage.home import Home
from charkha.storage.ledger import Assignment, Decision, Role, VersionRow
from charkha.training.lineage import definition_digest


class RulesRefused(Exception):
    """Rules that a version cannot evaluate: they read what it has not, or as what it is not. Nothing was changed."""

    def __init__(self, model: str, version: str, problems: list[str]) -> None:
        self.model, self.version, self.problems = model, version, problems
        super().__init__(
            f"model {model!r}: {'; '.join(problems)}. Write the rules by what {version} has, or train a version that "
            f"has more: charkha train {model}"
        )


@frozen(kw_only=True)
class Wish:
    """What is to be done with the version that the rules make. share: of a challenger. force: although gates failed.

    break_glass: although two persons have to agree on a champion, and who makes it is one.
    actor, reason: kept in the ledger for ever; neither may be empty.
    """

    actor: str
    reason: str
    role: Role = "champion"
    share: float = 1.0
    force: bool = False
    break_glass: bool = False


class _Said(TypedDict):
    actor: str
    reason: str
    force: bool


@frozen
class Applied:
    """The version that was made, or was there, and the decision that deployed it."""

    version: str
    decision: Decision


def apply_rules(home: Home, clock: Clock, model: Model, origin: str, wish: Wish) -> Applied:
    """Make a version of another one and the definition's rules, and deploy it by one decision.

    Whatever would refuse the deployment is looked at first, so that no version is made for nothing. Killed anywhere,
    the same call goes on. Raises RulesRefused, DeploymentRefused, UnknownVersion, UnusableBundle, UnknownBundle,
    BundleCorrupt, and StaleGeneration when somebody else changed the deployment meanwhile.
    """
    name = model.name
    require_reason(name, wish.actor, wish.reason)
    old = usable_bundle(model, origin, BundleStore(home.bundles))
    refuse_failed(home.ledger.version(name, origin), old.manifest.gates, force=wish.force)
    manifest = with_rules(model, old, wish.actor)
    run_key = f"{name}/rules/{origin}/{_digest_of(manifest.rules)}"
    if wish.role == "champion":
        require_another_than_maker(home, model, wish.actor, break_glass=wish.break_glass)
    else:
        _require_champion(home, name, wish.role)
        deployment, wished = home.ledger.deployment(name), Assignment(run_key, wish.role, wish.share)
        with_beside(deployment, wished)
        refuse_beside_a_trial(home, model, deployment, wished)
    version = _recorded(home, clock, old, manifest, run_key)
    said = _Said(actor=wish.actor, reason=wish.reason, force=wish.force)
    if wish.role == "champion":
        made = promote_by_hand(home, clock, model, version, alone=False, break_glass=wish.break_glass, **said)
        return Applied(version, made)
    return Applied(version, deploy_beside(home, clock, model, Assignment(version, wish.role, wish.share), **said))


def with_rules(model: Model, old: Bundle, actor: str) -> Manifest:
    """Return the manifest of a version with the definition's rules in place of its own; version and time are still its.

    Raises RulesRefused, and DeploymentRefused where these are its rules already.
    """
    manifest = old.manifest
    problems = [
        problem for rule in model.rules for problem in _problems(rule, old.manifest.version, rule_types(old.plan))
    ]
    if problems:
        raise RulesRefused(model.name, manifest.version, problems)
    rules = tuple(RuleSpec.of(rule) for rule in model.rules)
    if _digest_of(rules) == _digest_of(manifest.rules):
        said = f"{manifest.version} has these rules already. Change rules=[…] in the definition, or promote it"
        raise DeploymentRefused(model.name, said)
    applied = RulesApplied(manifest.version, actor, definition_digest(model))
    lineage = msgspec.structs.replace(manifest.lineage, rules_applied=applied)
    found = msgspec.structs.replace(manifest, rules=rules, lineage=lineage, format=format_with(model.rules))
    return msgspec.structs.replace(found, fallback=model.fallback)


def tried(old: Bundle, manifest: Manifest) -> Bundle:
    """Return what `with_rules` describes as a bundle that is kept nowhere."""
    return load_bundle(manifest, old.state)


def rule_types(plan: FeaturePlan) -> dict[str, pl.DataType]:
    """Return what rules may read of a version, and of which type: request fields, the time, features and the score."""
    columns: dict[str, pl.DataType] = {name: POLARS_TYPES[kind] for name, kind in plan.request.items()}
    columns[plan.at] = TIME
    for view in plan.views:
        columns |= feature_types(view)
    _, computed = request_feature_faults("the plan", plan.expressions, columns)
    return {**columns, **computed, SCORE: pl.Float64()}


def _problems(rule: Rule, version: str, types: dict[str, pl.DataType]) -> Iterable[str]:
    missing = [name for name in dict.fromkeys(rule.when.meta.root_names()) if name not in types]
    if missing:
        yield f"rule {rule.name!r} reads {', '.join(map(repr, missing))}, which {version} was not trained with"
        return
    try:
        found = type_of(rule.when, types)
    except PolarsError as error:
        yield f"rule {rule.name!r} cannot be evaluated on what {version} has: {str(error).splitlines()[0]}"
        return
    if found != pl.Boolean():
        yield f"rule {rule.name!r}: expected a boolean of what {version} has, got {found}"


def _digest_of(rules: Iterable[RuleSpec]) -> str:
    """Return the SHA-256 of rules, whatever the spaces in their expressions' JSON."""
    plain = [{**msgspec.structs.asdict(rule), "when_json": msgspec.json.decode(rule.when_json)} for rule in rules]
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def _require_champion(home: Home, model: str, role: str) -> None:
    if home.ledger.deployment(model).champion is None:
        said = f"expected a champion, beside which a {role} is to be; none serves. Apply the rules as the champion"
        raise DeploymentRefused(model, said)


def _recorded(home: Home, clock: Clock, old: Bundle, manifest: Manifest, run_key: str) -> str:
    """Write the version and its row, if they are not there; return its name. The operator tells the tracker of it."""
    name, bundles = manifest.model, BundleStore(home.bundles)
    version = home.ledger.next_version(name, run_key)
    if any(row.version == version for row in home.ledger.versions(name)):
        return version
    made = msgspec.structs.replace(manifest, version=version, created_us=clock.now())
    digest = bundles.write(made, old.state, model_card(made))
    row = VersionRow(
        model=name,
        version=version,
        created_us=bundles.manifest(name, version).created_us,
        digest=digest,
        fingerprint=made.lineage.fingerprint,
        run_key=run_key,
        tracking={},
        status="accepted" if made.passed else "rejected",
    )
    home.ledger.record_version(row)
    return version
