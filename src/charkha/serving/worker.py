"""One serving process: its own home, partition and service, and the app that answers."""

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from charkha.clock import Clock
from charkha.serving.beside import InThreads
from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.ejection import Ejection
from charkha.serving.follower import Follower
from charkha.serving.http import build_router
from charkha.serving.keyring import Keyring
from charkha.serving.metrics import ServingMetrics
from charkha.serving.once import Once
from charkha.serving.orphans import die_with
from charkha.serving.otel import OtelTraces, provider_of_environment
from charkha.serving.partition import claim_partition
from charkha.serving.protocols.described import Described
from charkha.serving.rsgi import RsgiApp
from charkha.serving.service import Service
from charkha.serving.supervised import Place, Started
from charkha.serving.threads import WorkerThreads
from charkha.serving.tls import Tls
from charkha.serving.tracing import TracedRouter, Traces
from charkha.spec.faults import DefinitionError
from charkha.spec.project import Project, load_project
from charkha.spec.texts import Taken
from charkha.storage.home import open_project

if TYPE_CHECKING:
    from charkha.serving.protocols.grpc_server import GrpcServer

# How long calls in progress may take when a worker ends.
DRAIN_SECONDS = 30
# How long shadows may go on with what was answered.
SHADOW_SECONDS = 5
# How long a look at the ledger that is in progress is waited for.
LOOK_SECONDS = 5
# How long a worker may take to end, calls over HTTP, then over gRPC, and a closed log and all: whoever has not ended
# by then is killed.
END_SECONDS = 2 * DRAIN_SECONDS + SHADOW_SECONDS + LOOK_SECONDS + 5
_logger = logging.getLogger("charkha.serving")
ANSWERED = "serving/answered"  # where, in the home, answers to Idempotency-Keys are


@frozen
class GrpcPlace:
    """Where gRPC is served. address: host and port. tls: what the server proves itself with; None for plain text."""

    address: str
    tls: Tls | None = None


def load_worker(  # noqa: PLR0917
    root: Path,
    clock: Clock,
    parent: int,
    notice: Path,
    key_workers: int | None = None,
    grpc: GrpcPlace | None = None,
    *,
    place: Place,
    taken: Taken,
) -> RsgiApp:
    """Return the app of a worker of the project in `root`; called in the worker's own process, once.

    parent: the process id of the server, without which the worker ends too. notice: a file that is there while the
    server is about to end. key_workers, grpc, place: as for `open_app`. taken: the texts of the project that the server
    took. Ends the process with status 1 when it cannot, and says why in the log.
    """
    die_with(parent)
    try:
        return open_app(load_project(root, taken), clock, key_workers, notice.exists, grpc, place)
    except Exception as error:
        known = isinstance(error, DefinitionError)
        _logger.critical("this worker cannot start: %s: %s", type(error).__name__, error, exc_info=not known)
        sys.exit(1)


def open_app(  # noqa: PLR0917
    project: Project,
    clock: Clock,
    key_workers: int | None = None,
    ends: Callable[[], bool] = lambda: False,
    grpc: GrpcPlace | None = None,
    place: Place | None = None,
) -> RsgiApp:
    """Open the project's home and return the app that serves it; the app's end closes it.

    key_workers: how many workers share the rates of the keys that are asked for; None where none are. ends: of
    `build_router`. grpc: where to serve gRPC, if it is to. place: where the server is told that this worker can answer,
    and says how it is itself; None without a server.
    """
    home = open_project(project)
    claim = claim_partition(project.home / "serving")
    metrics = ServingMetrics()
    aside = InThreads()
    replica = f"{socket.gethostname()}/{claim.name}"
    steady_ns = time.monotonic_ns
    service = Service(project, home, clock, claim.name, metrics, beside=aside, replica=replica, steady_ns=steady_ns)
    service.refresh()
    keyring = None if key_workers is None else Keyring(home.ledger, clock, metrics, key_workers)
    if keyring is not None:
        keyring.refresh()
    # Without a server nobody would start another in its place.
    ejection = None if place is None else Ejection(home.ledger, replica, place.ask_to_be_replaced)
    followed_by = (service.kill_switch, service, service.vitals, keyring, metrics.rule_hits, ejection)
    followers = [Follower(followed) for followed in followed_by if followed is not None]
    once = Once(service, clock, project.home / ANSWERED)
    provider = provider_of_environment()
    traces = None if provider is None else OtelTraces(provider, clock)
    threads = WorkerThreads()
    desk = Desk(service, once=once, traces=traces, threads=threads)
    router = build_router(service, metrics, clock, ends=ends, keyring=keyring, desk=desk, place=place)
    beside = None if grpc is None else _grpc_server(desk, metrics, ends, keyring, grpc, traces=traces)

    # What is there now stays: cycles are looked for among what calls leave behind, and seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

    def begin(loop: asyncio.AbstractEventLoop) -> None:
        heed_early_signals(loop)
        for follower in followers:
            follower.start()
        if beside is not None:
            beside.start(loop)

    def end(loop: asyncio.AbstractEventLoop) -> None:
        if beside is not None:
            beside.stop(loop, DRAIN_SECONDS)
        threads.close()
        for follower in followers:
            follower.stop(LOOK_SECONDS / len(followers))
        metrics.rule_hits.refresh()
        once.close()
        if traces is not None:
            traces.close()
        aside.close(SHADOW_SECONDS)
        service.close()
        home.close()
        claim.release()

    if place is not None:
        place.tell_started(Started(service.standing.unanswered(), service.standing.answered()))
    return RsgiApp(router if traces is None else TracedRouter(router, traces), begin, end)


def _grpc_server(
    desk: Desk,
    metrics: ServingMetrics,
    ends: Callable[[], bool],
    keyring: Keyring | None,
    place: GrpcPlace,
    *,
    traces: Traces | None,
) -> "GrpcServer":
    """Return the server of gRPC, whose library is loaded only where it is to serve."""
    from charkha.serving.protocols.grpc_server import GrpcServer
    from charkha.serving.protocols.grpc_service import InferenceService

    limits = Limits()
    service = InferenceService(desk, Described(desk.service, ends), limits, metrics, keyring, traces=traces)
    return GrpcServer(service, place.address, limits.body_bytes, place.tls)


def heed_early_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop that does not run yet heed, when it does, the signals that have come by then.

    uvloop looks at those only when another one wakes it: without this a worker that is told to end as it begins hangs.
    """
    signal.signal(signal.SIGCONT, lambda number, frame: None)
    loop.call_soon(signal.raise_signal, signal.SIGCONT)
