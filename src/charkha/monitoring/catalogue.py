"""What features there are: from which source and entity, read by which models and versions, how full and how large."""

from collections import Counter

from charkha.bundles.profile import Profile
from charkha.bundles.store import BundleStore
from charkha.clock import to_iso
from charkha.features.kept import registered_views
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.progress import newest_known_of, view_registry
from charkha.features.state import view_digest
from charkha.monitoring.catalogue_entries import Catalogue, Nulls, StateSize, ViewEntry
from charkha.monitoring.catalogue_features import Known, declared_features, former_features
from charkha.monitoring.profiles import ProfileReader
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.spec.views import FeatureView
from charkha.storage.home import Home
from charkha.storage.online import OnlineStore

# Of a view's state so many entries are counted; of a larger one it is said that it has more.
MOST_ENTRIES = 200_000
_DIGEST_BYTES = 6


def catalogue(project: Project, home: Home, now_us: int) -> Catalogue:
    """Return what there is at `now_us` (µs). Changes nothing. Raises UnknownBundle and BundleCorrupt."""
    known = _known(project, home, now_us)
    declared = [*project.views, *project.unused_views]
    deployed = {view_digest(view): view for plan in known.plans.values() for view in plan.views}
    read = {*deployed, *map(view_digest, project.views)}
    former = [view for digest, view in deployed.items() if digest not in map(view_digest, declared)]
    idle = [view for digest, view in known.kept.items() if digest not in read]
    return Catalogue(
        project=project.name,
        features=(*declared_features(known), *former_features(known)),
        views=(
            *(_view_entry(known, view, declared=True) for view in declared),
            *(_view_entry(known, view, declared=False) for view in former),
        ),
        unused_views=tuple(view.name for view in project.unused_views),
        idle_state=tuple(_view_entry(known, view, declared=view in declared) for view in idle),
    )


def state_size(store: OnlineStore, view: FeatureView) -> StateSize:
    """Return how large the online state of a view is, counted up to `MOST_ENTRIES` entries."""
    by_slot: Counter[int] = Counter()
    size = 0
    for number, (key, value) in enumerate(store.scan(view_digest(view))):
        if number == MOST_ENTRIES:
            return StateSize(max(by_slot.values()), size, complete=False)
        by_slot[key[_DIGEST_BYTES]] += 1  # each ring and the latest row of a key have an entry of their own
        size += len(key) + len(value)
    return StateSize(max(by_slot.values(), default=0), size, complete=True)


def _known(project: Project, home: Home, now_us: int) -> Known:
    bundles = BundleStore(home.bundles)
    plans = {
        (name, assignment.version): FeaturePlan.from_json(bundles.manifest(name, assignment.version).plan_json)
        for name in project.models
        for assignment in home.ledger.deployment(name).assignments
    }
    sources = {view.source.name for view in project.unused_views} | set(project.sources)
    with home.online.read() as state:
        newest = newest_known_of(state, sorted(sources))
        kept = registered_views(view_registry(state))
    times = {source: to_iso(time) for source, time in newest.items()}
    nulls = {name: _nulls(model, home, now_us) for name, model in project.models.items()}
    return Known(project, home, plans, kept, times, nulls)


def _nulls(model: Model, home: Home, now_us: int) -> dict[str, Nulls]:
    """Return of each feature the share of nulls, by the champion's profiles."""
    champion = home.ledger.deployment(model.name).champion
    if champion is None:
        return {}
    bundles = BundleStore(home.bundles)
    reference = bundles.manifest(model.name, champion.version).reference
    window_us = parse_duration(model.monitors.window)
    current = ProfileReader(home, model.name, bundles).profile(champion.version, now_us - window_us, now_us)
    return {name: Nulls(_null_share(reference, name), _null_share(current, name)) for name in reference.features}


def _null_share(profile: Profile | None, feature: str) -> float | None:
    counts = profile.features.get(feature, ()) if profile else ()
    return counts[-1] / sum(counts) if sum(counts) else None


def _view_entry(known: Known, view: FeatureView, *, declared: bool) -> ViewEntry:
    digest = view_digest(view)
    versions: dict[str, tuple[str, ...]] = {}
    for (model, version), plan in known.plans.items():
        if digest in map(view_digest, plan.views):
            versions[model] = (*versions.get(model, ()), version)
    return ViewEntry(
        name=view.name,
        source=view.source.name,
        entity=view.entity.name,
        keys=view.entity.keys,
        features=tuple(feature_names(view)),
        models=tuple(
            model.name for model in known.project.models.values() if any(view == each for each in model.views)
        ),
        versions=versions,
        declared=declared,
        newest_known=known.newest.get(view.source.name),
        state=state_size(known.home.online, view) if digest in known.kept else None,
        static=view.source.static,
    )
