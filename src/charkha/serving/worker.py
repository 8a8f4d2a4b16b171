"""One serving process: its own home, partition and service, and the app that answers."""

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from charkha.clock import Clock
from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.follower import Follower
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.partition import claim_partition
from charkha.serving.protocols.described import Described
from charkha.serving.rsgi import RsgiApp
from charkha.serving.service import Service
from charkha.spec.project import Project, load_project
from charkha.storage.home import open_project

if TYPE_CHECKING:
    from charkha.serving.protocols.grpc_server import GrpcServer

# How long calls in progress may take when a worker ends.
DRAIN_SECONDS = 30
_SET_PARENT_DEATH_SIGNAL = 1


def load_worker(root: Path, clock: Clock, parent: int, notice: Path, grpc: str | None = None) -> RsgiApp:
    """Return the app of a worker of the project in `root`; called in the worker's own process, once.

    parent: the process id of the server, without which the worker ends too. notice: a file that is there while the
    server is about to end. grpc: the address to serve gRPC at, if it is to.
    """
    die_with(parent)
    return open_app(load_project(root), clock, notice.exists, grpc)


def open_app(
    project: Project, clock: Clock, ends: Callable[[], bool] = lambda: False, grpc: str | None = None
) -> RsgiApp:
    """Open the project's home and return the app that serves it; the app's end closes it. ends: of `build_router`.
    grpc: of `load_worker`.
    """
    home = open_project(project)
    claim = claim_partition(project.home / "serving")
    metrics = ServingMetrics()
    service = Service(project, home, clock, claim.name, metrics)
    service.refresh()
    follower = Follower(service)
    desk = Desk(service)
    router = build_router(service, metrics, clock, ends=ends, desk=desk)
    beside = None if grpc is None else _grpc_server(desk, metrics, ends, grpc)

    # What is there now stays: cycles are looked for among what calls leave behind, and seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

    def begin(loop: asyncio.AbstractEventLoop) -> None:
        follower.start()
        if beside is not None:
            beside.start(loop)

    def end(loop: asyncio.AbstractEventLoop) -> None:
        if beside is not None:
            beside.stop(loop, DRAIN_SECONDS)
        follower.stop()
        service.close()
        home.close()
        claim.release()

    return RsgiApp(router, begin, end)


def _grpc_server(desk: Desk, metrics: ServingMetrics, ends: Callable[[], bool], address: str) -> "GrpcServer":
    """Return the server of gRPC, whose library is loaded only where it is to serve."""
    from charkha.serving.protocols.grpc_server import GrpcServer
    from charkha.serving.protocols.grpc_service import InferenceService

    limits = Limits()
    return GrpcServer(
        InferenceService(desk, Described(desk.service, ends), limits, metrics), address, limits.body_bytes
    )


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies in whatever way: an orphan would go on answering at the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
