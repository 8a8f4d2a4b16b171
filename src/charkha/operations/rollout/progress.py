"""How far a rollout is: what was measured of the version on its way, as one frozen value for the rules."""

from attrs import frozen

from charkha.operations.rollout.features import FeatureChanges
from charkha.operations.rollout.live import Live
from charkha.operations.rollout.plan import Plan
from charkha.operations.rollout.trial import Trial
from charkha.operations.rollout.unseen import Unseen
from charkha.operations.rollout.usual import Usual


@frozen
class Exposure:
    """A challenger that answers users, and what both arms showed since it has its share."""

    trial: Trial
    live: Live


@frozen(kw_only=True)
class Progress:
    """A rollout under way, or about to begin.

    trial: the version on its way; None while there is none. unseen: of a shadow. live: of a challenger that answers.
    usual: what the champion shows of what is compared, where an A/B test is to be planned. plan: what that would need
    by what the champion shows now; None where nothing can be planned by it. changes: of the features of a shadow that
    would leave it; None where that was not measured.
    """

    trial: Trial | None = None
    unseen: Unseen | None = None
    live: Live | None = None
    plan: Plan | None = None
    usual: Usual | None = None
    changes: FeatureChanges | None = None

    @property
    def exposure(self) -> Exposure | None:
        """The challenger that answers users, with what was measured; None where there is none."""
        return Exposure(self.trial, self.live) if self.trial and self.live else None
