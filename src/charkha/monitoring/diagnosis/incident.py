"""What a diagnosis says: the cause, the culprit, since when, the evidence for it and against its rivals, what to do."""

from collections.abc import Iterator, Mapping
from math import exp
from typing import Literal

from attrs import field, frozen

from charkha.monitoring.diagnosis.performance_estimate import PerformanceEstimate
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span

# The causes of `spec.drills.Cause`, and that of a model which is worse and nobody can say why.
DiagnosedCause = Literal[
    "infrastructure", "skew", "source", "label", "concept", "prior", "population", "benign", "unknown"
]
Action = Literal[
    "page_source_owner",
    "serve_fallback",
    "quarantine_feature",
    "recalibrate",
    "retrain",
    "roll_back",
    "eject_replica",
    "mend_serving",
    "mend_labels",
    "collect_labels",
    "none",
]
# What may be done about each cause. What learns from the data is never done where they are, or may be, at fault.
ALLOWED: Mapping[DiagnosedCause, tuple[Action, ...]] = {
    "infrastructure": ("mend_serving", "eject_replica", "roll_back", "serve_fallback"),
    "skew": ("mend_serving", "quarantine_feature", "roll_back", "serve_fallback"),
    "source": ("page_source_owner", "quarantine_feature", "serve_fallback"),
    "label": ("mend_labels",),
    "concept": ("retrain", "roll_back", "serve_fallback", "collect_labels"),
    "prior": ("recalibrate",),
    "population": ("retrain", "collect_labels", "serve_fallback"),
    "benign": ("none",),
    "unknown": ("serve_fallback", "roll_back", "collect_labels", "none"),
}


class WrongRemedy(ValueError):
    """An action that cannot be the remedy of a cause, such as learning from data that are at fault."""

    def __init__(self, cause: DiagnosedCause | None, action: Action) -> None:
        self.cause, self.action = cause, action
        allowed = ", ".join(ALLOWED[cause]) if cause else "none"
        super().__init__(f"a remedy of {cause or 'nothing'}: expected one of {allowed}; got {action}")


def _names(value: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@frozen(kw_only=True)
class Culprit:
    """Who is at fault, as far as it is one of these; names of each kind, the likeliest first.

    features: full names. segments: such as "carrier=UA". Without any name it is the model as a whole.
    """

    sources: tuple[str, ...] = field(default=(), converter=_names)
    features: tuple[str, ...] = field(default=(), converter=_names)
    segments: tuple[str, ...] = field(default=(), converter=_names)
    replicas: tuple[str, ...] = field(default=(), converter=_names)
    versions: tuple[str, ...] = field(default=(), converter=_names)

    def named(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what there are names of, and these, in the order above."""
        for kind in ("sources", "features", "segments", "replicas", "versions"):
            if names := getattr(self, kind):
                yield kind, names

    @property
    def words(self) -> str:
        """The names as a person says them, such as "source weather, feature conditions.temp"."""
        return ", ".join(_listed(kind, names) for kind, names in self.named()) or "the model as a whole"

    def meets(self, other: "Culprit") -> bool:
        """Say whether both may be one: they share a name, and no kind is named by both without a common one.

        Features are left out of the second: a source at fault shows in more of them as time goes on.
        """
        mine, theirs = dict(self.named()), dict(other.named())
        if not mine or not theirs:
            return mine == theirs
        common = {kind for kind in mine.keys() & theirs.keys() if set(mine[kind]) & set(theirs[kind])}
        return bool(common) and (mine.keys() & theirs.keys()) - common <= {"features"}


def _listed(kind: str, names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{kind.removesuffix('s') if len(names) == 1 else kind} {shown}"


@frozen(kw_only=True)
class Hypothesis:
    """One explanation that was considered.

    kind: the same in words, such as "unit change of weather.temp, × 60". support: the natural logarithm of its weight
    against the others, whose differences are log odds. against: why it is ruled out; "" for one that stands as well,
    as a second fault at the same time does.
    """

    cause: DiagnosedCause
    kind: str
    culprit: Culprit = Culprit()
    support: float = 0.0
    evidence: tuple[Signal, ...] = ()
    against: str = ""


@frozen(kw_only=True)
class Remedy:
    """What to do: one sentence for a person, and one word for a machine."""

    action: Action = "none"
    words: str = "Nothing to do."


@frozen(kw_only=True)
class Loss:
    """What it costs, measured or estimated: the mean of a loss for each prediction.

    metric: of the loss, such as "log_loss". usual, now: in the healthy history, and since it began. rows: how many
    predictions were hit. estimated: without their labels. money: in all, in the unit of the model's costs; None where
    the model declares none.
    """

    metric: str
    usual: float
    now: float
    rows: int
    estimated: bool = False
    money: float | None = None


@frozen(kw_only=True)
class Diagnosis:
    """What was found of one model in one look. All times in µs since 1970 UTC.

    watched, healthy: what was looked at, and beside what. cause: None where nothing is wrong; "benign" for a shift
    that harms nobody. kind: in words, as of `Hypothesis`. began_us: since when, most likely; earliest_us, latest_us:
    its 95 % interval. until_us: when it was over; None while it lasts. evidence: what was found of it, the strongest
    first. rivals: the other hypotheses, each with what rules it out, or nothing where it stands as well. share: of the
    traffic since it began that is hit, 0 to 1. changes: what was changed about when it began, of what may bring it
    about, each with its time. also: what stands beside it, a fault of its own each. loss: None where neither labels nor
    an estimate tell. before_labels: how well the model does over what was looked at; None where that cannot be told.
    margin: log odds to the next hypothesis.

    Raises WrongRemedy for an action that does not go with the cause.
    """

    model: str
    watched: Span
    healthy: Span
    cause: DiagnosedCause | None = None
    kind: str = "nothing is wrong"
    culprit: Culprit = Culprit()
    began_us: int | None = None
    earliest_us: int | None = None
    latest_us: int | None = None
    until_us: int | None = None
    evidence: tuple[Signal, ...] = ()
    rivals: tuple[Hypothesis, ...] = ()
    share: float = 0.0
    changes: tuple[str, ...] = ()
    loss: Loss | None = None
    before_labels: PerformanceEstimate | None = None
    remedy: Remedy = Remedy()
    margin: float = 0.0
    also: tuple["Diagnosis", ...] = ()

    def __attrs_post_init__(self) -> None:
        allowed = ALLOWED[self.cause] if self.cause else ("none",)
        if self.remedy.action not in allowed:
            raise WrongRemedy(self.cause, self.remedy.action)

    @property
    def is_incident(self) -> bool:
        """Whether somebody should know of it: something is wrong, and no benign shift."""
        return self.cause not in (None, "benign")

    @property
    def confidence(self) -> float:
        """How sure the cause is against the next hypothesis, 0.5 to 1: the odds of the margin."""
        return 1.0 / (1.0 + exp(-min(max(self.margin, 0.0), 700.0)))

    @property
    def headline(self) -> str:
        """The diagnosis in one sentence."""
        if self.cause is None:
            return "nothing is wrong"
        if self.cause == "unknown":
            return f"degraded, cause unknown: {self.kind}"
        return f"{'benign shift' if self.cause == 'benign' else self.cause}: {self.kind}"
