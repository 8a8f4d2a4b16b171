"""The manifest of a bundle: everything about a model version except its weights, as one JSON document."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, cast

import attrs
import msgspec

from charkha.bundles.calibration import Calibration
from charkha.bundles.encoding import FeatureSchema
from charkha.bundles.profile import Profile, ProfileShape
from charkha.features.expressions import expression_to_json
from charkha.spec.model import Estimator, Task
from charkha.spec.policies import Fallback
from charkha.spec.rules import Rule

FORMAT = 1
RULES_FORMAT = 2  # of bundles with rules in shadow or by the score: who knows neither would let them decide, or fail


class Estimate(msgspec.Struct, frozen=True):
    """A value measured on `n` rows, and its confidence interval from `low` to `high`; all finite."""

    value: float
    low: float
    high: float
    n: int


class GateResult(msgspec.Struct, frozen=True):
    """What one gate said. `value`: what was measured, None when there was nothing to compare with."""

    name: str
    passed: bool
    value: Estimate | None
    target: float | None
    reason: str


class RuleSpec(msgspec.Struct, frozen=True):
    """A rule as it travels: `when_json` is its expression, written by `features.expressions`.

    shadow: it is evaluated and logged, and decides nothing.
    """

    name: str
    when_json: str
    decide: bool
    reason: str = ""
    shadow: bool = False

    @classmethod
    def of(cls, rule: Rule) -> "RuleSpec":
        """Return a rule of a definition as it travels."""
        return cls(rule.name, expression_to_json(rule.when), rule.decide, rule.reason, rule.shadow)


class EstimatorSpec(msgspec.Struct, frozen=True):
    """Which estimator learnt, with which parameters."""

    kind: str
    parameters: dict[str, Any] = {}


class Measured(msgspec.Struct, frozen=True):
    """A runtime on the validation rows: µs for one row, and µs per row in batches of 64, both medians.

    furthest: the largest difference of its scores from the trainer's own; of scores above 1, as a share of them.
    """

    one_row_us: float
    batch_row_us: float
    furthest: float


class RuntimeChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What turns the estimator's state into scores, and why.

    rows: the validation rows on which runtimes were held to the trainer's own. measured: runtime → its figures; empty
    when it was not chosen but named. passed_over: runtime → why it was not measured or may not be chosen.
    """

    name: str
    rows: int
    measured: dict[str, Measured] = {}
    passed_over: dict[str, str] = {}


class PartSummary(msgspec.Struct, frozen=True):
    """One part of the split: its rows, the times of its first and last prediction in µs, its mean label."""

    rows: int
    from_us: int
    until_us: int
    mean_label: float


class RulesApplied(msgspec.Struct, frozen=True):
    """Where the rules of a version came from that was not trained: everything else in it is that of another version.

    version: that one. by: who applied them. definition_digest: of the definition whose rules they are.
    """

    version: str
    by: str
    definition_digest: str


class WindowLeftOut(msgspec.Struct, frozen=True):
    """A stretch of time (µs) that was not learnt from, since it is that of an incident; the end is outside.

    by_label: rows whose label became known then are left out too, not only those that were asked for then. rows: how
    many labelled rows it took; of those in two stretches the first counts.
    """

    incident: str
    cause: str
    since_us: int
    until_us: int
    by_label: bool = False
    rows: int = 0


class Updated(msgspec.Struct, frozen=True):
    """What a version went on from, and with: `rows` rows that were asked for from `from_us` to `until_us` (µs)."""

    version: str
    rows: int
    from_us: int
    until_us: int


