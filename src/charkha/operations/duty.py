"""Who is on duty: one operator per home; others stand by, and take over when it ends, however it ends."""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def on_duty(folder: Path, stop: threading.Event, interval_seconds: float) -> Iterator[bool]:
    """Wait until no other operator is on duty in a home's folder, then hold the duty; yields False if told to stop."""
    descriptor = os.open(folder / ".operator", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield _take(descriptor, folder, stop, interval_seconds)
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path, stop: threading.Event, interval_seconds: float) -> bool:
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                logger.info("another operator is on duty in %s; standing by", folder)
            told = True
            if stop.wait(interval_seconds):
                return False
        else:
            return True
