"""Faults of the incidents that a project declares for drills."""

from collections.abc import Iterator, Sequence

from charkha.spec.checks.values import listing, quote
from charkha.spec.drills import CAUSES, DeclaredIncident
from charkha.spec.durations import parse_duration
from charkha.spec.faults import Fault


def incident_faults(declared: Sequence[DeclaredIncident]) -> Iterator[Fault]:
    """Yield what is wrong with incidents, each by itself and all together."""
    names = [each.name for each in declared]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Fault(f"incident {name!r}", "one under this name", f"{names.count(name)}", "Rename all but one.")
    for each in declared:
        where = f"incident {each.name!r}"
        if each.cause not in CAUSES:
            yield Fault(f"{where}, cause", f"one of {listing(CAUSES)}", quote(each.cause), 'Write cause="source", say.')
        if each.rows < 1:
            yield Fault(f"{where}, rows", "a whole number from 1", quote(each.rows), "Write rows=200, say.")
        try:
            parse_duration(each.within)
        except ValueError as error:
            yield Fault(f"{where}, within", "a duration", quote(each.within), f'Write within="2h", say: {error}')
