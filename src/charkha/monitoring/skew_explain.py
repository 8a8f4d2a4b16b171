"""Looks for the causes of first differences: once for all features of a view that differ in one prediction."""

from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve, field, frozen

from charkha.bundles.store import BundleStore
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.progress import taken_of
from charkha.features.sought import SoughtRows
from charkha.monitoring.skew import exact_features
from charkha.monitoring.skew_cases import Difference, plain, wanted_of
from charkha.monitoring.skew_causes import Causes, Evidence, causes_of_view
from charkha.monitoring.skew_declared import cause_of_expression
from charkha.monitoring.skew_files import SourceFiles
from charkha.monitoring.skew_state import stranger_in
from charkha.monitoring.skew_tally import First
from charkha.monitoring.skew_words import Cause
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.model import Model
from charkha.spec.views import FeatureView
from charkha.storage.online import OnlineStore

# The causes of the differences of a view in a prediction are looked for so many times: the first ones tell enough.
MOST_EXPLAINED = 20


@frozen(eq=False)
class Explainer:
    """Explains the differences of one model. rows: returns the source of a view, as declared now, and its rows."""

    model: Model
    bundles: BundleStore
    store: OnlineStore
    rows: Callable[[FeatureView], SoughtRows]
    _causes: dict[tuple[str, str, str], Causes] = field(factory=dict, init=False)
    _strangers: dict[str, Cause | None] = field(factory=dict, init=False)

    def cause(self, name: str, first: First) -> Cause | None:
        """Return why a feature differs: of a request feature that reads one that differs too, that one's cause.

        None where there were too many to look for it.
        """
        plan = self._plan(first)
        view = view_of(plan, name)
        if view is not None:
            return self._of_view(view, first).get(_blamed(view, name, first))
        blamed = next((read for read in _reads(plan, name) if read in first.differ), None)
        if blamed is not None:
            return self.cause(blamed, first)
        manifest = self.bundles.manifest(self.model.name, first.served["version"])
        return cause_of_expression(name, plan, manifest, self.model)

    def _of_view(self, view: FeatureView, first: First) -> Causes:
        where = (first.served["id"], first.served["version"], view.name)
        if where not in self._causes:
            if len(self._causes) == MOST_EXPLAINED:
                return {}
            self._causes[where] = causes_of_view(*self._evidence(view, first))
        return self._causes[where]

    def _evidence(self, view: FeatureView, first: First) -> tuple[Difference, Evidence]:
        row, sought = first.served, self.rows(view)
        key = {field: row.get(REQUEST_PREFIX + field) for field in view.entity.keys}
        names = [name for name in feature_names(view) if name in first.recomputed and name in row]
        found = Difference(
            view=view,
            at_us=row["_at_us"],
            seen_us=row["_seen_us"],
            until_us=row["_until_us"],
            key=key,
            served={name: plain(row[name]) for name in names},
            recomputed={name: plain(first.recomputed[name]) for name in names},
            differ=first.differ & set(names),
            exact=frozenset(exact_features(self._plan(first))),
            sizes=first.sizes,
            versions=sought.versions_of_keys(wanted_of(view, key)),
            sought=sought,
        )
        with self.store.read() as state:
            taken = taken_of(state, sought.source.name)
        files = SourceFiles.of(found, taken)
        manifest = self.bundles.manifest(self.model.name, row["version"])
        stranger = partial(self._stranger, sought)
        return found, Evidence(manifest, self.model, sought.source, files, taken, self.store, stranger)

    def _stranger(self, sought: SoughtRows) -> Cause | None:
        name = sought.source.name
        if name not in self._strangers:
            self._strangers[name] = stranger_in(sought, sought.source, self.store)
        return self._strangers[name]

    def _plan(self, first: First) -> FeaturePlan:
        return self.bundles.read(self.model.name, first.served["version"]).plan


def view_of(plan: FeaturePlan, feature: str) -> FeatureView | None:
    """Return the view that a feature is of; None for a request feature."""
    return next((view for view in plan.views if feature in feature_names(view)), None)


def _blamed(view: FeatureView, feature: str, first: First) -> str:
    """Return the feature whose cause a feature has: of a ratio, a side that is a feature and differs; else itself."""
    windows = {
        evolve(window, names=("",)): window.names[0] for window in view.all_windows() if "/" not in window.names[0]
    }
    for ratio in view.ratios():
        if feature == f"{view.name}.{ratio.name}":
            sides: list[Any] = [windows.get(evolve(window, names=("",))) for window in ratio.windows()]
            found = (f"{view.name}.{side}" for side in sides if side is not None)
            return next((name for name in found if name in first.differ), feature)
    return feature


def _reads(plan: FeaturePlan, feature: str) -> list[str]:
    return plan.expressions[feature].meta.root_names() if feature in plan.expressions else []
