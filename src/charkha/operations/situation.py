"""All that a decision about one model rests on, as one frozen value: made by `look`, read by `decide`."""

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from charkha.bundles.manifest import Estimate, GateResult
from charkha.monitoring.findings import Finding
from charkha.monitoring.performance import Contest, Performance
from charkha.monitoring.skew_watch import SkewMeasure
from charkha.operations.approvals import Proposal
from charkha.operations.retraining.learnt import Learnt
from charkha.operations.retraining.past import PastTraining
from charkha.operations.rollout.progress import Progress
from charkha.operations.steps import Evidence
from charkha.storage.ledger import Decision, Deployment, Incident


@frozen(kw_only=True)
class Training:
    """The last training that the operator decided on.

    state: "decided" when its run has not even begun, which only a crash leaves behind.
    error: why it failed; noted: whether the ledger says so.
    tries: how many have begun or are due. not_before_us: when the next try is. cancelled: why, if it was.
    under_way: it is at work in a process of its own, or in somebody else's.
    """

    run_key: str
    first: bool
    decided_us: int
    reason: str
    evidence: Evidence
    state: Literal["decided", "running", "done", "failed", "cancelled"]
    error: str = ""
    noted: bool = False
    tries: int = 1
    not_before_us: int = 0
    cancelled: str | None = None
    under_way: bool = False


@frozen(kw_only=True)
class Waiting:
    """A trained version that is not deployed and about which nothing has been decided."""

    version: str
    passed: bool
    gates: tuple[GateResult, ...]


@frozen
class Unreadable:
    """A trained version whose bundle is lost or damaged. problem: in words."""

    version: str
    problem: str


@frozen
class Variant:
    """A version without some views. run_key: of the training that made it. passed: whether it passed its gates."""

    version: str
    run_key: str
    passed: bool


@frozen(kw_only=True)
class Situation:
    """What is, at `now_us` (µs since 1970 UTC).

    deployment: who serves. since_us: from when the present champion and shadow have been side by side.
    versions: every version ever trained, oldest first. waiting: those whose fate is open, oldest first.
    training: the operator's last one. trainings: how many it has decided on. last_trained_us: when any last began.
    updates, last_updated_us: the same of updates, which are no trainings. learnt: how far the champion has; None where
        the model declares no updates, or has no champion.
    reference: what the champion showed on its test rows, in the primary metric.
    health: what it shows now, on the matured labels of the monitors' window.
    contest: champion against shadow on the same matured labels, since they are side by side.
    skew: how a sample of what the shadow scored compares with its recomputation; None when that was not measured.
    findings: what the monitors measured.
    incidents: all that the diagnosis ever found, oldest first. held: keys of the decisions that a training waits.
    proposals: what was proposed to persons, by its key, with their answers. progress: of the rollout; None without a
        champion.
    past: all trainings, in the order of their beginning. new_labels: how many labels became known since the last one;
        None where the model does not ask. written: all decisions of the model, key → time (µs).
    champion_views: those that the champion reads. former: the champion one could roll back to.
    killed: the decision by which the model is on its fallback, if it is. mends: the remedies that end with an incident.
    variants: versions without some views, which stand in for the champion and are no challengers.
    unreadable: versions that would wait, if their bundles could be read. views_beside: version that serves beside the
        champion → the views that it reads.
    """

    now_us: int
    deployment: Deployment
    since_us: int = 0
    versions: tuple[str, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    training: Training | None = None
    trainings: int = 0
    last_trained_us: int | None = None
    updates: int = 0
    last_updated_us: int | None = None
    learnt: Learnt | None = None
    reference: Estimate | None = None
    health: Performance | None = None
    contest: Contest | None = None
    skew: SkewMeasure | None = None
    findings: tuple[Finding, ...] = ()
    incidents: tuple[Incident, ...] = ()
    held: frozenset[str] = frozenset()
    proposals: Mapping[str, Proposal] = field(factory=dict)
    progress: Progress | None = None
    past: tuple[PastTraining, ...] = ()
    new_labels: int | None = None
    written: Mapping[str, int] = field(factory=dict)
    champion_views: frozenset[str] = frozenset()
    former: str | None = None
    killed: Decision | None = None
    mends: tuple[Decision, ...] = ()
    variants: tuple[Variant, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    views_beside: Mapping[str, frozenset[str]] = field(factory=dict)

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """The incidents that last, oldest first."""
        return tuple(each for each in self.incidents if each.status == "open")
