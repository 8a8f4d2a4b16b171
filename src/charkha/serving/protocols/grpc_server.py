"""The gRPC server of a worker, on the worker's own event loop. Workers share its port, as they share that of HTTP."""

import asyncio

import grpc

from charkha.serving.protocols.grpc_service import InferenceService
from charkha.serving.tls import Tls
from charkha.serving.under_way import SMALL_BYTES

# Of one connection; a client's library has others wait at its side.
MOST_STREAMS = 256
# What may come of a message before it is waited for; not counted, as small bodies of HTTP are not.
AHEAD_BYTES = SMALL_BYTES
# How long a connection may take to be one, and may be without calls; when its peer is asked whether it is there, and
# how long that may take; how old it gets, so that clients spread over the workers anew, and how long its calls go on.
HANDSHAKE_SECONDS = 30
IDLE_SECONDS = 300
ALIVE_SECONDS, ALIVE_ANSWER_SECONDS = 60, 20
AGE_SECONDS, AGE_GRACE_SECONDS = 1800, 60


class GrpcServer:
    """Serves from `start` to `stop`. address: host and port. body_bytes: of one message. tls: None for plain text."""

    def __init__(self, service: InferenceService, address: str, body_bytes: int, tls: Tls | None = None) -> None:
        self._service, self._address, self._body_bytes, self._tls = service, address, body_bytes, tls
        self._server: grpc.aio.Server | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer; the loop must not be running. Raises RuntimeError when the address cannot be bound."""
        loop.run_until_complete(self._start())

    def stop(self, loop: asyncio.AbstractEventLoop, grace_seconds: float) -> None:
        """Let the calls in progress end, for so long at most; the loop must not be running."""
        if self._server is not None:
            loop.run_until_complete(self._server.stop(grace_seconds))

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=options_of(self._body_bytes))
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        if self._tls is None:
            self._server.add_insecure_port(self._address)
        else:
            self._server.add_secure_port(self._address, _credentials(self._tls))
        await self._server.start()


def options_of(body_bytes: int) -> list[tuple[str, int]]:
    """Return what the library is told to bound. body_bytes: of one message."""
    return [
        ("grpc.max_receive_message_length", body_bytes),
        ("grpc.so_reuseport", 1),
        ("grpc.max_concurrent_streams", MOST_STREAMS),
        ("grpc.http2.lookahead_bytes", AHEAD_BYTES),
        ("grpc.http2.bdp_probe", 0),  # which lets more come ahead
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_SECONDS * 1000),
        ("grpc.max_connection_idle_ms", IDLE_SECONDS * 1000),
        ("grpc.keepalive_time_ms", ALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", ALIVE_ANSWER_SECONDS * 1000),
        ("grpc.max_connection_age_ms", AGE_SECONDS * 1000),
        ("grpc.max_connection_age_grace_ms", AGE_GRACE_SECONDS * 1000),
    ]


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials([(tls.key.read_bytes(), tls.certificate.read_bytes())])
