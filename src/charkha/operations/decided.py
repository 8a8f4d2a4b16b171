"""What was decided of a model, read again and again by one process: only what is new is read from the ledger."""

from attrs import define, field

from charkha.storage.ledger import Decision, Ledger


@define(eq=False)
class Decided:
    """All decisions of a model, kept from one look to the next: they are only ever added to.

    It holds them in memory, some 2 kB each. Not for several threads at once.
    """

    ledger: Ledger
    model: str
    _kept: list[Decision] = field(factory=list, init=False)

    def read(self) -> list[Decision]:
        """Return all decisions of the model, oldest first."""
        if self._kept:
            # From the newest that is known, which tells whether this is still the same chain: a backup may have been
            # put in its place.
            last = self._kept[-1]
            found = self.ledger.decisions(self.model, after=last.sequence - 1)
            if found[:1] == [last]:
                self._kept += found[1:]
                return list(self._kept)
        self._kept = self.ledger.decisions(self.model)
        return list(self._kept)
