"""A call of gRPC from its head to its reply: asked for a key, traced, counted, and told in words why it failed.

Its message is received here, behind the key: the library would hold a call whose message does not come without end.
What is open to everybody has messages that say nothing, and is answered without them: so health is told whatever else
goes on.
"""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import grpc
from attrs import frozen

from charkha.serving.calls import Headers, Metadata, Reply, RequestHeaders
from charkha.serving.correlation import REQUEST_ID, request_id_of
from charkha.serving.deadline import Deadline
from charkha.serving.keyring import OPEN, Keyring, Need
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols.grpc_messages import Messages
from charkha.serving.refusals import shortened
from charkha.serving.router import told_of
from charkha.serving.slots import Slots
from charkha.serving.tracing import REQUEST_MARK, Traces
from charkha.spec.failures import ANY_FAILS

Context = grpc.aio.ServicerContext[bytes, bytes]
Method = Callable[[AsyncIterator[bytes], Context], Awaitable[bytes]]
Code = grpc.StatusCode

# So many calls of a worker may wait for their messages or be worked on; others are refused before they are read.
MOST_CALLS = 1024

# What a status of HTTP is called here; others of the client's fault are an INVALID_ARGUMENT.
_CODES: Mapping[int, grpc.StatusCode] = {
    200: Code.OK,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.FAILED_PRECONDITION,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


@frozen(eq=False)
class GrpcCall:
    """A call. message: as it came. metadata: names in lower case. deadline: until when its client waits."""

    message: bytes
    metadata: RequestHeaders
    deadline: Deadline


@frozen(eq=False)
class _Head:
    """What is there of a call before its message. read: waits for that."""

    metadata: RequestHeaders
    deadline: Deadline
    read: Callable[[], Awaitable[object]]


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


class Calls:
    """How the methods of a service are called. keyring: whose keys are asked for; None where everybody may everything.
    traces: None where nobody keeps them.
    """

    def __init__(
        self,
        service: str,
        metrics: ServingMetrics,
        messages: Messages,
        keyring: Keyring | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._service, self._metrics, self._messages = service, metrics, messages
        self._keyring, self._traces = keyring, traces
        self._slots = Slots(MOST_CALLS, "calls over gRPC")

    def method(self, name: str, need: Need, answer: Callable[[GrpcCall], Awaitable[Reply]]) -> Method:
        """Return a method as a server takes it, of a stream that has one message.

        need: what a call must show where keys are asked for.
        """
        route = f"/{self._service}/{name}"

        async def called(stream: AsyncIterator[bytes], context: Context) -> bytes:
            started = time.perf_counter()
            metadata, remaining = Metadata(context.invocation_metadata() or ()), context.time_remaining()
            head = _Head(metadata, Deadline.within(math.inf if remaining is None else remaining), context.read)
            outcome = await self._traced(name, need, answer, head)
            self._metrics.answered(route, outcome.status, time.perf_counter() - started)
            context.set_trailing_metadata(tuple(outcome.trailing))
            if outcome.code is not Code.OK:
                await context.abort(outcome.code, outcome.details)
            return outcome.message

        return called

    async def _traced(
        self, name: str, need: Need, answer: Callable[[GrpcCall], Awaitable[Reply]], head: _Head
    ) -> _Outcome:
        request_id = request_id_of(head.metadata)
        if self._traces is None:
            return await self._outcome(need, answer, head, request_id)
        asked = {"rpc.system": "grpc", "rpc.service": self._service, "rpc.method": name}
        with self._traces.call(f"{self._service}/{name}", head.metadata, asked) as tell:
            outcome = await self._outcome(need, answer, head, request_id)
            number: int = outcome.code.value[0]
            tell(outcome.status, {"rpc.grpc.status_code": number, REQUEST_MARK: request_id})
        return outcome

    async def _outcome(
        self, need: Need, answer: Callable[[GrpcCall], Awaitable[Reply]], head: _Head, request_id: str
    ) -> _Outcome:
        marked = (REQUEST_ID, request_id)
        try:
            if self._keyring is not None:
                self._keyring.admit(head.metadata, need)
            if need == OPEN:
                reply = await answer(GrpcCall(b"", head.metadata, head.deadline))
            else:
                with self._slots.slot():
                    message = await self._messages.receive(head.read)
                    reply = await answer(GrpcCall(message, head.metadata, head.deadline))
        except ANY_FAILS as error:
            status, refusal, headers = told_of(error, head.metadata, request_id)
            return _Outcome(status, b"", (*headers, marked), shortened(refusal.message))
        return _Outcome(reply.status, reply.body, (*reply.headers, marked))
