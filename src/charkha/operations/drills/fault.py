"""A fault: one incident that is put into traffic."""

from attrs import field, frozen, validators

from charkha.monitoring.performance import Span


class BadFault(ValueError):
    """A fault that cannot be put into the traffic it was given; the message says what to choose instead."""

    def __init__(self, fault: "Fault", expected: str, found: str, remedy: str) -> None:
        self.fault, self.expected, self.found = fault, expected, found
        super().__init__(f"fault {fault.kind!r}: expected {expected}, got {found}. {remedy}")


@frozen
class Fault:
    """One incident.

    kind: of the catalogue, or declared by the project. since_us, until_us: from when on, and until when (µs; the end is
    outside; None: to the end of the traffic). subject: what is hit, as its kind says: a feature
    ("weather.temp"), a view, a source or a field of it ("flights.arr_delay"), a field of the request
    ("request.carrier"), a segment ("carrier=UA"), a replica. size: how strong, in the kind's own unit; the kind's
    default unless given. seed: of whatever is left to chance.
    """

    kind: str
    since_us: int
    until_us: int | None = None
    subject: str | None = None
    size: float | None = None
    seed: int = field(default=0, validator=validators.ge(0))

    def within(self, span: Span) -> Span:
        """Return when it holds in traffic of a span."""
        until_us = span.until_us if self.until_us is None else min(self.until_us, span.until_us)
        return Span(max(self.since_us, span.since_us), until_us)
