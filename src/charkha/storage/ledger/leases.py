"""Leases: who leads, for how long unless it is renewed, and in which term; one row of the checkpoints each.

A term is never given twice. Whoever writes as a leader proves in the same transaction that no later term was given, so
that one which was stopped, and overtaken, changes nothing any more, however wrong its clock is.
"""

from attrs import asdict, evolve, frozen
from sqlalchemy import Connection

from charkha.storage.ledger.checkpoints import read_checkpoint, write_checkpoint
from charkha.storage.ledger.errors import LeaseLost
from charkha.storage.processes import Process

# The lease of who operates on a home.
LEASE = "operator-lease"


@frozen(kw_only=True)
class Lease:
    """Who leads, by the clock of who holds it (µs since 1970 UTC).

    term: how many have led until now. holder: an id of its own. process: of the holder. renewals: how often it was
    renewed; what does not grow is not alive. until_us: when it has lapsed.
    """

    term: int
    holder: str
    process: Process
    since_us: int
    renewals: int
    until_us: int


def read_lease(connection: Connection, name: str) -> Lease | None:
    """Return a lease, lapsed or not; None where nobody ever led."""
    found = read_checkpoint(connection, name)
    return None if found is None else Lease(**found | {"process": Process(**found["process"])})


def take_lease(connection: Connection, name: str, mine: Lease, dead: Lease | None) -> Lease:
    """Return the lease that holds: `mine` in the next term where the last has lapsed, else that of another.

    mine: from `since_us` to `until_us`; its term does not matter. dead: a lease that was seen not to be renewed, which
    is taken as it stands; in the write transaction.
    """
    last = read_lease(connection, name)
    if last is not None and last != dead and mine.since_us < last.until_us:
        return last
    taken = evolve(mine, term=1 if last is None else last.term + 1)
    write_checkpoint(connection, name, asdict(taken))
    return taken


def renew_lease(connection: Connection, name: str, mine: Lease, until_us: int) -> Lease:
    """Return a lease that lasts until then; in the write transaction. Raises LeaseLost."""
    check_term(connection, name, mine.term)
    renewed = evolve(mine, renewals=mine.renewals + 1, until_us=until_us)
    write_checkpoint(connection, name, asdict(renewed))
    return renewed


def check_term(connection: Connection, name: str, term: int) -> None:
    """Raise LeaseLost when a later term was given; in the write transaction."""
    last = read_lease(connection, name)
    if last is None or last.term != term:
        raise LeaseLost(name, term, "nobody" if last is None else f"{last.process}, in term {last.term}")