class SetAside(msgspec.Struct, frozen=True):
    """What of a source was not read, since it was in quarantine: pushed batches and their rows, and files."""

    batches: int = 0
    rows: int = 0
    files: int = 0


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to make the same model again.

    fingerprint: of the dataset. definition_digest: of the user's definition. versions: library → version.
    source_rows: source → rows read. left_out: labelled rows that were not learnt from, since features could have seen
    their truth. windows_left_out: the time of incidents, of which nothing was learnt. set_aside: source → what of it
    was in quarantine. without: the views of the definition that it was made without. recalibrated: the version of which
    it is another calibration. updated: of which version it goes on, and with what. learnt_until_us: when the newest row
    was asked for that it learnt from (µs), where that is not the last of its training part. rules_applied: of a version
    that is another one with other rules; None of one that was trained.
    """

    fingerprint: str
    rows: int
    definition_digest: str
    as_of_us: int
    seed: int
    versions: dict[str, str]
    source_rows: dict[str, int]
    left_out: int = 0
    windows_left_out: tuple[WindowLeftOut, ...] = ()
    set_aside: dict[str, SetAside] = {}
    without: tuple[str, ...] = ()
    recalibrated: str | None = None
    updated: Updated | None = None
    learnt_until_us: int | None = None
    rules_applied: RulesApplied | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A model version, without its weights.

    created_us: when it was trained, by the clock. as_of_us: what was known then is what it learnt from.
    plan_json: `FeaturePlan.to_json()`. threshold: scores from it on decide True; None for regression.
    costs: outcome → cost, from which the threshold was chosen.
    metrics: part ("validation", "test", …) → metric → estimate; the first metric is the primary.
    slices: request field → its value → metric → estimate, on the test rows.
    fallback: what was declared to answer in its place, for the card; servers go by the definition as they read it.
    runtime: None in bundles that were made before it was chosen.
    parts: "train", "validation", "test" → what they hold.
    reference: the profile of the rows that later ones are compared with, in the bins of `shape`.
    positive_share: the mean label of the training rows; the answer of the trivial model.
    """

    model: str
    version: str
    task: Task
    created_us: int
    as_of_us: int
    estimator: EstimatorSpec
    runtime: RuntimeChoice | None = None
    plan_json: str
    schema: FeatureSchema
    calibration: Calibration | None = None
    threshold: float | None = None
    costs: dict[str, float] = {}
    rules: tuple[RuleSpec, ...] = ()
    fallback: Fallback | None = None
    metrics: dict[str, dict[str, Estimate]] = {}
    slices: dict[str, dict[str, dict[str, Estimate]]] = {}
    gates: tuple[GateResult, ...] = ()
    parts: dict[str, PartSummary] = {}
    reference: Profile
    shape: ProfileShape
    lineage: Lineage
    purpose: str
    owner: str
    positive_share: float
    format: int = FORMAT

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates)


def format_with(rules: Iterable[Rule]) -> int:
    """Return the format of a bundle with such rules: the oldest whose readers know them."""
    return FORMAT if all(rule.stands_alone for rule in rules) else RULES_FORMAT


def parameters_of(estimator: Estimator) -> dict[str, Any]:
    """Return the declared parameters of an estimator (an attrs class), as `EstimatorSpec` takes them."""
    return attrs.asdict(cast(attrs.AttrsInstance, estimator))


class ManifestError(ValueError):
    """A manifest that cannot be written or read; the message says which value, what was expected and what came."""


class _Head(msgspec.Struct):
    format: int


def manifest_to_json(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON. Raises ManifestError for numbers that are not finite, naming all."""
    plain = msgspec.to_builtins(manifest)
    lost = list(_not_finite(plain, "$"))
    if lost:
        raise ManifestError(f"expected finite numbers, got {', '.join(lost)}. Leave out what cannot be estimated.")
    return msgspec.json.format(msgspec.json.encode(plain), indent=1)


def manifest_from_json(text: bytes) -> Manifest:
    """Return the manifest of JSON text. Raises ManifestError, also for a format newer than this installation's."""
    try:
        found = msgspec.json.decode(text, type=_Head).format
        if found > RULES_FORMAT:
            raise ManifestError(f"expected a manifest of format {RULES_FORMAT} or older, got {found}. Upgrade Charkha.")
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise ManifestError(f"expected the manifest of a bundle: {error}") from None


def _not_finite(value: object, place: str) -> Iterator[str]:
    """Yield the place and value of every NaN and infinity: JSON has neither, and would keep null."""
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{value} at {place}"
    elif isinstance(value, dict):
        for name, below in value.items():
            yield from _not_finite(below, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for position, below in enumerate(value):
            yield from _not_finite(below, f"{place}[{position}]")
