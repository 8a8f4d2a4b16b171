"""What a training takes of this machine: its own processor time and that of the processes it waited for, and time."""

import resource
import time

from attrs import field, frozen


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@frozen
class Took:
    """Measures from when it is made."""

    _cpu: float = field(factory=_cpu_seconds)
    _wall: float = field(factory=time.perf_counter)

    @property
    def plain(self) -> dict[str, float]:
        """CPU and wall seconds so far, as a run's result keeps them."""
        cpu, wall = _cpu_seconds() - self._cpu, time.perf_counter() - self._wall
        return {"cpu_seconds": round(cpu, 3), "wall_seconds": round(wall, 3)}
