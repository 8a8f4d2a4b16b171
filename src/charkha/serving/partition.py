"""Which partition of the logs a worker writes: a number that no other living worker has, taken again after a crash."""

import fcntl
import os
from itertools import count
from pathlib import Path

from attrs import frozen


@frozen
class Claim:
    """A partition held until it is released or the process dies."""

    name: str
    descriptor: int

    def release(self) -> None:
        """Let another worker have it."""
        os.close(self.descriptor)


def claim_partition(folder: Path) -> Claim:
    """Claim the first free partition: "w0", "w1", …, as many as ever served at once. folder: where claims are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    attempts = (_try_claim(folder, f"w{number}") for number in count())
    return next(claim for claim in attempts if claim is not None)


def _try_claim(folder: Path, name: str) -> Claim | None:
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Claim(name, descriptor)
