"""Whether the log's disk has room: told while there is time to make some, for a full one stops what is answered."""

import shutil
from pathlib import Path

from charkha.monitoring.findings import Finding

# Of the disk, this share at least is to be free.
LEAST_FREE = 0.05


def room_findings(model: str, folder: Path, now_us: int) -> list[Finding]:
    """Return a finding when little of a folder's disk is free, its value the share; none while there is room.

    Not measured in passing like the others: how full a disk is says nothing of a model, and is another each time.
    """
    disk = shutil.disk_usage(folder)
    free = disk.free / disk.total if disk.total else 0.0
    if free >= LEAST_FREE:
        return []
    said = f"{free:.1%} of the disk under {folder} is free ({disk.free / 1e9:.1f} GB); once it is full, predictions "
    return [
        Finding(
            time_us=now_us,
            model=model,
            version=None,
            kind="room",
            subject="disk",
            value=free,
            low=free,
            high=free,
            threshold=LEAST_FREE,
            significant=True,
            message=f"{said}cannot be logged. Make room, or keep fewer days: charkha log status",
        )
    ]
