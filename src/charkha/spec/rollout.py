"""How a version comes to serve: stages in a row, written `ck.shadow("2d") >> ck.canary(0.05, 0.25) >> ck.compare(…)`.

shadow    scores every request unseen, on which it is compared with the champion
canary    answers a small share, step by step, under guardrails
compare   decides: on the shadow's scores, or as an A/B test on what each version answered
approval  a person agrees before the version is promoted
"""

from typing import Literal, overload

from attrs import evolve, field, frozen

# What an A/B test does without being told otherwise.
SHARE, MDE, POWER = 0.5, 0.02, 0.8


@frozen
class Shadow:
    """A stage: the challenger answers every request unseen, for `period` and until `min_labels` labels have come.

    Where a canary or an A/B test follows, labels are not waited for: `period` and a few hundred requests are enough.
    max_failures: of the calls that are asked of it, the share it may leave without a score. max_slowdown: of its own
    time it may spend this many times the champion's 95th percentile of a whole call, on more than a twentieth of the
    calls not. max_disagreement: the share of requests on which the decisions may differ; any unless given.
    max_feature_change: of requests, on how large a share a feature may differ that both were served under one name.
    """

    period: str
    min_labels: int = 200
    max_failures: float = field(default=0.01, kw_only=True)
    max_slowdown: float = field(default=2.0, kw_only=True)
    max_disagreement: float | None = field(default=None, kw_only=True)
    max_feature_change: float = field(default=0.05, kw_only=True)

    @overload
    def __rshift__(self, then: "Compare") -> "Rollout": ...
    @overload
    def __rshift__(self, then: "Canary") -> "Beginning": ...
    def __rshift__(self, then: "Compare | Canary") -> "Rollout | Beginning":
        return Rollout(self, then) if isinstance(then, Compare) else Beginning(self, then)


@frozen
class Canary:
    """A stage: the challenger answers a share of the entities, then a larger one, each step under guardrails.

    shares: of each step, ascending. period: each step lasts at least so long. min_requests: and until the challenger
    has answered so many. Guardrails compare it with the champion's answers of the same time: max_failures, of its
    requests, the factor by which it may fail more often; max_slowdown, as of a shadow; max_decision_change: the factor
    by which its rate of positive decisions may differ; max_score_shift: the largest distance, 0 to 1, of the
    distributions of the scores. Its loss may not be worse, on all and in each declared slice.
    """

    shares: tuple[float, ...]
    period: str = "1d"
    min_requests: int = 200
    max_failures: float = field(default=1.5, kw_only=True)
    max_slowdown: float = field(default=2.0, kw_only=True)
    max_decision_change: float = field(default=2.0, kw_only=True)
    max_score_shift: float = field(default=0.5, kw_only=True)

    def __rshift__(self, then: "Compare") -> "Rollout":
        return Rollout(None, then, self)


@frozen
class Compare:
    """The decision: champion and challenger are compared by a mean over single rows, on matured labels.

    metric: what decides: a loss of the score (log_loss, brier, absolute_error, squared_error), `cost`, which is what
    the decision as served cost by the model's `ck.Costs`, or in an A/B test a business metric of the model.
    confidence: of the interval of the difference. Promotion needs the whole interval on the better side.
    On a shadow, both score the same requests, and one look decides. As an A/B test, after a canary or with a `share`,
    each answers its own entities, and every look may decide:
    mde: the least difference that is to be found, as a share of the champion's mean. share: of the entities the
    challenger answers. alpha: how often, at most, versions that are equal end otherwise than unclear; of all the live
    stages together. power: how often a difference of `mde` is found within the planned sample. within: the longest
    that it is tried. unclear: what becomes of a difference that is not found: the champion stays, or a person is asked.
    """

    metric: str
    confidence: float = 0.95
    mde: float | None = field(default=None, kw_only=True)
    share: float | None = field(default=None, kw_only=True)
    alpha: float | None = field(default=None, kw_only=True)
    power: float | None = field(default=None, kw_only=True)
    within: str = field(default="28d", kw_only=True)
    unclear: Literal["keep", "ask"] = field(default="keep", kw_only=True)


