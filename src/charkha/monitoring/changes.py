"""What was changed by people or by the operator: events on the timeline of a model, which are evidence of their own."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

from attrs import frozen

from charkha.bundles.manifest import Manifest
from charkha.bundles.store import BundleStore
from charkha.monitoring.diagnosis.incidents import INCIDENT_ACTIONS
from charkha.monitoring.performance import Span
from charkha.storage.ledger import Decision, Deployment, Ledger

ChangeKind = Literal["deploy", "definition", "rule", "schema", "backfill", "decision"]


@frozen(order=True)
class Change:
    """One thing that was changed.

    time_us: since when it holds (µs since 1970 UTC). subject: what was changed: a version, a model, a source, a view.
    words: the same as a sentence.
    """

    time_us: int
    kind: ChangeKind
    subject: str
    words: str


def ledger_changes(ledger: Ledger, bundles: BundleStore, model: str, span: Span) -> tuple[Change, ...]:
    """Return what the ledger tells of a model's changes in a span, oldest first.

    What was found out about incidents is not one: nothing was changed by it. A deployment whose champion was made from
    another definition, or has other rules, is also a change of those.
    """
    deployments = {each.generation: each for each in ledger.deployments(model)}
    found = [_decided(each, deployments) for each in ledger.decisions(model) if each.action not in INCIDENT_ACTIONS]
    found += _between_champions(list(deployments.values()), bundles)
    return tuple(sorted(change for change in found if span.since_us <= change.time_us < span.until_us))


def _decided(decision: Decision, deployments: dict[int, Deployment]) -> Change:
    deployment = deployments.get(decision.generation) if decision.generation is not None else None
    words = f"{decision.action} by {decision.actor}: {decision.reason}"
    if deployment is None:
        return Change(decision.time_us, "decision", decision.action, words)
    champion = deployment.champion
    return Change(decision.time_us, "deploy", champion.version if champion else decision.model, words)


def _between_champions(deployments: Sequence[Deployment], bundles: BundleStore) -> Iterator[Change]:
    for before, after in pairwise(deployments):
        if before.champion is None or after.champion is None or before.champion == after.champion:
            continue
        versions = before.champion.version, after.champion.version
        if set(versions) <= set(bundles.versions(after.model)):  # of a bundle that is gone nothing can be said
            old, new = (bundles.manifest(after.model, version) for version in versions)
            yield from _between_manifests(old, new, after.since_us)


def _between_manifests(old: Manifest, new: Manifest, time_us: int) -> Iterator[Change]:
    pair = f"{old.version} and {new.version}"
    if old.plan_json != new.plan_json:
        yield Change(time_us, "definition", new.model, f"the features of {pair} are declared differently")
    if old.rules != new.rules:
        yield Change(time_us, "rule", new.model, f"the rules of {pair} differ")
