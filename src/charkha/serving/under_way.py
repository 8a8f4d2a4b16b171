"""How many bytes of bodies a worker holds: bounded in sum, whoever sends them how slowly."""

from collections.abc import Iterator
from contextlib import contextmanager

from charkha.serving.refusals import Refused

# Of all large bodies together; the largest has 4 MiB.
MOST_BYTES = 128 << 20
# Bodies up to here are not counted, so that large ones cannot keep them out.
SMALL_BYTES = 64 << 10


class UnderWay:
    """Counts the bytes of bodies while they are read, and longer where somebody holds them; on one event loop."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._taken = most_bytes, 0

    def take(self, size: int) -> None:
        """Count bytes that are to come, or have come. Raises Refused (429) where there are too many already."""
        if not self.has_room(size):
            said = f"expected fewer large bodies at a time: {self._taken >> 20} MiB are under way. Come again later"
            raise Refused(429, "overloaded", said, headers={"retry-after": "1", "connection": "close"})
        self._taken += size

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Count the bytes of a body that has come until the block ends. Raises as `take`."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)

    def has_room(self, size: int) -> bool:
        """Say whether so many bytes may be taken."""
        return self._taken + size <= self._most

    def give_back(self, size: int) -> None:
        """Count bytes no longer."""
        self._taken -= size
