"""Granian's server with ways of its own: what workers load is settled at its start, and they are replaced for ever."""

# Granian has no types there.
# mypy: disable-error-code="no-untyped-call"

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from granian.server.mp import MPServer, WorkerProcess
from msgspec.structs import replace

from charkha.serving.dismissal import Dismissals
from charkha.serving.listeners import Listeners, can_hand_over
from charkha.serving.respawns import Respawns
from charkha.serving.supervised import Place, Supervised, how_to_take_over
from charkha.serving.taking import NotTaken, start_deaf, take_beside
from charkha.spec.texts import Taken

# How often the server looks at the definition, and at whose start is due.
LOOK_SECONDS = 0.5
# How long a worker may take until it serves, where another waits to be replaced by it.
START_SECONDS = 120.0
# When workers that could not be started, or not be given the definition of the others, are tried again.
AGAIN_SECONDS = 10.0
_DIED = "the worker before it died"

_logger = logging.getLogger("charkha.serving")


class Supervisor(MPServer):
    """Keeps the workers, all of which load the same definition.

    root: the project's folder. taken: its texts at the start; what is on the disk later is taken over at SIGHUP, if it
    is sound. kept_at: what `taking.kept_at` says of the project, and must go on saying. place: where the server and its
    workers speak to each other. drain_seconds: how long it goes on answering after SIGTERM, while `/readyz` says that
    it is going; Ctrl-C and a second SIGTERM do not wait. notice: the file that tells the workers so, while it is there.
    replaced: is told the process ids of the workers whenever some were put in the place of others.
    """

    def __init__(
        self,
        *args: Any,
        root: Path,
        taken: Taken,
        kept_at: str,
        place: Place,
        drain_seconds: float,
        notice: Path,
        replaced: Callable[[Collection[int]], None],
        **options: Any,
    ) -> None:
        self._ssp: Any  # sockets, of various kinds
        self._shd: Any
        self._sso: Any
        super().__init__(*args, **options)
        self._root, self._taken, self._kept_at, self._place = root, taken, kept_at, place
        self._replaced = replaced
        self._drain_seconds, self._notice = drain_seconds, notice
        self._been_ready = False
        self._dead: list[WorkerProcess] = []
        self._due: dict[int, float] = {}
        self._respawns = Respawns()
        self._loads: dict[int, Taken] = {}  # by place, what its worker loads
        self._gather_from = 0.0
        self._awaiting: WorkerProcess | None = None
        self._leaving = Dismissals(self.workers_kill_timeout or 0, lambda worker: place.forget(worker.inner.pid))
        self._now = Supervised(os.getpid(), self.workers, self.workers)
        self._listeners: Listeners | None = None
        notice.unlink(missing_ok=True)

    def been_ready(self) -> None:
        """Note that the workers have answered: whatever ends one from now on is no fault of its start."""
        self._been_ready = True

    def signal_handler_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Begin to end: at once, or after the drain."""
        if number == signal.SIGTERM and self._drain_seconds > 0 and not self._notice.exists():
            self._notice.touch()
            end = threading.Timer(self._drain_seconds, super().signal_handler_interrupt)
            end.daemon = True
            end.start()
        else:
            super().signal_handler_interrupt()

    def shutdown(self, exit_code: int = 0) -> None:
        """End the workers, which let their calls in progress end."""
        try:
            super().shutdown(exit_code)
        finally:
            self._notice.unlink(missing_ok=True)

    def _init_shared_socket(self) -> None:
        super()._init_shared_socket()
        if can_hand_over():
            self._listeners = Listeners(self._ssp)

    def _drop_shared_socket(self) -> None:
        super()._drop_shared_socket()
        if self._listeners:
            self._listeners.close_all()

    def _spawn_worker(  # as that of MPServer, with more
        self, idx: int, target: Any, callback_loader: Any, taken: Taken | None = None
    ) -> WorkerProcess:
        """Return a worker that is to load `taken`, or what is settled."""
        if self._listeners:
            (self._ssp, self._shd), self._sso = self._listeners.of(idx)
        taken = taken or self._taken
        worker: WorkerProcess = super()._spawn_worker(idx, target, partial(callback_loader, taken=taken))
        worker._watcher = partial(self._watched, worker)  # type: ignore[method-assign]
        worker.start = partial(start_deaf, partial(WorkerProcess.start, worker))  # type: ignore[method-assign]
        return worker

    def _watched(self, worker: WorkerProcess) -> None:
        worker.inner.join()
        if not worker.interrupt_by_parent:
            self._dead.append(worker)
            self.main_loop_interrupt.set()

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        self._loads = dict.fromkeys(range(self.workers), self._taken)
        try:
            while not self.interrupt_signal and not self.interrupt_children:
                self.main_loop_interrupt.wait(LOOK_SECONDS)
                self.main_loop_interrupt.clear()
                if not self.interrupt_signal:
                    self._look(spawn_target, target_loader)
        except Exception:
            self.interrupt_children.append(-1)  # the status says that it did not end well
            _logger.critical("the server ends, and its workers with it", exc_info=True)

    def _look(self, spawn_target: Any, target_loader: Any) -> None:
        """Look once at all that is to be seen to."""
        self._attend(spawn_target, target_loader)
        if self.interrupt_children:
            _logger.critical("workers cannot start: the server ends")
            return
        if self._astray() and time.monotonic() >= self._gather_from:
            self._gather(spawn_target, target_loader)
        if self.reload_signal:
            self._reload(spawn_target, target_loader)
        self._replace_those_who_ask(spawn_target, target_loader)
        if self.rss_signal:
            self.rss_signal = False
            self._handle_rss_signal(spawn_target, target_loader)
            self._watch_workers_rss()
        self._look_at_definition()

    def _attend(self, spawn_target: Any, target_loader: Any, but: int | None = None) -> None:
        """See to what cannot wait: workers that died or are due to start, and those that have ended as they were told.

        but: the place for which a worker is starting already.
        """
        for worker in self._newly_dead():
            self._note_death(worker)
        self._start_due(spawn_target, target_loader, but)
        if self._leaving.ended():
            self._fold()
        self._tell()

    def _newly_dead(self) -> list[WorkerProcess]:
        dead, self._dead = self._dead, []
        return [worker for worker in dead if worker in self.wrks]

    def _note_death(self, worker: WorkerProcess) -> None:
        """Say how a worker died, and when the next one starts; two early deaths before any answered end the server."""
        pid, lived = worker.inner.pid, time.monotonic() - worker.birth
        served = self._place.started(pid) is not None
        self._place.forget(pid)
        if self._listeners:
            self._listeners.close(worker.idx)
        killed = served and worker.inner.exitcode == -signal.SIGKILL
        seconds = self._respawns.died(worker.idx, lived, from_outside=killed)
        if not self._been_ready:
            seconds = 0.0
            if self._respawns.early[worker.idx] > 1:
                self.interrupt_children.append(worker.idx)
        self._due[worker.idx] = time.monotonic() + seconds
        when = f"in {seconds:.0f} s" if seconds else "at once"
        said = (worker.idx + 1, pid, _how(worker.inner.exitcode), lived, when)
        _logger.error("worker %d (process %d) ended %s, %.1f s after its start; another starts %s", *said)

    def _start_due(self, spawn_target: Any, target_loader: Any, but: int | None) -> None:
        due = [place for place, at in self._due.items() if at <= time.monotonic() and place != but]
        for place in due:
            try:
                worker = self._spawn_worker(place, spawn_target, target_loader)
                worker.start()
            except OSError as error:
                self._due[place] = time.monotonic() + AGAIN_SECONDS
                _logger.error("worker %d cannot be started now, trying again: %s", place + 1, error)
                continue
            del self._due[place]
            self.wrks[place], self._loads[place] = worker, self._taken
            self._now = replace(self._now, restarts=self._now.restarts + 1)
        if due:
            self._fold()

    def _fold(self) -> None:
        counting = [*self.wrks, *self._leaving.workers(), *([self._awaiting] if self._awaiting else [])]
        with suppress(OSError):  # no room to fold in now: the next time
            self._replaced([worker.inner.pid for worker in counting])

    def _tell(self) -> None:
        living = sum(worker.is_alive() for worker in self.wrks)
        self._now = replace(self._now, workers=living, astray=len(self._astray()))
        self._place.tell(self._now)

    def _look_at_definition(self) -> None:
        changed = tuple(file.name for file in self._taken.changed())
        if changed == self._now.changed:
            return
        self._now = replace(self._now, changed=changed, refused=None)
        if changed:
            _logger.warning("%s changed on the disk; %s", ", ".join(changed), how_to_take_over(self._now.pid))
        else:
            _logger.info("the definition on the disk is again the one that serves")

    def _reload(self, spawn_target: Any, target_loader: Any) -> None:
        """Take the definition over as it is on the disk, if it is sound and each deployed model can answer by it."""
        self.reload_signal = False
        wait = self._waiting(partial(self._attend, spawn_target, target_loader))
        try:
            taken = take_beside(self._root, self._kept_at, wait)
        except NotTaken as error:
            self._refuse(str(error))
            return
        for place in range(self.workers):
            if refused := self._replace(place, spawn_target, target_loader, taken):
                self._refuse(refused)
                break
        else:
            before, self._taken = self._taken, taken
            self._now = replace(self._now, refused=None, changed=())
            said = (before.digest, taken.digest, self.workers)
            _logger.info("the definition %s gave way to %s on all %d workers", *said)
        self._gather(spawn_target, target_loader)

    def _astray(self) -> list[int]:
        """Return the places whose workers load another definition than the one that is settled."""
        return [place for place, taken in self._loads.items() if taken is not self._taken]

    def _gather(self, spawn_target: Any, target_loader: Any) -> None:
        """Give all workers the definition that is settled; those for which that fails are tried again a while later."""
        for place in self._astray():
            if refused := self._replace(place, spawn_target, target_loader):
                _logger.error("worker %d still answers by another definition, trying again: %s", place + 1, refused)
        self._gather_from = time.monotonic() + AGAIN_SECONDS

    def _refuse(self, why: str) -> None:
        changed = tuple(file.name for file in self._taken.changed())
        self._now = replace(self._now, refused=why, changed=changed)
        _logger.error("the reload was refused, and the definition before goes on: %s", why)

    def _respawn_workers(self, workers: Sequence[int], spawn_target: Any, target_loader: Any, delay: float = 0) -> None:
        for place in workers:
            if refused := self._replace(place, spawn_target, target_loader):
                _logger.error("worker %d goes on: %s", place + 1, refused)

    def _replace_those_who_ask(self, spawn_target: Any, target_loader: Any) -> None:
        asked = [place for place, worker in enumerate(self.wrks) if self._place.takes_leave(worker.inner.pid)]
        if asked:
            self._respawn_workers([place for place in asked if place not in self._due], spawn_target, target_loader)

    def _replace(self, place: int, spawn_target: Any, target_loader: Any, taken: Taken | None = None) -> str | None:
        """Put another worker in the place of one, which ends when that one serves; return why it cannot, if so.

        Where the one before dies meanwhile, another one is begun with: who waits at the socket of the dead is told so.
        """
        taken, attend = taken or self._taken, partial(self._attend, spawn_target, target_loader, place)
        refused: str | None = _DIED
        while refused == _DIED:
            try:
                new = self._spawn_worker(place, spawn_target, target_loader, taken)
                new.start()
            except OSError as error:
                return f"no worker could be started that loads it: {error}"
            self._awaiting = new
            refused = self._awaited(new, attend, None if place in self._due else place)
            self._awaiting = None
            if refused:
                self._leaving.begin(new)
        if refused:
            return refused
        old, self.wrks[place], self._loads[place] = self.wrks[place], new, taken
        self._due.pop(place, None)
        self._leaving.begin(old)
        return None

    def _waiting(self, attend: Callable[[], None]) -> Callable[[float], bool]:
        """Return what waits so many seconds and sees to all else, and says whether to go on: not for ever."""
        deadline = time.monotonic() + START_SECONDS

        def wait(seconds: float) -> bool:
            attend()
            time.sleep(seconds)
            return not self.interrupt_signal and not self.interrupt_children and time.monotonic() < deadline

        return wait

    def _awaited(self, worker: WorkerProcess, attend: Callable[[], None], alive: int | None) -> str | None:
        """Wait until a worker serves; return why it does not, or not as well as the ones before.

        alive: the place that another one holds as long; None where that is dead.
        """
        wait = self._waiting(attend)
        while (started := self._place.started(worker.inner.pid)) is None:
            if not worker.is_alive():
                return f"a worker that loads it ended {_how(worker.inner.exitcode)}; the log has its own words"
            if alive in self._due:
                return _DIED
            if not wait(0.02):
                return "a worker that loads it did not serve in time"
        if started.unanswered:
            return "; ".join(f"model {model}: {why}" for model, why in started.unanswered.items())
        if lost := sorted(self._answered() - {*started.answered}):
            return f"{' and '.join(lost)}: deployed, and not in it. To take a model away, restart the server"
        return None

    def _answered(self) -> set[str]:
        """Return the models for which workers answer now."""
        told = [self._place.started(worker.inner.pid) for worker in self.wrks]
        return {model for started in told if started for model in started.answered}

    def _stop_workers(self) -> None:
        for worker in self.wrks:
            self._leaving.begin(worker)
        self._leaving.wait()
        self.wrks.clear()


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"by {signal.Signals(-exit_code).name}"
    return f"with status {exit_code}"
