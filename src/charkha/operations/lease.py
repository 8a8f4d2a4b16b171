"""Who leads: one operator per home, by a lease in the ledger; others stand by, and take over when it has lapsed.

The lease lasts ten seconds and is renewed every two. It is taken over at once from a process that is seen to be gone on
this machine; else when it has lapsed by the clock, or was not renewed for as long by a stopwatch, whatever the clocks
say. A standby whose clock goes ahead of the leader's by more than eight seconds takes over without need: then another
one leads, and nothing is written twice, for every write of a leader proves first that its term is the newest.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from attrs import evolve

from charkha.clock import Clock
from charkha.spec.failures import ANY_FAILS
from charkha.storage.home import Home
from charkha.storage.ledger import LEASE, Lease, LeaseLost, Ledger
from charkha.storage.processes import Process

LASTS_SECONDS = 10.0
RENEWALS = 5  # within the time that a lease lasts
LOOK_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Leadership:
    """The lead of a home, as one operator has it, or waits for it.

    lasts_seconds: after which another may lead, unless the lease was renewed. lost: set when another does.
    """

    def __init__(self, ledger: Ledger, clock: Clock, *, lasts_seconds: float = LASTS_SECONDS) -> None:
        self._ledger, self._clock, self._lasts_seconds = ledger, clock, lasts_seconds
        self._holder = uuid4().hex
        self._lease: Lease | None = None
        self._seen: tuple[Lease, float] | None = None  # the lease of another, and since when it is as it is
        self.lost = threading.Event()

    @property
    def term(self) -> int | None:
        """The term in which this operator leads, or led last; None for one that never did."""
        return self._lease.term if self._lease else None

    def fenced(self, home: Home) -> Home:
        """Return a home in whose ledger nothing can be written once another leads."""
        return evolve(home, ledger=home.ledger.fenced(LEASE, lambda: self.term))

    @contextmanager
    def held(self, stop: threading.Event, patience_seconds: float | None = None) -> Iterator[bool]:
        """Wait until no other operator leads, then lead until the block is left; yields False where it came to nothing.

        It waits until `stop` is set, and no longer than `patience_seconds`. While the block runs, another thread renews
        the lease.
        """
        if not self._wait(stop, patience_seconds):
            yield False
            return
        left = threading.Event()
        renewing = threading.Thread(target=self._keep, args=(left,), name="lease", daemon=True)
        renewing.start()
        try:
            yield True
        finally:
            left.set()
            renewing.join()
            self._give_up()

    def _wait(self, stop: threading.Event, patience_seconds: float | None) -> bool:
        began, told = time.perf_counter(), False
        while (leader := self._try()) is not None:
            if not told:
                logger.info("another operator leads: %s; standing by", leader.process)
            told = True
            waited = time.perf_counter() - began
            if patience_seconds is not None and waited >= patience_seconds:
                return False
            if stop.wait(LOOK_SECONDS):
                return False
        return True

    def _try(self) -> Lease | None:
        """Take the lease, and return None; or return that of another who leads."""
        last = self._ledger.lease(LEASE)
        now_us = self._clock.now()
        dead = last if last is not None and self._is_dead(last) else None
        if last is not None and dead is None and now_us < last.until_us:
            return last
        mine = Lease(
            term=0,
            holder=self._holder,
            process=Process.this(),
            since_us=now_us,
            renewals=0,
            until_us=now_us + self._lasts_us,
        )
        found = self._ledger.take_lease(LEASE, mine, dead=dead)
        if found.holder != self._holder:
            return found
        self.lost.clear()
        self._lease = found
        return None

    def _is_dead(self, last: Lease) -> bool:
        """Say whether who leads is gone: seen to be, or not heard of for as long as a lease lasts."""
        now = time.perf_counter()
        if self._seen is None or self._seen[0] != last:
            self._seen = (last, now)
        return last.process.is_gone or now - self._seen[1] >= self._lasts_seconds

    def _keep(self, left: threading.Event) -> None:
        while not left.wait(self._lasts_seconds / RENEWALS):
            try:
                self._renew(self._clock.now() + self._lasts_us)
            except LeaseLost as error:
                logger.warning("%s", error)
                self.lost.set()
                return
            except ANY_FAILS:
                logger.exception("the lease could not be renewed; trying again")

    def _give_up(self) -> None:
        try:
            self._renew(0)
        except ANY_FAILS as error:
            logger.debug("the lease could not be given up: %s", error)

    def _renew(self, until_us: int) -> None:
        if self._lease is not None:
            self._lease = self._ledger.renew_lease(LEASE, self._lease, until_us)

    @property
    def _lasts_us(self) -> int:
        return int(self._lasts_seconds * 1e6)


def leader_of(ledger: Ledger, now_us: int) -> Lease | None:
    """Return who leads a home now; None where nobody does."""
    last = ledger.lease(LEASE)
    return None if last is None or last.until_us <= now_us or last.process.is_gone else last
