"""When a worker that died is started again: at once, but ever later where it dies right after its start."""

from collections import Counter

from attrs import field, mutable

# A worker that lived shorter than that most likely dies again for the same reason.
EARLY_SECONDS = 5.0
MOST_SECONDS = 30.0


@mutable
class Respawns:
    """Counts, for each worker's place, the early deaths in a row."""

    early: Counter[int] = field(factory=Counter)

    def died(self, place: int, lived_seconds: float, *, from_outside: bool = False) -> float:
        """Return in how many seconds the next one is due: 1, 2, 4 … 30 after early deaths in a row, else 0.

        from_outside: it served and was killed, which says nothing of how the next one will do.
        """
        if from_outside or lived_seconds >= EARLY_SECONDS:
            del self.early[place]
            return 0.0
        self.early[place] += 1
        return min(2.0 ** min(self.early[place] - 1, 10), MOST_SECONDS)
