"""What is declared otherwise now than when a version was trained, as the cause of a difference."""

import polars as pl

from charkha.bundles.manifest import Manifest
from charkha.features.expressions import expression_to_json
from charkha.features.plan import FeaturePlan, plan_features, view_to_plain
from charkha.monitoring.skew_words import Cause
from charkha.spec.model import Model
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView

# How a source is told from what it was.
_SOURCE_WORDS = ("time", "known", "key", "static", "lag")


def of_source(then: Source, now: Source) -> Cause | None:
    """Blame a source whose rows are told otherwise."""
    changed = [word for word in _SOURCE_WORDS if getattr(then, word) != getattr(now, word)]
    if not changed:
        return None
    was = ", ".join(f"{word} was {getattr(then, word)!r} and is {getattr(now, word)!r}" for word in changed)
    return Cause("definition_change", f"source {now.name}", f"the source is declared otherwise now: {was}")


def of_view(view: FeatureView, model: Model) -> Cause | None:
    """Blame a view that is not what it was."""
    now = next((each for each in model.views if each.name == view.name), None)
    if now is not None and view_to_plain(now) == view_to_plain(view):
        return None
    what = "is no longer declared" if now is None else "is declared otherwise now than when the version was trained"
    return Cause("definition_change", f"view {view.name}", f"the view {what}")


def of_library(manifest: Manifest) -> Cause | None:
    """Blame a library that is another one."""
    then = manifest.lineage.versions.get("polars")
    if then is None or then == pl.__version__:
        return None
    reason = f"{manifest.version} was trained with Polars {then}, and this is Polars {pl.__version__}"
    return Cause("library_change", "polars", reason)


def cause_of_expression(feature: str, plan: FeaturePlan, manifest: Manifest, model: Model) -> Cause:
    """Return why a request feature differs although everything that it reads agrees."""
    declared = plan_features(model)
    then, now = plan.expressions.get(feature), declared.expressions.get(feature)
    same = plan.defaults.get(feature) == declared.defaults.get(feature)
    if then is not None and (now is None or not same or expression_to_json(now) != expression_to_json(then)):
        what = "is no longer declared" if now is None else "is declared otherwise now"
        reason = f"{feature} {what} than when {manifest.version} was trained"
        return Cause("definition_change", feature, reason if now is not None else reason.partition(" than")[0])
    library = of_library(manifest)
    if library:
        return library
    reason = "all that it reads agrees: the code that serves evaluates it otherwise than the code that recomputes it"
    return Cause("code", feature, reason)
