"""What work used of the machine: one row for each stage of a run, and one for the whole of its process."""

from collections.abc import Iterable
from typing import Any, TypeVar

from attrs import asdict, evolve, frozen
from sqlalchemy import Connection, delete, insert, select

from charkha.storage.ledger.schema import USAGE

Number = TypeVar("Number", int, float)

# The row of a whole process; the others of its run are parts of it.
WHOLE = "whole"


@frozen(kw_only=True)
class Usage:
    """What one stage of a run used, or the whole of its process (`stage` is WHOLE).

    id: a second row of the same one is added to the first. kind: of the work, such as "training" or "serving".
    team: who owned the model then. began_us: µs since 1970 UTC. rows: that were answered, where rows are.
    peak_bytes: the most memory at any one time. memory_gb_seconds: memory times time; of a run its peak throughout.
    read_bytes, written_bytes: by calls of the system, from disk or from its cache; what is mapped is not counted.
    gpu_seconds: during which a device was held, of each. Of these five, None is what nobody could measure.
    """

    id: str
    kind: str
    run: str
    model: str
    team: str
    stage: str
    began_us: int
    wall_seconds: float
    cpu_seconds: float
    rows: int = 0
    peak_bytes: int | None = None
    memory_gb_seconds: float | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    gpu_seconds: float | None = None

    def plus(self, other: "Usage") -> "Usage":
        """Return this and another together, under this one's names: sums, of the peaks the higher."""
        peaks = [each for each in (self.peak_bytes, other.peak_bytes) if each is not None]
        return evolve(
            self,
            began_us=min(self.began_us, other.began_us),
            wall_seconds=self.wall_seconds + other.wall_seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            rows=self.rows + other.rows,
            peak_bytes=max(peaks, default=None),
            memory_gb_seconds=_sum(self.memory_gb_seconds, other.memory_gb_seconds),
            read_bytes=_sum(self.read_bytes, other.read_bytes),
            written_bytes=_sum(self.written_bytes, other.written_bytes),
            gpu_seconds=_sum(self.gpu_seconds, other.gpu_seconds),
        )


def add_usage(connection: Connection, usages: Iterable[Usage]) -> None:
    """Write rows; what a row of the same id had is added to; in the write transaction."""
    for usage in usages:
        row = connection.execute(select(USAGE).where(USAGE.c.id == usage.id)).first()
        added = usage if row is None else Usage(**row._asdict()).plus(usage)
        connection.execute(delete(USAGE).where(USAGE.c.id == usage.id))
        connection.execute(insert(USAGE).values(asdict(added)))


def list_usage(
    connection: Connection, model: str | None, kind: str | None, since_us: int | None, until_us: int | None
) -> list[Usage]:
    """Return rows in the order of their beginning, of those that began in a span."""
    found = select(USAGE).order_by(USAGE.c.began_us, USAGE.c.id)
    wanted: list[Any] = [] if model is None else [USAGE.c.model == model]
    wanted += [] if kind is None else [USAGE.c.kind == kind]
    wanted += [] if since_us is None else [USAGE.c.began_us >= since_us]
    wanted += [] if until_us is None else [USAGE.c.began_us < until_us]
    return [Usage(**row._asdict()) for row in connection.execute(found.where(*wanted))]


def _sum(one: Number | None, other: Number | None) -> Number | None:
    """Return a sum; of what is not known of both, nothing is known."""
    return None if one is None or other is None else one + other
