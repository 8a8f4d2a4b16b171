"""What the ledger holds, as frozen values. All times are µs since 1970 UTC."""

from collections.abc import Mapping
from typing import Literal

from attrs import frozen

Role = Literal["champion", "challenger", "shadow"]
VersionStatus = Literal["candidate", "rejected", "accepted"]
RunStatus = Literal["running", "done", "failed", "cancelled"]
IncidentStatus = Literal["open", "closed", "merged"]
KeyRole = Literal["predict", "ingest", "label", "operate", "admin"]


@frozen
class Assignment:
    """One version of a model at work.

    role: champions and challengers answer; shadows score what is answered by others, and are not heard.
    share: of the requests it answers, 0 to 1; a shadow sees them all.
    """

    version: str
    role: Role
    share: float = 1.0


@frozen
class Deployment:
    """What serves a model from one generation to the next; generation 0 without assignments: never deployed."""

    model: str
    generation: int
    assignments: tuple[Assignment, ...]
    since_us: int

    @property
    def champion(self) -> Assignment | None:
        """The champion, if there is one."""
        return next((assignment for assignment in self.assignments if assignment.role == "champion"), None)

    @property
    def shadows(self) -> tuple[Assignment, ...]:
        """Those that score unseen."""
        return tuple(assignment for assignment in self.assignments if assignment.role == "shadow")

    @property
    def serving(self) -> tuple[Assignment, ...]:
        """Those that answer: champion and challengers."""
        return tuple(assignment for assignment in self.assignments if assignment.role != "shadow")


@frozen
class Draft:
    """A decision to be written.

    key: identifies it for ever; a second decision of the same key is the first one again.
    evidence: what it rests on, as JSON; a number that is not finite is recorded as null.
    """

    key: str
    time_us: int
    model: str
    actor: str
    action: str
    reason: str
    evidence: Mapping[str, object]


@frozen
class Decision:
    """One row of the chain; `generation` is that of the deployment it made, if it made one.

    assignments: of that deployment; None where it made none, or was written before the chain covered them.
    """

    key: str
    time_us: int
    model: str
    actor: str
    action: str
    reason: str
    evidence: Mapping[str, object]
    sequence: int
    generation: int | None
    previous_hash: str
    hash: str
    assignments: tuple[Assignment, ...] | None = None


@frozen
class VersionRow:
    """One version of a model.

    digest: of its bundle. fingerprint: of the dataset it learnt from. run_key: of the training that made it.
    tracking: where the tracker keeps it, such as its run id and registered version.
    """

    model: str
    version: str
    created_us: int
    digest: str
    fingerprint: str
    run_key: str
    tracking: Mapping[str, str]
    status: VersionStatus


@frozen
class Run:
    """One piece of long work that must be done once, such as a training.

    result: what came of it; while it runs, what was noted of how far it is.
    """

    key: str
    kind: str
    model: str
    started_us: int
    finished_us: int | None
    status: RunStatus
    result: Mapping[str, object]


@frozen
class ApiKey:
    """One key of a client, without its secret.

    id: the part of the key that may be shown. digest: SHA-256 of the secret, in hex. roles: what the key may do; admin
    may everything. expires_us, revoked_us: from when on it opens nothing; None for never.
    rate: calls a second over all workers, None for any number.
    """

    id: str
    name: str
    roles: tuple[KeyRole, ...]
    digest: str
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
    rate: float | None = None

    def is_usable(self, now_us: int) -> bool:
        """Say whether the key opens anything at a time."""
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


@frozen(kw_only=True)
class Incident:
    """One thing that went wrong with a model, from when it was found until it is over.

    number: of the model's incidents, from 1 up. culprit: in words. began_us: since when, most likely. opened_us: when
    it was found. looked_us: of the newest look that said so or not; seen_us: up to when there was evidence of it.
    closed_by: who closed it; None for an evidence that ended. merged_into: the number of the one it turned out to be.
    diagnosis: the newest, as a document.
    """

    model: str
    number: int
    status: IncidentStatus
    cause: str
    culprit: str
    began_us: int
    opened_us: int
    looked_us: int
    seen_us: int
    closed_us: int | None = None
    closed_by: str | None = None
    merged_into: int | None = None
    diagnosis: Mapping[str, object]

    @property
    def id(self) -> str:
        """Its name, such as "late_arrival-3"."""
        return f"{self.model}-{self.number}"


@frozen
class Revision:
    """An incident as it is to be, and the decision that made it so; None for one that needs none: more evidence."""

    incident: Incident
    draft: Draft | None = None
