"""What a process uses of the machine: processor time, memory, bytes, and devices held; by stage, and as a whole.

Counters of the system are read before and after: metering costs what two reads of /proc cost, and nothing in between.
Where a system does not count something, it is unknown, and stays so.
"""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from attrs import field, frozen

from charkha.clock import Clock
from charkha.storage.gpu import GpuSampler, gpu_sampler
from charkha.storage.ledger.usage import WHOLE, Usage

Number = TypeVar("Number", int, float)
# Begins a stage of work, and ends it when the block is left.
Stage = Callable[[str], AbstractContextManager[None]]
OnUsage = Callable[[Usage], None]
# Processor time (s), peak of memory, bytes read and bytes written.
Counted = tuple[float, int | None, int | None, int | None]
_LOOK_SECONDS = 0.05


def unmetered(stage: str) -> AbstractContextManager[None]:
    """Meter nothing."""
    return nullcontext()


@frozen
class Used:
    """What a process has used so far. Bytes: None where they are not counted."""

    cpu_seconds: float
    wall_seconds: float
    read_bytes: int | None
    written_bytes: int | None


def used_here(*, children: bool = True) -> Used:
    """Return what this process has used so far, with the children it has waited for or without them."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN) if children else (resource.RUSAGE_SELF,)
    counted = [resource.getrusage(each) for each in whose]
    return Used(sum(each.ru_utime + each.ru_stime for each in counted), time.perf_counter(), *moved_bytes("self"))


def moved_bytes(process: int | str) -> tuple[int | None, int | None]:
    """Return how much a process has read and written by calls of the system; None where that is not counted."""
    try:
        lines = Path(f"/proc/{process}/io").read_text().splitlines()
        counted = dict(line.split(": ") for line in lines)
        return int(counted["rchar"]), int(counted["wchar"])
    except (OSError, KeyError, ValueError):
        return None, None


def memory_bytes() -> int | None:
    """Return how much memory this process has in use; None where that is not told."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


def peak_memory_bytes(process: int | str = "self") -> int | None:
    """Return the most memory a process had in use at once, since `forget_peak`; None where that is not told."""
    try:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")), None)
    except (OSError, ValueError):
        return None


def forget_peak() -> None:
    """Have the peak of this process's memory be counted from now on, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


@frozen(kw_only=True, eq=False)
class Meter:
    """Meters the stages of one run in this process, and tells each when it ends, however it ends.

    kind, run, model, team: as of `Usage`. attempt: tells two tries of a run apart. children: whether those that this
    process waits for count, and devices. No stage lies within another.
    """

    kind: str
    run: str
    model: str
    team: str
    clock: Clock
    on_usage: OnUsage
    attempt: str = field(factory=lambda: uuid4().hex[:12])
    children: bool = True
    _peaks: list[int] = field(factory=list, init=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Meter a stage from here to the end of the block."""
        with self._metered(name):
            forget_peak()
            yield

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Meter the whole of a run that this process carries out itself, with its stages within."""
        with self._metered(WHOLE):
            yield

    @contextmanager
    def _metered(self, name: str) -> Iterator[None]:
        began_us, before = self.clock.now(), used_here(children=self.children)
        gpu = gpu_sampler(os.getpgrp()) if self.children else GpuSampler(0, None)
        try:
            yield
        finally:
            after, peak = used_here(children=self.children), peak_memory_bytes()
            gpu.close()
            if peak is not None:
                self._peaks.append(peak)  # of the whole, whose own was forgotten as a stage began
            highest = max(self._peaks, default=None) if name == WHOLE else peak
            self.on_usage(self.usage(name, began_us, before, after, peak=highest, gpu=gpu.seconds()))

    def usage(
        self, name: str, began_us: int, before: Used, after: Used, *, peak: int | None, gpu: float | None
    ) -> Usage:
        """Return what was used between two readings, as a stage."""
        wall = after.wall_seconds - before.wall_seconds
        return Usage(
            id=f"{self.run}#{self.attempt}/{name}",
            kind=self.kind,
            run=self.run,
            model=self.model,
            team=self.team,
            stage=name,
            began_us=began_us,
            wall_seconds=wall,
            cpu_seconds=after.cpu_seconds - before.cpu_seconds,
            peak_bytes=peak,
            memory_gb_seconds=None if peak is None else peak / 1e9 * wall,
            read_bytes=minus(after.read_bytes, before.read_bytes),
            written_bytes=minus(after.written_bytes, before.written_bytes),
            gpu_seconds=gpu,
        )


def minus(after: Number | None, before: Number | None) -> Number | None:
    """Return a difference; nothing is known of what is not."""
    return None if after is None or before is None else after - before


class ChildMeter:
    """Waits for a child process, and tells its whole once, however it ends.

    Nobody else may take the status of the child, which is alone in its process group, by which devices are known for
    its own.
    """

    def __init__(self, meter: Meter, child: "subprocess.Popen[str]") -> None:
        self._meter, self._child = meter, child
        self._began_us, self._began = meter.clock.now(), time.perf_counter()
        self._gpu = gpu_sampler(child.pid)
        self._told = False

    def wait(self, seconds: float) -> int:
        """Wait for the child for so long at most; return its status. Raises TimeoutExpired."""
        if self._child.returncode is None:
            _, used = _wait(self._child, seconds)
            self._tell(used)
        return int(self._child.returncode)

    def close(self) -> None:
        """Tell of a child that goes on as far as it has come; nothing where its whole was told."""
        if not self._told:
            self._tell(_of_living(self._child.pid))

    def _tell(self, used: Counted) -> None:
        cpu, peak, read, written = used
        after = Used(cpu, time.perf_counter() - self._began, read, written)
        nothing = Used(0.0, 0.0, None if read is None else 0, None if written is None else 0)
        self._told = True
        gpu = self._gpu.seconds()
        self._gpu.close()
        self._meter.on_usage(self._meter.usage(WHOLE, self._began_us, nothing, after, peak=peak, gpu=gpu))


def reaped(child: "subprocess.Popen[str]") -> tuple[int, Counted] | None:
    """Take the status of a child that has ended, with what it used; None while it goes on.

    A process that has ended tells what it moved until somebody takes its status, so that is looked at first.
    """
    if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        return None
    moved = moved_bytes(child.pid)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, (used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, *moved)


def _wait(child: "subprocess.Popen[str]", seconds: float) -> tuple[int, Counted]:
    """Wait for a child; return its status and what it used. Raises TimeoutExpired."""
    until = time.perf_counter() + seconds
    while (found := reaped(child)) is None:
        if time.perf_counter() >= until:
            raise subprocess.TimeoutExpired(child.args, seconds)
        time.sleep(_LOOK_SECONDS)
    return found


def _of_living(process: int) -> Counted:
    """Return what a process that goes on has used; 0 s where it is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks = sum(int(fields[place]) for place in range(11, 15))
    except (OSError, IndexError, ValueError):
        ticks = 0
    return ticks / os.sysconf("SC_CLK_TCK"), peak_memory_bytes(process), *moved_bytes(process)
