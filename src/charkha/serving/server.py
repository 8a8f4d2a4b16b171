"""`run`: a server of a project, with as many worker processes as wanted, until it is told to stop."""

import logging.config
import multiprocessing
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from charkha.clock import Clock, SystemClock
from charkha.features.feed import Feed
from charkha.serving.exposure import NoUsableKey, is_loopback
from charkha.serving.keys import usable_keys
from charkha.serving.logs import log_settings
from charkha.serving.metric_files import MetricFolder
from charkha.serving.metrics import MULTIPROCESS_FOLDER
from charkha.serving.once import make_room
from charkha.serving.supervised import Place
from charkha.serving.supervisor import Supervisor
from charkha.serving.taking import kept_at
from charkha.serving.tls import Tls, wrapped
from charkha.serving.worker import ANSWERED, END_SECONDS, GrpcPlace, load_worker
from charkha.spec.project import Project, take_project
from charkha.storage.home import open_project
from charkha.storage.online import OnlineStoreFull

# How many connections a worker holds, most of them idle; those beyond wait in the system's queue, of this length.
MOST_CONNECTIONS = 8192
BACKLOG = 4096
OWN_FILES = 256  # of a worker: logs, state, ledger
MEMORY_SECONDS = 10  # how often the memory of workers is looked at
# How long a connection may take to send the head of a request, and may be idle between two; how large a head may be.
HEAD_SECONDS = 30
HEAD_BYTES = 64 << 10
# A server that was just killed may still hold its port for a moment.
PORT_SECONDS = 2.0

_logger = logging.getLogger("charkha.serving")


class NoSuchAddress(Exception):
    """A host whose name or address cannot be listened at."""

    def __init__(self, host: str, reason: str) -> None:
        self.host = host
        super().__init__(
            f"expected an address of this machine to listen at, such as 127.0.0.1 or 0.0.0.0, got {host!r}: {reason}"
        )


