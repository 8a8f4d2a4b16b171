"""What has the disk confirm files and folders, so that they outlast a power failure."""

import os
from pathlib import Path


def flush(*paths: Path) -> None:
    """Return once the disk has the content of files, and the names in folders."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
