"""The champion on the rows its challenger is tested on: its own features, its own calibration, the same labels."""

from attrs import frozen

from charkha.bundles.bundle import Bundle
from charkha.features.plan import FeaturePlan
from charkha.spec.model import FloatArray
from charkha.training.dataset import Dataset, features_of
from charkha.training.split import IndexArray


@frozen(eq=False)
class Champion:
    """The champion's version, and its scores on the test rows, float64 (n,).

    trouble: why there are none; a challenger that cannot be compared has not shown that it is no worse.
    """

    version: str
    scores: FloatArray | None
    trouble: str = ""


def score_champion(bundle: Bundle, plan_json: str, dataset: Dataset, rows: IndexArray) -> Champion:
    """Return what the champion says on rows of the dataset; its features are computed unless its plan is the same."""
    version = bundle.manifest.version
    if bundle.manifest.plan_json == plan_json:
        return Champion(version, bundle.score(dataset.features[rows]))
    missing = missing_inputs(bundle.plan, dataset)
    if missing:
        return Champion(version, None, f"the champion {version} needs {', '.join(missing)}, gone from the definition")
    readings = dataset.readings.anew(bundle.plan.views, version)
    return Champion(version, bundle.score(features_of(bundle.plan, dataset.spine[rows], readings)))


def missing_inputs(plan: FeaturePlan, dataset: Dataset) -> list[str]:
    """Return the request fields, sources and columns that a plan reads and the dataset does not have."""
    fields = [f"the request field {name!r}" for name in plan.request if name not in dataset.spine.columns]
    columns = {
        (v.source.name, name) for v in plan.views for name in v.source.fields if _lacks(dataset, v.source.name, name)
    }
    return fields + [f"column {name!r} of source {source!r}" for source, name in sorted(columns)]


def _lacks(dataset: Dataset, source: str, column: str) -> bool:
    declared = dataset.readings.sources.by_name
    return source not in declared or column not in declared[source].fields
