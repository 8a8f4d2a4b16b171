"""The usual reports on one version, as one: drift in bank form, data quality, quality by slice, drift of the target.

No part of it says what is at fault or what to do: that is what a diagnosis is for.
"""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.manifest import Estimate, Manifest
from charkha.bundles.predictor import RuntimeMissing
from charkha.bundles.profile import NumericShape, Profile, ProfileShape
from charkha.monitoring.answer_quality import (
    ClassificationQuality,
    RegressionQuality,
    classification_quality,
    regression_quality,
)
from charkha.monitoring.data_quality import DataQuality, data_quality
from charkha.monitoring.performance import Span
from charkha.monitoring.psi import Band, Psi, psi_interval
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.training.metrics import MetricUndefined, estimate, estimate_slices


@frozen
class Bin:
    """One line of a characteristic's table: shares of rows then and now, and what it adds to the index."""

    name: str
    reference: float
    now: float
    adds: float


@frozen(kw_only=True)
class FeatureDrift:
    """One feature, or the score: its index (PSI of the score, CSI of a feature) by its bins, and its data quality.

    index: None without values on either side. band: None then, and with too few rows to say it. nulls,
    strangers: shares of rows that are null, and of values that the reference did not have; each as (reference, now).
    constant: whether all values now lie in one bin and did not.
    """

    name: str
    index: Psi | None
    band: Band | None
    bins: tuple[Bin, ...]
    rows: int
    nulls: tuple[float, float]
    strangers: tuple[float, float]
    constant: bool

    @property
    def band_words(self) -> str:
        """The band, or why there is none."""
        return "no values" if self.index is None else self.index.words


@frozen
class SliceQuality:
    """A metric of the rows with one value of a field; field and value are "" for all rows."""

    field: str
    value: str
    metric: str
    estimate: Estimate


@frozen
class Arrived:
    """Rows of a source that came, and how many of them were there already or came twice."""

    source: str
    rows: int
    duplicates: int


@frozen(kw_only=True)
class DriftReport:
    """All of it.

    data: what the version was given. answers: how good its answers were; None without labels, and where remark says why
    it could not be told. target: the mean label in training and now, None without labels; labels: how many have
    matured.
    """

    model: str
    version: str
    span: Span
    score: FeatureDrift
    features: tuple[FeatureDrift, ...]
    sources: tuple[Arrived, ...]
    quality: tuple[SliceQuality, ...]
    target: tuple[float, float] | None
    labels: int
    data: DataQuality
    answers: ClassificationQuality | RegressionQuality | None
    remark: str

    @property
    def by_movement(self) -> list[FeatureDrift]:
        """The features, those that moved most first; those of which it cannot be said last."""
        return sorted(self.features, key=lambda each: (each.band is None, -(each.index.value if each.index else -1.0)))


def drift_report(
    model: Model,
    manifest: Manifest,
    span: Span,
    *,
    current: Profile,
    outcomes: pl.DataFrame,
    arrivals: pl.DataFrame,
    given: pl.DataFrame,
) -> DriftReport:
    """Return the report of a version over a span.

    current: the profile of what it scored. outcomes: as of `OutcomeReader`, of predictions that have matured. arrivals:
    as of `traffic.ARRIVALS`. given: as of `served_rows`.
    """
    shape, reference = manifest.shape, manifest.reference
    of_version = outcomes.filter((pl.col("version") == manifest.version) & pl.col("score").is_finite())
    labelled = of_version.filter(pl.col("_label").is_not_null())
    answers, remark = _answers(model, manifest, labelled)
    return DriftReport(
        model=model.name,
        version=manifest.version,
        span=span,
        score=_drift("score", shape.score, (reference.scores, current.scores)),
        features=tuple(_of_feature(name, shape, reference, current) for name in shape.parts),
        sources=_arrived(arrivals),
        quality=_quality(model, labelled),
        target=(manifest.positive_share, float(labelled["_label"].to_numpy().mean())) if labelled.height else None,
        labels=labelled.height,
        data=data_quality(given),
        answers=answers,
        remark=remark,
    )


