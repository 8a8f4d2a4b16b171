"""One serving process: its own home, partition and service, and the app that answers."""

import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from charkha.clock import Clock
from charkha.serving.follower import Follower
from charkha.serving.http import build_app
from charkha.serving.metrics import ServingMetrics
from charkha.serving.partition import claim_partition
from charkha.serving.service import Service
from charkha.spec.project import Project, load_project
from charkha.storage.home import open_project

_SET_PARENT_DEATH_SIGNAL = 1


def load_worker(root: Path, clock: Clock, parent: int) -> Starlette:
    """Return the app of a worker of the project in `root`; called in the worker's own process, once.

    parent: the process id of the server, without which the worker ends too.
    """
    die_with(parent)
    return open_app(load_project(root), clock)


def open_app(project: Project, clock: Clock) -> Starlette:
    """Open the project's home and return the app that serves it; the app's shutdown closes it."""
    home = open_project(project)
    claim = claim_partition(project.home / "serving")
    metrics = ServingMetrics()
    service = Service(project, home, clock, claim.name, metrics)
    service.refresh()
    follower = Follower(service)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        follower.start()
        try:
            yield
        finally:
            follower.stop()
            service.close()
            home.close()
            claim.release()

    return build_app(service, metrics, clock, lifespan=lifespan)


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies in whatever way: an orphan would go on answering at the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
