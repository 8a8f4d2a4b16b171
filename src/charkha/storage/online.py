"""The online state: small values by key, read at every request; derived from the log."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

MAX_KEY_BYTES = 511


class OnlineReader(Protocol):
    """One consistent snapshot; for the thread that opened it."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key in the order asked, None where there is none."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        ...


class OnlineWriter(OnlineReader, Protocol):
    """One transaction: it reads what it has written, others see nothing of it before it is committed."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key of 1 to 511 bytes. Raises KeyRefused and OnlineStoreFull."""
        ...

    def put_many(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Set the values of many keys, quickest in the order of keys. Raises KeyRefused and OnlineStoreFull."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove a key; one that is not there is left alone."""
        ...

    def delete_prefix(self, prefix: bytes) -> None:
        """Remove every key that starts with `prefix`."""
        ...


class OnlineStore(Protocol):
    """Values by key; any number of threads and processes may use it at once.

    A store need not outlive its machine: what a power failure may have torn is not there afterwards, rather than wrong.
    """

    def read(self) -> AbstractContextManager[OnlineReader]:
        """Open a consistent snapshot. Keep it short: pages it can see are not used again while it is open."""
        ...

    def write(self) -> AbstractContextManager[OnlineWriter]:
        """Open the one write transaction of all processes: committed on a clean exit, undone on an exception or death.

        Waits while another has it. Raises NestedWrite when it is the same thread that has it.
        """
        ...

    def delete_prefix(self, prefix: bytes) -> None:
        """Remove every key that starts with `prefix`, in one transaction."""
        ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values under `prefix` in key order, from one snapshot that is open while you iterate."""
        ...

    def close(self) -> None:
        """Release the store; it cannot be used again."""
        ...


class KeyRefused(ValueError):
    """A key of a length that no backend can hold."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        super().__init__(key)

    def __str__(self) -> str:
        return (
            f"online key {self.key[:40]!r}…: expected 1 to {MAX_KEY_BYTES} bytes, got {len(self.key)}. "
            f"Put a digest of what is long in the key."
        )


class NestedWrite(Exception):
    """A write transaction inside another of the same thread, which would wait for itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(folder)

    def __str__(self) -> str:
        return (
            f"online store {self.folder}: expected one write transaction at a time in a thread, got one inside "
            f"another. Pass the open writer on instead."
        )


class OnlineStoreFull(Exception):
    """The store has reached the size it was opened with."""

    def __init__(self, folder: Path, map_bytes: int) -> None:
        self.folder, self.map_bytes = folder, map_bytes
        super().__init__(folder, map_bytes)

    def __str__(self) -> str:
        return (
            f"online store {self.folder}: expected to fit in {self.map_bytes} bytes (map_bytes), and it no longer "
            f"does. Set online_gb in charkha.toml and start every process anew; nothing is lost, the transaction was "
            f"undone."
        )
