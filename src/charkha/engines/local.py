"""The embedded engine: threads of this process, for kernels that spend their time in NumPy and Polars."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from attrs import field, frozen, validators

from charkha.engines.engine import Bucket, Result


@frozen
class LocalEngine:
    """Runs kernels on `threads` threads; at most two buckets a thread are held in memory at once."""

    threads: int = field(default=2, validator=validators.ge(1))

    def map(self, kernel: Callable[[Bucket], Result], buckets: Iterable[Bucket]) -> Iterator[Result]:
        """Yield results in bucket order, taking buckets only as fast as results are taken."""
        with ThreadPoolExecutor(self.threads) as pool:
            pending: deque[Future[Result]] = deque()
            for bucket in buckets:
                pending.append(pool.submit(kernel, bucket))
                if len(pending) >= 2 * self.threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
