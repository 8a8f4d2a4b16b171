"""A case: what was served in a time that is looked at, beside a time that was healthy, and the model it is of."""

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from charkha.features.plan import FeaturePlan
from charkha.monitoring.kept import Kept
from charkha.monitoring.performance import Span
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.sequential.budget import Budget
from charkha.monitoring.traffic import Traffic
from charkha.spec.model import Task


@frozen(eq=False, kw_only=True)
class Case:
    """What a diagnosis is made of.

    traffic: of both spans. healthy: the model's own history, in which nothing was wrong, or the incidents were cut out.
    watched: what is looked at, after it; its end is now. task: of the model. features: which of the columns of
    predictions are features. registered: version → digest of the bundle that the registry holds; without a version
    nothing can be said of its artifact. rescore: scores by the registered bundles; None where they are not at hand.
    segments: fields of the request by which culprits are sought. kept: the profiles of this very traffic; None to make
    them of its rows, as of traffic that was bent. budget: of false alarms, over all checks.
    """

    traffic: Traffic = field(repr=False)
    healthy: Span
    watched: Span
    task: Task
    plan: FeaturePlan = field(repr=False)
    registered: Mapping[str, str] = field(factory=dict)
    rescore: Rescore | None = None
    segments: Sequence[str] = ()
    kept: Kept | None = field(default=None, repr=False)
    budget: Budget = field(factory=Budget)
