"""Seconds during which the processes of a group hold graphics devices: asked once a second of NVIDIA's library.

Where that library is not there, or finds no device, none can be held: 0 s. Where it cannot tell, nothing is known.
"""

import ctypes
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache

EVERY_SECONDS = 1.0
_LIBRARY = "libnvidia-ml.so.1"
_MOST_PROCESSES = 1024

# Asks which processes compute on each device; None where it cannot be told.
Holders = Callable[[], Sequence[set[int]] | None]


class GpuSampler:
    """Adds up device seconds of a process group, in a thread of its own while there is a device.

    holders: None where there is none. every_seconds: how often it is asked; what is shorter may be missed.
    """

    def __init__(self, group: int, holders: Holders | None, every_seconds: float = EVERY_SECONDS) -> None:
        self._group, self._holders, self._every = group, holders, every_seconds
        self._seconds: float | None = 0.0
        self._ended = threading.Event()
        if holders is not None:
            threading.Thread(target=self._sample, name="gpu-sampler", daemon=True).start()

    def seconds(self) -> float | None:
        """Return the device seconds so far; None once it could not be told."""
        return self._seconds

    def close(self) -> None:
        """End sampling."""
        self._ended.set()

    def _sample(self) -> None:
        before = time.perf_counter()
        while not self._ended.wait(self._every):
            now = time.perf_counter()
            held = self._holders() if self._holders else None
            if held is None or self._seconds is None:
                self._seconds = None
                return
            self._seconds += (now - before) * sum(any(map(self._is_ours, each)) for each in held)
            before = now

    def _is_ours(self, process: int) -> bool:
        try:
            return os.getpgid(process) == self._group
        except OSError:
            return False


def gpu_sampler(group: int) -> GpuSampler:
    """Return what adds up the device seconds of a process group on this machine."""
    return GpuSampler(group, _holders())


class _Process(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    )


@cache
def _holders() -> Holders | None:
    """Return what asks NVIDIA's library; None where there is no device."""
    try:
        library = ctypes.CDLL(_LIBRARY)
        count = ctypes.c_uint()
        if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)) or not count.value:
            return None
    except (OSError, AttributeError):
        return None

    def holders() -> list[set[int]] | None:
        try:
            return [_computing(library, number) for number in range(count.value)]
        except (OSError, AttributeError):
            return None

    return holders


def _computing(library: ctypes.CDLL, number: int) -> set[int]:
    device, found = ctypes.c_void_p(), ctypes.c_uint(_MOST_PROCESSES)
    processes = (_Process * _MOST_PROCESSES)()
    if library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(device)):
        raise OSError(f"device {number}: no handle")
    if library.nvmlDeviceGetComputeRunningProcesses_v3(device, ctypes.byref(found), processes):
        raise OSError(f"device {number}: its processes are not told")
    return {process.pid for process in processes[: found.value]}