def _answers(
    model: Model, manifest: Manifest, labelled: pl.DataFrame
) -> tuple[ClassificationQuality | RegressionQuality | None, str]:
    """Return how good the answers were, or None with the reason."""
    labels, scores = labelled["_label"].to_numpy(), labelled["score"].to_numpy()
    if not len(labels):
        return None, "no label has matured yet"
    try:
        if model.task == "regression":
            return regression_quality(labels, scores), ""
        return classification_quality(labels, scores, manifest.threshold), ""
    except RuntimeMissing as missing:
        return None, str(missing)


def _of_feature(name: str, shape: ProfileShape, reference: Profile, current: Profile) -> FeatureDrift:
    part, counts = shape.parts[name], (reference.features[name], current.features[name])
    if isinstance(part, NumericShape):
        return _drift(name, part, counts)
    return _measured(name, (*part.categories, "any other"), counts, strangers=(len(part.categories),))


def _drift(name: str, part: NumericShape, counts: tuple[tuple[int, ...], tuple[int, ...]]) -> FeatureDrift:
    tenths = [part.edges[place] for place in part.tenths] if part.tenths is not None else list(part.edges)
    bounds = [f"{edge:.4g}" for edge in tenths]
    names = [f"≤ {bounds[0]}", *(f"≤ {each}" for each in bounds[1:]), f"> {bounds[-1]}"] if bounds else ["any"]
    by_tenths = (part.by_tenths(counts[0]), part.by_tenths(counts[1]))
    return _measured(name, tuple(names), by_tenths, strangers=(0, len(names) - 1) if bounds else ())


def _measured(
    name: str, names: tuple[str, ...], counts: tuple[tuple[int, ...], tuple[int, ...]], strangers: tuple[int, ...]
) -> FeatureDrift:
    """Return what is said of counts. counts: of the reference and now, the last of each that of nulls."""
    values = [np.asarray(each[:-1], dtype=np.float64) for each in counts]
    index = psi_interval(*values) if all(each.sum() for each in values) else None
    shares = [(each + 0.5) / (each + 0.5).sum() for each in values]
    adds = (shares[1] - shares[0]) * np.log(shares[1] / shares[0])
    plain = [each / max(1.0, each.sum()) for each in values]
    lines = tuple(Bin(each, *map(float, figures)) for each, *figures in zip(names, *plain, adds, strict=True))
    outside = [float(each[list(strangers)].sum()) for each in plain]
    return FeatureDrift(
        name=name,
        index=index,
        band=None if index is None else index.band,
        bins=lines if index is not None else (),
        rows=sum(counts[1]),
        nulls=(counts[0][-1] / max(1, sum(counts[0])), counts[1][-1] / max(1, sum(counts[1]))),
        strangers=(outside[0], outside[1]),
        constant=bool((values[1] > 0).sum() == 1 < (values[0] > 0).sum()),
    )


def _arrived(arrivals: pl.DataFrame) -> tuple[Arrived, ...]:
    totals = arrivals.group_by("source").agg(pl.col("rows").sum(), pl.col("duplicates").sum()).sort("source")
    return tuple(Arrived(*row) for row in totals.select("source", "rows", "duplicates").iter_rows())


def _quality(model: Model, labelled: pl.DataFrame) -> tuple[SliceQuality, ...]:
    labels, scores = labelled["_label"].to_numpy(), labelled["score"].to_numpy()
    days = labelled["_at_us"].to_numpy() // DAY_US
    found: list[SliceQuality] = []
    for metric in model.metrics:
        try:
            found.append(SliceQuality("", "", metric, estimate(metric, labels, scores, days)))
        except MetricUndefined:
            continue
        for field in model.slices:
            of_values = estimate_slices(metric, labels, scores, labelled[f"request.{field}"], days)
            found += [SliceQuality(field, value, metric, each) for value, each in of_values.items()]
    return tuple(found)