class PortTaken(Exception):
    """Another process listens at the address."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__(
            f"expected a free port, but something listens at {host}:{port}. Stop it, or choose another port"
        )


class GrpcMissing(Exception):
    """gRPC is to be served, and its library is not there."""

    def __init__(self) -> None:
        super().__init__("expected grpcio to serve gRPC with, but it is not installed: pip install charkha[grpc]")


def run(
    project: Project,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    clock: Clock | None = None,
    *,
    drain_seconds: float = 0.0,
    worker_memory_mb: int | None = None,
    auth: bool = False,
    tls: Tls | None = None,
    grpc_port: int | None = None,
) -> None:
    """Serve a project until SIGTERM or Ctrl-C, which let the requests in progress end.

    Prints one line when requests are answered. project: as `load_project` returned it; it is read once more from its
    folder, and every worker loads what was read there until SIGHUP has it read again. port: 0 for any that is free.
    workers: processes; one per core that serving may use. drain_seconds: how long it goes on answering after SIGTERM,
    while `/readyz` answers 503, so that who balances loads looks elsewhere first. worker_memory_mb: a worker that holds
    more is replaced, its calls in progress ended first; None for no bound. auth: ask for API keys also where only this
    machine reaches the server; elsewhere they are always asked for. tls: as `load_tls` returned it. grpc_port: where
    the Open Inference Protocol is served over gRPC, with the same keys and the same certificate, 0 for any that is
    free; None for nowhere. Raises NoSuchAddress, PortTaken, GrpcMissing, NoUsableKey, DataError and UnusableLedger;
    exits with status 1 when workers cannot start.
    """
    clock = clock or SystemClock()
    project, taken = take_project(project.root)
    _require_own_address(host)
    auth = auth or not is_loopback(host)
    if auth:
        _require_usable_key(project, clock, host)
    port = port or _bound_port(host, 0)
    _wait_for_port(host, port)
    grpc = None if grpc_port is None else GrpcPlace(_grpc_address(host, grpc_port), tls)
    logging.config.dictConfig(log_settings())
    _prepare(project, clock)
    multiprocessing.set_start_method("spawn", force=True)  # threads of this process must not be forked into a worker
    metrics = MetricFolder()
    os.environ[MULTIPROCESS_FOLDER] = str(metrics.path)
    place = Place(metrics.path)
    notice = project.home / "serving" / f"draining-{port}"
    server = Supervisor(
        "charkha",
        host,
        port,
        interface=Interfaces.RSGI,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000, max_buffer_size=HEAD_BYTES),
        websockets=False,
        log_level=LogLevels.warning,
        log_dictconfig=log_settings(),
        respawn_failed_workers=True,
        workers_kill_timeout=END_SECONDS,
        drain_seconds=drain_seconds,
        root=project.root,
        taken=taken,
        kept_at=kept_at(project.home, project.ledger),
        place=place,
        notice=notice,
        replaced=metrics.fold,
        workers_max_rss=worker_memory_mb,
        rss_sample_interval=MEMORY_SECONDS,
        backlog=BACKLOG,
        backpressure=_most_connections(),
        ssl_cert=tls.certificate if tls else None,
        ssl_key=tls.key if tls else None,
    )
    grpc_at = None if grpc is None else grpc.address
    told = (list(project.models), host, port, workers, server.been_ready)
    ready = partial(_say_when_ready, *told, tls=tls is not None, grpc_at=grpc_at)
    threading.Thread(target=ready, name="charkha-ready", daemon=True).start()
    keyed = workers if auth else None
    loader = partial(load_worker, project.root, clock, os.getpid(), notice, keyed, grpc, place=place)
    try:
        with open_project(project):  # so that no worker is the first to open the ledger, which takes room on the disk
            server.serve(target_loader=loader, wrap_loader=False)  # type: ignore[arg-type]  # an RSGI target need be no function
    finally:
        metrics.remove()


def _require_usable_key(project: Project, clock: Clock, host: str) -> None:
    """Raise NoUsableKey where nobody could call a server that asks for keys."""
    with open_project(project) as home:
        if not usable_keys(home.ledger, clock.now()):
            raise NoUsableKey(host)


def _grpc_address(host: str, port: int) -> str:
    """Return where gRPC is to be served. Raises GrpcMissing and PortTaken."""
    if find_spec("grpc") is None or find_spec("google.protobuf") is None:
        raise GrpcMissing
    port = port or _bound_port(host, 0)
    _wait_for_port(host, port)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _prepare(project: Project, clock: Clock) -> None:
    """Bring the ledger's tables and the online state up to date, once for all workers.

    Where there is no room for that, but a state to go on with, workers do so; what is in new files waits.
    """
    with open_project(project) as home:
        feed = Feed(project.sources, project.views, home.log, home.online, clock)
        try:
            feed.follow(project.root)
            feed.materialise(project.root, clock.now())
        except (OSError, OnlineStoreFull) as error:
            if not feed.holds(project.views):
                raise
            _logger.error("the online state is as it was; what is in new files waits for the next start: %s", error)
    make_room(project.home / ANSWERED, clock)


def _most_connections() -> int:
    """Have the workers open as many files as the system allows; return how many connections each may hold."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, most - OWN_FILES))


def _wait_for_port(host: str, port: int) -> None:
    """Raise PortTaken when another server stays at the port: workers share a port, and would share it with that one."""
    deadline = time.monotonic() + PORT_SECONDS
    while not _is_free(host, port):
        if time.monotonic() > deadline:
            raise PortTaken(host, port)
        time.sleep(0.05)


def _require_own_address(host: str) -> None:
    try:
        _bound_port(host, 0)
    except OSError as error:
        raise NoSuchAddress(host, error.strerror or str(error)) from None


def _is_free(host: str, port: int) -> bool:
    try:
        _bound_port(host, port)
    except OSError:
        return False
    return True


def _bound_port(host: str, port: int) -> int:
    """Bind to an address and let it go again; return the port. Raises OSError when that cannot be."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return int(probe.getsockname()[1])


def _say_when_ready(
    models: Sequence[str],
    host: str,
    port: int,
    workers: int,
    tell: Callable[[], None],
    *,
    tls: bool,
    grpc_at: str | None,
) -> None:
    """Ask until the server answers, then print the line."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    while not _answers(reachable, port, tls=tls):
        time.sleep(0.02)
    tell()
    scheme = "https" if tls else "http"
    url = f"{scheme}://[{reachable}]:{port}" if ":" in reachable else f"{scheme}://{reachable}:{port}"
    plural = "" if workers == 1 else "s"
    beside = "" if grpc_at is None else f"; gRPC at {grpc_at}"
    said = f"charkha serves {', '.join(models)} at {url} with {workers} worker{plural}; docs at {url}/docs{beside}"
    print(said, flush=True)


def _answers(host: str, port: int, *, tls: bool) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5) as plain:
            connection = wrapped(plain) if tls else plain
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False
