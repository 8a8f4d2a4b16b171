"""Files that are never flushed to the disk: after the next start of the machine nobody can vouch for them.

A power failure may leave any of their pages new and any old. So a mark beside them says which start of the machine
wrote them, and whoever opens them first after another start drops them. A killed process changes nothing: the
operating system has all that it wrote.
"""

import fcntl
import logging
import os
from collections.abc import Sequence
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux; where there is none, nothing is dropped
_MARK = "boot"

logger = logging.getLogger(__name__)


def hold(folder: Path, unflushed: Sequence[str]) -> int:
    """Drop what an earlier start of the machine left in a folder, and return a descriptor to close after use.

    unflushed: the names of the files that cannot be trusted then. As long as any process holds the folder, nobody drops
    them. The caller has the folder's lock, until the files are open.
    """
    mark = os.open(folder / _MARK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        now = _this_boot()
        if now and os.pread(mark, len(now) + 1, 0) != now and _is_alone(mark):
            _drop(folder, unflushed)
            os.ftruncate(mark, 0)
            os.pwrite(mark, now, 0)
        fcntl.flock(mark, fcntl.LOCK_SH)
    except BaseException:  # such as of a full disk: left open, it would keep the next one out without end
        os.close(mark)
        raise
    return mark


def _this_boot() -> bytes:
    """Return what names the present start of the machine; nothing where it has no name."""
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b""


def _is_alone(mark: int) -> bool:
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop(folder: Path, unflushed: Sequence[str]) -> None:
    left = [folder / name for name in unflushed if (folder / name).exists()]
    for path in left:
        path.unlink()
    if left:
        logger.warning("%s was written before the machine started anew, and never flushed: dropped", folder)
