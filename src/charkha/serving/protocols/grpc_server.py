"""The gRPC server of a worker, on the worker's own event loop. Workers share its port, as they share that of HTTP."""

import asyncio

import grpc

from charkha.serving.protocols.grpc_service import InferenceService
from charkha.serving.tls import Tls

# So many calls may be worked on or wait; others are refused before they are read.
MOST_CALLS = 1024


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
        options = [("grpc.max_receive_message_length", self._body_bytes), ("grpc.so_reuseport", 1)]
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MOST_CALLS)
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        if self._tls is None:
            self._server.add_insecure_port(self._address)
        else:
            self._server.add_secure_port(self._address, _credentials(self._tls))
        await self._server.start()


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials([(tls.key.read_bytes(), tls.certificate.read_bytes())])
