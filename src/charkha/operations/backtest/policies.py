"""The policies that can be backtested, and what each makes of a model's own: `ck.Retrain` with other triggers."""

from collections.abc import Mapping
from difflib import get_close_matches

from attrs import evolve, frozen

from charkha.spec.durations import parse_duration
from charkha.spec.model import ContinualEstimator, Model
from charkha.spec.policies import Retrain

EVERY = "every:"
DECAY = "decay:"
UPDATE = "update"
# Between two trainings of a schedule nothing else has to pass than its own time.
SOON = "1h"
FIXED: Mapping[str, str | None] = {"never": None, "daily": "1d", "weekly": "7d", "monthly": "30d"}
NAMES = (*FIXED, f"{EVERY}<duration>", UPDATE, f"{UPDATE}:<duration>", "on_fall", "on_diagnosis", "declared")


class UnknownPolicy(ValueError):
    """A policy or a window that cannot be read; says what can be."""


@frozen
class Policy:
    """When to retrain. retrain: for the operator's own rules. diagnosed: whether it looks for incidents."""

    name: str
    retrain: Retrain
    diagnosed: bool

    @property
    def fixed(self) -> bool:
        """Whether it follows the calendar alone."""
        return self.name in FIXED or self.name.startswith((EVERY, UPDATE))


@frozen
class Variant:
    """A policy with a window of training. model: as both make it. name: of both, where there are several windows."""

    policy: Policy
    window: str
    model: Model

    @property
    def name(self) -> str:
        """The policy and its window."""
        return f"{self.policy.name}, {self.window}"


def policy_of(name: str, model: Model) -> Policy:
    """Return a policy by name, with the model's own cooldown and limits. Raises UnknownPolicy."""
    own = model.retrain
    quiet = evolve(own, on_fall=False, on_diagnosis=False, every=None, new_labels=None, update=None)
    if name in FIXED:
        return Policy(name, _scheduled(quiet, FIXED[name]), diagnosed=False)
    if name.startswith(EVERY):
        return Policy(name, _scheduled(quiet, _duration(name, name.removeprefix(EVERY))), diagnosed=False)
    if name == UPDATE or name.startswith(f"{UPDATE}:"):
        return Policy(name, evolve(quiet, update=_period(name, model)), diagnosed=False)
    if name == "on_fall":
        return Policy(name, evolve(quiet, on_fall=True), diagnosed=False)
    if name == "on_diagnosis":
        return Policy(name, evolve(quiet, on_fall=True, on_diagnosis=True), diagnosed=True)
    if name == "declared":
        return Policy(name, own, diagnosed=True)
    near = get_close_matches(name, [*FIXED, UPDATE, "on_fall", "on_diagnosis", "declared"], 1)
    hint = f"Did you mean {near[0]}?" if near else "every:14d retrains every two weeks."
    raise UnknownPolicy(f"expected a policy ({', '.join(NAMES)}), got {name!r}. {hint}")


def windowed(retrain: Retrain, window: str) -> Retrain:
    """Return a policy that trains on a window: "all", a length such as "90d", or a half-life such as "decay:90d".

    Raises UnknownPolicy.
    """
    if window == "all":
        return evolve(retrain, window=None, half_life=None)
    if window.startswith(DECAY):
        return evolve(retrain, window=None, half_life=_duration(window, window.removeprefix(DECAY)))
    return evolve(retrain, window=_duration(window, window), half_life=None)


def window_name(retrain: Retrain) -> str:
    """Return the window of a policy as `windowed` reads it; of both a length and a half-life, both."""
    length, decay = retrain.window, retrain.half_life and DECAY + retrain.half_life
    return " ".join(part for part in (length, decay) if part) or "all"


def variants_of(model: Model, policies: list[str], windows: list[str]) -> list[Variant]:
    """Return each policy with each window; with the model's own where none is given. Raises UnknownPolicy."""
    found = []
    for name in dict.fromkeys(policies):
        policy = policy_of(name, model)
        for window in dict.fromkeys(windows or [window_name(model.retrain)]):
            retrain = windowed(policy.retrain, window) if windows else policy.retrain
            found.append(Variant(policy, window, evolve(model, retrain=retrain)))
    return found


def _period(name: str, model: Model) -> str:
    """Return how often a policy updates: as it says, or as is declared, or daily."""
    if not isinstance(model.estimator, ContinualEstimator):
        kind = model.estimator.kind
        raise UnknownPolicy(
            f"expected an estimator that can go on learning for {name!r}, such as ck.OnlineLinear(), got {kind!r}"
        )
    return _duration(name, name.partition(":")[2]) if ":" in name else model.retrain.update or "1d"


def _scheduled(quiet: Retrain, every: str | None) -> Retrain:
    return evolve(quiet, every=every, cooldown=SOON) if every else quiet


def _duration(name: str, text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as error:
        raise UnknownPolicy(f"expected a duration in {name!r}: {error}. Write every:14d, 180d or decay:90d") from None
    return text
