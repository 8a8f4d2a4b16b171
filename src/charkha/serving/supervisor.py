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

from charkha.serving.dismissal import dismiss
from charkha.serving.listeners import Listeners, can_hand_over
from charkha.serving.respawns import Respawns
from charkha.serving.supervised import Place, Supervised, how_to_take_over
from charkha.spec.faults import DefinitionError
from charkha.spec.project import ProjectNotFound, take_project
from charkha.spec.texts import Taken

# How often the server looks at the definition, and at whose start is due.
LOOK_SECONDS = 0.5
# How long a worker may take until it serves, where another waits to be replaced by it.
START_SECONDS = 120.0

_logger = logging.getLogger("charkha.serving")


class Supervisor(MPServer):
    """Keeps the workers, all of which load the same definition.

    root: the project's folder. taken: its texts at the start; what is on the disk later is taken over at SIGHUP, if it
    is sound. place: where the server and its workers speak to each other. drain_seconds: how long it goes on answering
    after SIGTERM, while `/readyz` says that it is going; Ctrl-C and a second SIGTERM do not wait. notice: the file that
    tells the workers so, while it is there. replaced: is told the process ids of the workers whenever some were put in
    the place of others.
    """

    def __init__(
        self,
        *args: Any,
        root: Path,
        taken: Taken,
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
        self._root, self._taken, self._place = root, taken, place
        self._replaced = replaced
        self._drain_seconds, self._notice = drain_seconds, notice
        self._been_ready = False
        self._dead: list[WorkerProcess] = []
        self._due: dict[int, float] = {}
        self._respawns = Respawns()
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

    def _spawn_worker(  # type: ignore[override]  # as that of MPServer
        self, idx: int, target: Any, callback_loader: Any
    ) -> WorkerProcess:
        if self._listeners:
            (self._ssp, self._shd), self._sso = self._listeners.of(idx)
        loader = partial(callback_loader, taken=self._taken)
        worker: WorkerProcess = super()._spawn_worker(idx, target, loader)
        worker._watcher = partial(self._watched, worker)  # type: ignore[method-assign]
        worker.start = partial(_start_deaf, worker)  # type: ignore[method-assign]
        return worker

    def _watched(self, worker: WorkerProcess) -> None:
        worker.inner.join()
        if not worker.interrupt_by_parent:
            self._dead.append(worker)
            self.main_loop_interrupt.set()

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        while not self.interrupt_signal:
            self._tell()
            self.main_loop_interrupt.wait(LOOK_SECONDS)
            if self.interrupt_signal:
                break
            self.main_loop_interrupt.clear()
            for worker in self._newly_dead():
                self._note_death(worker)
            if self.interrupt_children:
                _logger.critical("workers cannot start: the server ends")
                break
            self._start_due(spawn_target, target_loader)
            if self.reload_signal:
                self._reload(spawn_target, target_loader)
            self._replace_those_who_ask(spawn_target, target_loader)
            if self.rss_signal:
                self.rss_signal = False
                self._handle_rss_signal(spawn_target, target_loader)
                self._watch_workers_rss()
            self._look_at_definition()

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

    def _start_due(self, spawn_target: Any, target_loader: Any) -> None:
        due = [place for place, at in self._due.items() if at <= time.monotonic()]
        for place in due:
            del self._due[place]
            self.wrks[place] = self._spawn_worker(place, spawn_target, target_loader)
            self.wrks[place].start()
            self._now = replace(self._now, restarts=self._now.restarts + 1)
        if due:
            self._fold()

    def _fold(self) -> None:
        with suppress(OSError):  # no room to fold in now: the next time
            self._replaced([worker.inner.pid for worker in self.wrks])

    def _tell(self) -> None:
        living = sum(worker.is_alive() for worker in self.wrks)
        self._now = replace(self._now, workers=living)
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
        before = self._taken
        try:
            _, self._taken = take_project(self._root)
        except (DefinitionError, ProjectNotFound, OSError, KeyError, ValueError) as error:
            self._refuse(str(error))
            return
        done: list[int] = []
        for place in range(self.workers):
            if refused := self._replace(place, spawn_target, target_loader):
                self._taken = before
                for each in done:
                    self._replace(each, spawn_target, target_loader)
                self._refuse(refused)
                return
            done.append(place)
        self._now = replace(self._now, refused=None, changed=())
        said = (before.digest, self._taken.digest, self.workers)
        _logger.info("the definition %s gave way to %s on all %d workers", *said)

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

    def _replace(self, place: int, spawn_target: Any, target_loader: Any) -> str | None:
        """Put another worker in the place of one, which ends when that one serves; return why it cannot, if so."""
        new = self._spawn_worker(place, spawn_target, target_loader)
        new.start()
        if refused := self._awaited(new):
            self._end(new)
            return refused
        old, self.wrks[place] = self.wrks[place], new
        self._due.pop(place, None)
        self._end(old)
        self._fold()
        return None

    def _awaited(self, worker: WorkerProcess) -> str | None:
        """Wait until a worker serves; return why it does not, or not as well as the ones before."""
        deadline = time.monotonic() + START_SECONDS
        while (started := self._place.started(worker.inner.pid)) is None:
            if not worker.is_alive():
                return f"a worker that loads it ended {_how(worker.inner.exitcode)}; the log has its own words"
            if self.interrupt_signal:
                return "the server ends"
            if time.monotonic() > deadline:
                return f"a worker that loads it did not serve within {START_SECONDS:.0f} s"
            time.sleep(0.02)
        if started.unanswered:
            return "; ".join(f"model {model}: {why}" for model, why in started.unanswered.items())
        return None

    def _stop_workers(self) -> None:
        self._end(*self.wrks)
        self.wrks.clear()

    def _end(self, *workers: WorkerProcess) -> None:
        dismiss(workers, self.workers_kill_timeout or 0)
        for worker in workers:
            self._place.forget(worker.inner.pid)


def _start_deaf(worker: WorkerProcess) -> None:
    """Start a worker that Ctrl-C does not reach, as it does all processes of a terminal: the server tells it to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        WorkerProcess.start(worker)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"by {signal.Signals(-exit_code).name}"
    return f"with status {exit_code}"
