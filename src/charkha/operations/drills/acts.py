"""One stretch of traffic, played again with an incident in it: what looking every hour would have found."""

from attrs import evolve, field, frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.operations.drills.catalogue import inject
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.seen import first_seen
from charkha.spec.durations import HOUR_US


class NoBundles(Exception):
    """A case without the bundles that served it: rows that an incident changes cannot be scored anew."""

    def __init__(self, model: str) -> None:
        self.model = model
        super().__init__(
            f"model {model!r}: expected the bundles of all versions that served, and not all of them are in the home. "
            "Put incidents into traffic in the home where it was served"
        )


@frozen(kw_only=True)
class Act:
    """One incident of the catalogue, and what happens in it, as one tells it. name: of its page, in one word."""

    name: str
    words: str
    kind: str
    subject: str
    size: float | None = None


@frozen(kw_only=True, eq=False)
class Played:
    """What became of an act. case: with the incident in it, as it was at the look that found it.

    found: what that look said, or the last one if none found anything. since_us: when the incident began.
    """

    act: Act
    case: Case = field(repr=False)
    found: Diagnosis
    since_us: int

    @property
    def hours(self) -> float | None:
        """How many hours after its beginning the incident was found; None where it was not."""
        return (self.case.watched.until_us - self.since_us) / HOUR_US if self.found.is_incident else None


def played(case: Case, act: Act, since_us: int) -> Played:
    """Put an incident into a case that was healthy, from `since_us` on (µs), and look every hour until it is found.

    Raises NoBundles, and BadFault for an incident that this traffic cannot have.
    """
    if case.rescore is None:
        raise NoBundles(case.traffic.model)
    fault = Fault(act.kind, since_us, subject=act.subject, size=act.size)
    bent = evolve(case, traffic=inject(case.traffic, fault, case.rescore))
    seen = first_seen(bent, since_us)
    if seen is None:
        return Played(act=act, case=bent, found=diagnose(bent), since_us=since_us)
    then = evolve(bent, watched=evolve(bent.watched, until_us=seen.at_us))
    return Played(act=act, case=then, found=seen.diagnosis, since_us=since_us)
