"""A call of gRPC from its bytes to its reply: asked for a key, traced, counted, and told in words why it failed."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping

import grpc
from attrs import frozen

from charkha.serving.calls import Headers, Reply, RequestHeaders
from charkha.serving.correlation import REQUEST_ID, request_id_of
from charkha.serving.keyring import Keyring, Need
from charkha.serving.metrics import ServingMetrics
from charkha.serving.refusals import shortened
from charkha.serving.router import told_of
from charkha.serving.tracing import REQUEST_MARK, Traces
from charkha.spec.failures import ANY_FAILS

Context = grpc.aio.ServicerContext[bytes, bytes]
Method = Callable[[bytes, Context], Awaitable[bytes]]
Code = grpc.StatusCode

# What a status of HTTP is called here; others of the client's fault are an INVALID_ARGUMENT.
_CODES: Mapping[int, grpc.StatusCode] = {
    200: Code.OK,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.FAILED_PRECONDITION,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


@frozen(eq=False)
class GrpcCall:
    """A call. message: as it came. metadata: names in lower case. timeout_seconds: how long its client waits."""

    message: bytes
    metadata: RequestHeaders
    timeout_seconds: float


@frozen(eq=False)
class _Outcome:
    """What came of a call. status: that HTTP has for it. trailing: metadata. details: why it failed, if it did."""

    status: int
    message: bytes
    trailing: Headers
    details: str = ""

    @property
    def code(self) -> grpc.StatusCode:
        """The status, as gRPC has it."""
        return _CODES.get(self.status, Code.INVALID_ARGUMENT)


@frozen(eq=False)
class Calls:
    """How the methods of a service are called. keyring: whose keys are asked for; None where everybody may everything.
    traces: None where nobody keeps them.
    """

    service: str
    metrics: ServingMetrics
    keyring: Keyring | None = None
    traces: Traces | None = None

    def method(self, name: str, need: Need, answer: Callable[[GrpcCall], Awaitable[Reply]]) -> Method:
        """Return a method as a server takes it. need: what a call must show where keys are asked for."""
        route = f"/{self.service}/{name}"

        async def called(message: bytes, context: Context) -> bytes:
            started = time.perf_counter()
            metadata, remaining = dict(context.invocation_metadata() or ()), context.time_remaining()
            call = GrpcCall(message, metadata, math.inf if remaining is None else remaining)
            outcome = await self._traced(name, need, answer, call)
            self.metrics.answered(route, outcome.status, time.perf_counter() - started)
            context.set_trailing_metadata(tuple(outcome.trailing))
            if outcome.code is not Code.OK:
                await context.abort(outcome.code, outcome.details)
            return outcome.message

        return called

    async def _traced(
        self, name: str, need: Need, answer: Callable[[GrpcCall], Awaitable[Reply]], call: GrpcCall
    ) -> _Outcome:
        request_id = request_id_of(call.metadata)
        if self.traces is None:
            return await self._outcome(need, answer, call, request_id)
        asked = {"rpc.system": "grpc", "rpc.service": self.service, "rpc.method": name}
        with self.traces.call(f"{self.service}/{name}", call.metadata, asked) as tell:
            outcome = await self._outcome(need, answer, call, request_id)
            number: int = outcome.code.value[0]
            tell(outcome.status, {"rpc.grpc.status_code": number, REQUEST_MARK: request_id})
        return outcome

    async def _outcome(
        self, need: Need, answer: Callable[[GrpcCall], Awaitable[Reply]], call: GrpcCall, request_id: str
    ) -> _Outcome:
        marked = (REQUEST_ID, request_id)
        try:
            if self.keyring is not None:
                self.keyring.admit(call.metadata, need)
            reply = await answer(call)
        except ANY_FAILS as error:
            status, refusal, headers = told_of(error, call.metadata, request_id)
            return _Outcome(status, b"", (*headers, marked), shortened(refusal.message))
        return _Outcome(reply.status, reply.body, (*reply.headers, marked))
