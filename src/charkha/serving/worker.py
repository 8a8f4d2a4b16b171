"""One serving process: its own home, partition and service, and the app that answers."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from charkha.clock import Clock
from charkha.serving.follower import Follower
from charkha.serving.http import build_router
from charkha.serving.keyring import Keyring
from charkha.serving.metrics import ServingMetrics
from charkha.serving.once import Once
from charkha.serving.otel import OtelTraces, provider_of_environment
from charkha.serving.partition import claim_partition
from charkha.serving.rsgi import RsgiApp
from charkha.serving.service import Service
from charkha.serving.tracing import TracedRouter
from charkha.spec.project import Project, load_project
from charkha.storage.home import open_project

_SET_PARENT_DEATH_SIGNAL = 1


def load_worker(root: Path, clock: Clock, parent: int, notice: Path, key_workers: int | None = None) -> RsgiApp:
    """Return the app of a worker of the project in `root`; called in the worker's own process, once.

    parent: the process id of the server, without which the worker ends too. notice: a file that is there while the
    server is about to end. key_workers: as for `open_app`.
    """
    die_with(parent)
    return open_app(load_project(root), clock, key_workers, notice.exists)


def open_app(
    project: Project, clock: Clock, key_workers: int | None = None, ends: Callable[[], bool] = lambda: False
) -> RsgiApp:
    """Open the project's home and return the app that serves it; the app's end closes it.

    key_workers: how many workers share the rates of the keys that are asked for; None where none are. ends: of
    `build_router`.
    """
    home = open_project(project)
    claim = claim_partition(project.home / "serving")
    metrics = ServingMetrics()
    service = Service(project, home, clock, claim.name, metrics)
    service.refresh()
    keyring = None if key_workers is None else Keyring(home.ledger, clock, metrics, key_workers)
    if keyring is not None:
        keyring.refresh()
    followers = [Follower(followed) for followed in (service, keyring) if followed is not None]
    once = Once(service, clock, project.home / "serving" / "answered")
    provider = provider_of_environment()
    traces = None if provider is None else OtelTraces(provider, clock)

    # What is there now stays: cycles are looked for among what calls leave behind, and seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

    def begin() -> None:
        for follower in followers:
            follower.start()

    def end() -> None:
        for follower in followers:
            follower.stop()
        once.close()
        if traces is not None:
            traces.close()
        service.close()
        home.close()
        claim.release()

    router = build_router(service, metrics, clock, ends=ends, keyring=keyring, once=once, traces=traces)
    return RsgiApp(router if traces is None else TracedRouter(router, traces), begin, end)


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies in whatever way: an orphan would go on answering at the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