@frozen
class Approval:
    """A person has to agree before a version is promoted. two_persons: another than trained it or started it."""

    two_persons: bool = True


@frozen
class Beginning:
    """Stages that no comparison follows yet; not a rollout."""

    shadow: Shadow
    canary: Canary

    def __rshift__(self, then: Compare) -> "Rollout":
        return Rollout(self.shadow, then, self.canary)


@frozen
class Rollout:
    """The stages of a rollout. `shadow` is None where a version is shown to users at once."""

    unseen: Shadow | None
    compare: Compare
    canary: Canary | None = None
    approval: Approval | None = None

    def __rshift__(self, then: Approval) -> "Rollout":
        return evolve(self, approval=then)

    @property
    def shadow(self) -> Shadow:
        """The shadow stage; that of a default where none was declared, for what else rests on its figures."""
        return self.unseen or Shadow("7d")

    @property
    def live(self) -> bool:
        """Whether the challenger answers users before it is compared: an A/B test, not a comparison on the shadow."""
        return self.canary is not None or self.compare.share is not None or self.unseen is None

    @property
    def guardrails(self) -> Canary:
        """What guards the live stages; the defaults where no canary was declared."""
        return self.canary or Canary(())

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each live stage: the steps of the canary, then the A/B test."""
        return (*self.guardrails.shares, self.share)

    @property
    def share(self) -> float:
        """The challenger's share in the A/B test."""
        return SHARE if self.compare.share is None else self.compare.share

    @property
    def mde(self) -> float:
        """The least difference that the A/B test is to find, as a share of the champion's mean."""
        return MDE if self.compare.mde is None else self.compare.mde

    @property
    def alpha(self) -> float:
        """How often, at most, the live stages of equal versions end otherwise than unclear."""
        return 1 - self.compare.confidence if self.compare.alpha is None else self.compare.alpha

    @property
    def power(self) -> float:
        """How often a difference of `mde` is found within the planned sample."""
        return POWER if self.compare.power is None else self.compare.power


def shadow(
    period: str,
    *,
    min_labels: int = 200,
    max_failures: float = 0.01,
    max_slowdown: float = 2.0,
    max_disagreement: float | None = None,
    max_feature_change: float = 0.05,
) -> Shadow:
    """Stage: serve unseen beside the champion for at least `period`, until `min_labels` labels have matured.

    The limits stop it there; see `Shadow`.
    """
    return Shadow(
        period,
        min_labels,
        max_failures=max_failures,
        max_slowdown=max_slowdown,
        max_disagreement=max_disagreement,
        max_feature_change=max_feature_change,
    )


def canary(
    *shares: float,
    period: str = "1d",
    min_requests: int = 200,
    max_failures: float = 1.5,
    max_slowdown: float = 2.0,
    max_decision_change: float = 2.0,
    max_score_shift: float = 0.5,
) -> Canary:
    """Stage: answer a share of the entities, then a larger one, each for at least `period`, under guardrails.

    They are tested at every look against the champion's answers of the same time; see `Canary`.
    """
    return Canary(
        shares,
        period,
        min_requests,
        max_failures=max_failures,
        max_slowdown=max_slowdown,
        max_decision_change=max_decision_change,
        max_score_shift=max_score_shift,
    )


def compare(
    metric: str,
    *,
    confidence: float = 0.95,
    mde: float | None = None,
    share: float | None = None,
    alpha: float | None = None,
    power: float | None = None,
    within: str = "28d",
    unclear: Literal["keep", "ask"] = "keep",
) -> Compare:
    """Stage: promote when significantly better on matured labels, else reject: on the shadow, or as an A/B test.

    An A/B test it is after a canary, or with a `share`; see `Compare`.
    """
    return Compare(metric, confidence, mde=mde, share=share, alpha=alpha, power=power, within=within, unclear=unclear)


def approval(*, two_persons: bool = True) -> Approval:
    """Stage: a person agrees before the version is promoted; another than who trained it or started its rollout."""
    return Approval(two_persons)
