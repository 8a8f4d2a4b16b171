"""The one verb of an engine."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Bucket = TypeVar("Bucket")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a pure kernel over buckets of keys. A kernel shares nothing: what it needs is in its bucket."""

    def map(self, kernel: Callable[[Bucket], Result], buckets: Iterable[Bucket]) -> Iterator[Result]:
        """Yield the result of every bucket, in the order of the buckets; the first error ends it."""
        ...
