"""How a worker does, minute by minute: calls by status, rows, fallbacks, latency by stage, and what its clock does.

Counted beside the answers under a lock that is held for a moment; put into bins and written by whoever refreshes: an
answer never waits for a disk. A minute is one by the time of the predictions, so a year that is replayed has its
minutes too.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from attrs import Factory, define

from charkha.clock import Clock
from charkha.serving.latency_bins import binned
from charkha.serving.observer import STAGES, Stages
from charkha.serving.prediction_log import Cause
from charkha.serving.vitals_log import (
    FORMAT,
    MINUTE_US,
    UnreadableVitals,
    VitalsRecord,
    encode_vitals,
    vitals_at,
    vitals_stream,
)
from charkha.storage.log import Log, LogCorrupt, Position, UnknownPosition
from charkha.storage.metering import memory_bytes

# So many minutes wait at most while the disk takes none; then the oldest go.
MOST_WAITING = 1440
# So many batches of a minute wait to be put into bins; beyond, whoever answers puts them there.
MOST_UNBINNED = 10_000


@define(eq=False)
class _Minute:
    minute_us: int
    statuses: Counter[int] = Factory(Counter)
    batches: int = 0
    rows: int = 0
    fallbacks: Counter[str] = Factory(Counter)
    stages: tuple[Counter[int], ...] = Factory(lambda: tuple(Counter() for _ in (None, *STAGES)))
    unbinned: list[Stages] = Factory(list)
    cpu_us: int | None = None
    other_cpu_us: int | None = None


class ModelVitals:
    """Counts for one model; safe to use from several threads.

    steady_ns: a clock that nobody sets, such as `time.monotonic_ns`; None where time is simulated. memory: returns what
        of the worker's memory is put down to this model.
    """

    def __init__(
        self,
        log: Log,
        model: str,
        partition: str,
        replica: str,
        clock: Clock,
        *,
        steady_ns: Callable[[], int] | None = None,
        memory: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._memory, self._busy_ns = memory, 0
        self._log, self._stream, self._partition, self._replica = log, vitals_stream(model), partition, replica
        self._writer = log.writer(self._stream, partition)
        self._clock, self._steady_ns = clock, steady_ns
        self._began_us, self._began_ns = clock.now(), steady_ns() if steady_ns else 0
        self._counting, self._binning, self._writing = threading.Lock(), threading.Lock(), threading.Lock()
        self._minute = _Minute(self._began_us // MINUTE_US * MINUTE_US)
        self._over: deque[_Minute] = deque(maxlen=MOST_WAITING)
        self._others: Position = {}
        self.problem: str | None = None

    def replied(self, status: int) -> None:
        """Count a call."""
        with self._counting:
            self._minute.statuses[status] += 1

    def answered(self, time_us: int, rows: int, stages: Stages, fallbacks: Iterable[tuple[Cause, int]] = ()) -> None:
        """Count a batch. time_us: of its predictions."""
        with self._counting:
            if time_us >= self._minute.minute_us + MINUTE_US:
                self._turn(time_us)
            minute = self._minute
            minute.batches += 1
            minute.rows += rows
            minute.unbinned.append(stages)
            self._busy_ns += stages.logged_ns - stages.waited_ns
            for cause, count in fallbacks:
                minute.fallbacks[cause] += count
            is_full = len(minute.unbinned) >= MOST_UNBINNED
        if is_full:
            self._bin(minute)

    def take_busy_ns(self) -> int:
        """Return for how long batches were answered since this was last asked (ns, of all threads together)."""
        with self._counting:
            busy_ns, self._busy_ns = self._busy_ns, 0
        return busy_ns

    def spent(self, cpu_us: int, other_cpu_us: int) -> None:
        """Count processor time in the minute that is under way: on this model's batches, and of what is shared."""
        with self._counting:
            minute = self._minute
            minute.cpu_us = (minute.cpu_us or 0) + cpu_us
            minute.other_cpu_us = (minute.other_cpu_us or 0) + other_cpu_us

    def refresh(self) -> bool:
        """Write the minutes that are over; return whether there were any. What cannot be written waits."""
        now_us = self._clock.now()
        with self._counting:
            if now_us >= self._minute.minute_us + MINUTE_US:
                self._turn(now_us)
        return self._write(now_us)

    def close(self) -> None:
        """Write what there is, also of the minute that is not over, and close the writer."""
        with self._counting:
            if self._minute.batches or self._minute.statuses:
                self._turn(self._minute.minute_us)
        self._write(self._clock.now())
        self._writer.close()

    def _turn(self, time_us: int) -> None:
        self._over.append(self._minute)
        self._minute = _Minute(time_us // MINUTE_US * MINUTE_US)

    def _write(self, now_us: int) -> bool:
        with self._writing:
            with self._counting:
                minutes, under_way = list(self._over), self._minute
            for minute in (*minutes, under_way):
                self._bin(minute)
            if not minutes:
                return False
            try:
                ahead_us, behind_us = self._ahead_us(now_us), self._behind_us(now_us)
                self._writer.append([self._record(minute, ahead_us, behind_us) for minute in minutes])
            except (OSError, LogCorrupt) as error:
                self.problem = f"vitals cannot be logged: {error}"
                return False
            self.problem = None
            with self._counting:
                for minute in minutes:
                    if self._over and self._over[0] is minute:  # not if it was let go meanwhile
                        self._over.popleft()
        return True

    def _bin(self, minute: _Minute) -> None:
        with self._binning:
            with self._counting:
                unbinned, minute.unbinned = minute.unbinned, []
            if unbinned:
                at_ns = np.array(unbinned)
                took_ns = np.column_stack([at_ns[:, -1] - at_ns[:, 0], np.diff(at_ns, axis=1)])
                for counts, durations_ns in zip(minute.stages, took_ns.T, strict=True):
                    counts.update(binned(durations_ns))

    def _record(self, minute: _Minute, ahead_us: int | None, behind_us: int) -> bytes:
        counted = (dict(minute.statuses), minute.batches, minute.rows, dict(minute.fallbacks), minute.stages)
        used = (minute.cpu_us, minute.other_cpu_us, self._memory())
        return encode_vitals(
            VitalsRecord(FORMAT, minute.minute_us, self._replica, *counted, ahead_us, behind_us, *used)
        )

    def _ahead_us(self, now_us: int) -> int | None:
        if self._steady_ns is None:
            return None
        return now_us - self._began_us - (self._steady_ns() - self._began_ns) // 1000

    def _behind_us(self, now_us: int) -> int:
        """Return how far the newest that other workers wrote since the last time lies ahead of now.

        A minute is written when it is over by the clock of who writes it.
        """
        try:
            ends = self._log.end(self._stream)
            since = {**ends, **self._others, self._partition: ends.get(self._partition, 0)}
            records = list(self._log.read(self._stream, since))
        except (UnknownPosition, LogCorrupt):  # what retention has removed, or somebody has to mend: from its end on
            self._others = {}
            return 0
        self._others = {**since, **{record.partition: record.end for record in records}}
        return max(0, _newest([record.payload for record in records]) - now_us)


class Vitals:
    """The vitals of all models of a service; followed, so that minutes are written when they are over.

    cpu_ns: tells the processor time of this process, such as `time.process_time_ns`; None where it serves not alone.
    """

    def __init__(self, models: Mapping[str, ModelVitals], *, cpu_ns: Callable[[], int] | None = None) -> None:
        self._models, self._cpu_ns = models, cpu_ns
        self._sharing = threading.Lock()
        self._shared_ns = cpu_ns() if cpu_ns else 0

    def of(self, model: str) -> ModelVitals:
        """Return those of a model."""
        return self._models[model]

    def replied(self, model: str, status: int) -> None:
        """Count a call for predictions of a model, whatever became of it; of one that is not known, nothing."""
        if (found := self._models.get(model)) is not None:
            found.replied(status)

    def refresh(self) -> bool:
        """Put down what was used, and write the minutes that are over; see `ModelVitals.refresh`."""
        self._share_cpu()
        written = [vitals.refresh() for vitals in self._models.values()]
        return any(written)

    def problems(self) -> dict[str, str]:
        """Return, by model, why vitals cannot be written now."""
        return {name: vitals.problem for name, vitals in self._models.items() if vitals.problem is not None}

    def close(self) -> None:
        """Write what there is, and close the logs."""
        self._share_cpu()
        for vitals in self._models.values():
            vitals.close()

    def _share_cpu(self) -> None:
        """Put the processor time since the last time down to models, by the time they were at work; or to all."""
        if self._cpu_ns is None or not self._models:
            return
        with self._sharing:
            now_ns = self._cpu_ns()
            used_us, self._shared_ns = (now_ns - self._shared_ns) // 1000, now_ns
            busy = {name: vitals.take_busy_ns() for name, vitals in self._models.items()}
            for name, cpu_us, other_us in shares_of(used_us, busy):
                self._models[name].spent(cpu_us, other_us)


def equal_part_of_memory(models: int) -> int | None:
    """Return this process's memory divided by a number of models; None where it is not told."""
    used = memory_bytes()
    return None if used is None else used // models


def shares_of(used_us: int, busy_ns: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """Yield each model's part of processor time: by its share of the time at work, or of all equally where none was.

    The first is what is put down to its work, HTTP and all; the second what nobody's work was. They add up to what was
    used.
    """
    all_ns, models = sum(busy_ns.values()), len(busy_ns)
    worked_ns = done_us = 0
    for number, (name, own_ns) in enumerate(busy_ns.items(), 1):
        worked_ns += own_ns
        so_far = used_us * worked_ns // all_ns if all_ns else used_us * number // models
        part, done_us = so_far - done_us, so_far
        yield (name, part, 0) if all_ns else (name, 0, part)


def _newest(payloads: Sequence[bytes]) -> int:
    """Return when the newest of records was written at the earliest (µs); those of newer versions tell nothing."""
    found = 0
    for payload in payloads:
        try:
            found = max(found, vitals_at(payload) + MINUTE_US)
        except UnreadableVitals:
            continue
    return found
