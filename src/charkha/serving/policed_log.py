"""Logging predictions as the model's policy says: what happens while the disk is full or broken, and until when.

Appending blocks as long as the disk does, and with it the batch: who is slow is waited for, never passed by. A log
that fails is not asked again by each call, but a few times a second, and by `look_again`. One that is damaged is read
from its beginning to know that, so it is asked again only once its file was changed, and by no call.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from charkha.serving.observer import Observer
from charkha.serving.prediction_log import LogPlace, PredictionBatch, PredictionLog
from charkha.spec.model import Model
from charkha.storage.log import LogCorrupt
from charkha.storage.online import OnlineStoreFull

_AGAIN_NS = 250_000_000
_NEVER_NS = 1 << 63

_logger = logging.getLogger("charkha.serving")


class LogFull(Exception):
    """A log that takes nothing now; what was to be logged was not taken. reason: what the system says."""

    def __init__(self, what: str, reason: str) -> None:
        self.what, self.reason = what, reason
        super().__init__(f"{what} cannot be logged, so nothing of this call was taken: {reason}. Come again later")


@contextmanager
def taken_by_log(what: str) -> Iterator[None]:
    """Raise LogFull where the block finds no room for what it logs."""
    try:
        yield
    except (OSError, LogCorrupt) as error:
        raise LogFull(what, _reason(error)) from error


class PolicedLog:
    """The log of one model's predictions; safe to use from several threads.

    seconds: how long the newest append took.
    """

    def __init__(self, log: PredictionLog, model: Model, observer: Observer) -> None:
        self._log, self._model, self._observer = log, model.name, observer
        self.refuses = model.log.on_full_disk == "refuse"
        self._failing: str | None = None  # why it takes nothing now
        self._forgetful: str | None = None  # why what must be remembered of a call cannot be
        self._probe_memory: Callable[[], None] | None = None
        self.seconds = 0.0
        self._again_ns = 0
        self._damage: tuple[LogCorrupt, tuple[int, int]] | None = None

    def settle(self) -> None:
        """Find the end of the log now, which the first call would wait for otherwise; a log that fails is a problem."""
        if self._failing is None:
            try:
                self._log.place()
            except (OSError, LogCorrupt) as error:
                self._fail(error)

    @property
    def problem(self) -> str | None:
        """Why calls, or those with an Idempotency-Key, cannot be logged now; None while all can."""
        return self._failing or self._forgetful

    def admit(self, rows: int) -> None:
        """Raise LogFull for a call that would be refused once it was scored. Costs nothing while the log is well."""
        if self._failing is not None and self.refuses and time.perf_counter_ns() < self._again_ns:
            self._refuse(rows, self._failing)

    def append(self, batches: Sequence[PredictionBatch]) -> bool:
        """Log calls, all of them or none, and say whether they are logged.

        Raises LogFull when they could not be, and the policy is to refuse then.
        """
        failing = self._take(batches)
        return True if failing is None else self._unlogged(batches, failing)

    def append_beside(self, batches: Sequence[PredictionBatch]) -> bool:
        """Log what shadows made of calls, if there is room, and say whether it is logged: no call is refused for it."""
        return self._take(batches) is None

    def remember(self, rows: int, keep: Callable[[], None], probe: Callable[[], None]) -> bool:
        """Have `keep` write or read what a repeated call needs; say whether it did. rows: of the calls that it is for.

        probe: raises while `keep` would. Raises LogFull when that cannot be done and the policy is to refuse then;
        else the calls are answered all the same, and a repetition is a new call.
        """
        try:
            keep()
        except (OSError, OnlineStoreFull) as error:
            reason, known = _reason(error), self._forgetful is not None
            self._forgetful, self._probe_memory = reason, probe
            if self.refuses:
                self._refuse(rows, reason)
            if not known:
                _logger.error(
                    "model %s: answers cannot be remembered by their Idempotency-Key: %s", self._model, reason
                )
            return False
        return True

    def look_again(self) -> None:
        """Notice that there is room again, also while nobody calls."""
        if self.problem is None or (self._damage is not None and self._damage[1] == _state_of(self._damage[0])):
            return
        try:
            self._log.probe()
            self._log.place()
        except (OSError, LogCorrupt) as error:
            self._fail(error)
            return
        with suppress(OSError, OnlineStoreFull):
            if self._probe_memory is not None:
                self._probe_memory()
            self._forgetful = self._probe_memory = None
        self._recover()

    def place(self) -> LogPlace:
        """Return where the next record begins; see `PredictionLog.place`."""
        return self._log.place()

    def holds(self, place: LogPlace, first_id: str) -> bool:
        """Say whether a record is in the log, not far behind a place; see `PredictionLog.holds`."""
        return self._log.holds(place, first_id)

    def close(self) -> None:
        """Close the writer."""
        self._log.close()

    def _take(self, batches: Sequence[PredictionBatch]) -> str | None:
        """Log calls, all of them or none; return why they could not be, None if they are."""
        began_ns = time.perf_counter_ns()
        if self._failing is not None and began_ns < self._again_ns:
            return self._failing
        try:
            self._log.append(batches)
        except (OSError, LogCorrupt) as error:
            return self._fail(error)
        self.seconds = (time.perf_counter_ns() - began_ns) / 1e9
        if self._failing is not None:
            self._recover()
        return None

    def _unlogged(self, batches: Sequence[PredictionBatch], reason: str) -> bool:
        rows = sum(len(batch.requests) for batch in batches)
        if self.refuses:
            self._refuse(rows, reason)
        self._observer.not_logged(self._model, reason, rows, refused=False)
        return False

    def _refuse(self, rows: int, reason: str) -> None:
        self._observer.not_logged(self._model, reason, rows, refused=True)
        raise LogFull(f"model '{self._model}': the prediction", reason)

    def _fail(self, error: OSError | LogCorrupt) -> str:
        """Take a failure of the log down as its problem; return it in words."""
        if isinstance(error, LogCorrupt):
            _logger.error("model %s: %s", self._model, error)
            self._damage, self._again_ns = (error, _state_of(error)), _NEVER_NS
        else:
            self._damage, self._again_ns = None, time.perf_counter_ns() + _AGAIN_NS
        self._failing = _reason(error)
        return self._failing

    def _recover(self) -> None:
        self._failing, self._damage = None, None
        if self._forgetful is None:
            self._observer.logs_again(self._model)


def _state_of(damage: LogCorrupt) -> tuple[int, int]:
    """Return what changes when somebody mends a file: its size and when it was written to."""
    try:
        found = os.stat(damage.file)
    except OSError:
        return (0, 0)
    return found.st_size, found.st_mtime_ns


def _reason(error: OSError | LogCorrupt | OnlineStoreFull) -> str:
    """Return what is wrong, without the paths that a client has no business to know."""
    if isinstance(error, LogCorrupt):
        return "a record of it is damaged; the server's own log says where, and what to do"
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
