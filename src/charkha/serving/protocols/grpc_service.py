"""The Open Inference Protocol (V2) over gRPC: the methods, each from the bytes of its request to its response."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from charkha.serving.body import Limits
from charkha.serving.correlation import REQUEST_ID, request_id_of
from charkha.serving.desk import Desk
from charkha.serving.keyring import ANY_KEY, OPEN, Keyring, Need
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_tensors import read_question, write_response
from charkha.serving.protocols.inference_messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveRequest,
    ServerLiveResponse,
    ServerMetadataRequest,
    ServerMetadataResponse,
    ServerReadyRequest,
    ServerReadyResponse,
)
from charkha.serving.protocols.tensors import output_tensors, rows_of, version_of
from charkha.serving.refusals import Malformed, shortened
from charkha.serving.router import told_of

SERVICE = "inference.GRPCInferenceService"

Asked = TypeVar("Asked", bound=Message)
Context = grpc.aio.ServicerContext[bytes, bytes]
Method = Callable[[bytes, Context], Awaitable[bytes]]
Code = grpc.StatusCode

# What a status of HTTP is called here; others of the client's fault are an INVALID_ARGUMENT.
_CODES: Mapping[int, grpc.StatusCode] = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.FAILED_PRECONDITION,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}


class InferenceService:
    """The methods of the protocol, answered at the desk that all protocols share.

    keyring: whose keys are asked for; None where everybody may everything.
    """

    def __init__(
        self,
        desk: Desk,
        described: Described,
        limits: Limits,
        metrics: ServingMetrics,
        keyring: Keyring | None = None,
    ) -> None:
        self._desk, self._described, self._limits, self._metrics = desk, described, limits, metrics
        self._keyring = keyring

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the methods as a server takes them; messages are read here, so that faults in them are told."""
        methods = {
            "ServerLive": self._method("ServerLive", OPEN, ServerLiveRequest, self.server_live),
            "ServerReady": self._method("ServerReady", OPEN, ServerReadyRequest, self.server_ready),
            "ModelReady": self._method("ModelReady", ANY_KEY, ModelReadyRequest, self.model_ready),
            "ServerMetadata": self._method("ServerMetadata", ANY_KEY, ServerMetadataRequest, self.server_metadata),
            "ModelMetadata": self._method("ModelMetadata", ANY_KEY, ModelMetadataRequest, self.model_metadata),
            "ModelInfer": self._method("ModelInfer", "predict", ModelInferRequest, self.infer),
        }
        handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(of) for name, of in methods.items()}
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _method(
        self, name: str, need: Need, kind: type[Asked], method: Callable[[Asked, float], Awaitable[Message]]
    ) -> Method:
        """Return a method that asks for a key, reads its request, is counted, and says in words why it failed."""
        route = f"/{SERVICE}/{name}"

        async def called(request: bytes, context: Context) -> bytes:
            started = time.perf_counter()
            status, model = 200, None
            shown = dict(context.invocation_metadata() or ())
            request_id = request_id_of(shown)
            marked = (REQUEST_ID, request_id)
            context.set_trailing_metadata((marked,))
            try:
                if self._keyring is not None:
                    self._keyring.admit(shown, need)
                remaining = context.time_remaining()
                asked = _message(kind, request)
                if isinstance(asked, ModelInferRequest):
                    model = asked.model_name
                answer = await method(asked, math.inf if remaining is None else remaining)
                return answer.SerializeToString()
            except Exception as error:
                status, refusal, headers = told_of(error, shown, request_id)
                context.set_trailing_metadata((*headers, marked))
                await context.abort(_CODES.get(status, Code.INVALID_ARGUMENT), shortened(refusal.message))
                raise
            finally:
                self._metrics.answered(route, status, time.perf_counter() - started)
                if model is not None:
                    self._desk.service.vitals.replied(model, status)

        return called

    async def server_live(self, request: ServerLiveRequest, timeout_seconds: float) -> ServerLiveResponse:
        """Say that the process answers."""
        return ServerLiveResponse(live=True)

    async def server_ready(self, request: ServerReadyRequest, timeout_seconds: float) -> ServerReadyResponse:
        """Say whether predictions are answered, and will be in a moment."""
        return ServerReadyResponse(ready=self._described.server_ready())

    async def model_ready(self, request: ModelReadyRequest, timeout_seconds: float) -> ModelReadyResponse:
        """Say whether a model answers, or a version of it does."""
        return ModelReadyResponse(ready=self._described.model_ready(request.name, request.version))

    async def server_metadata(self, request: ServerMetadataRequest, timeout_seconds: float) -> ServerMetadataResponse:
        """Say who serves. The extension of binary tensors is one of HTTP."""
        server = self._described.server()
        return ServerMetadataResponse(name=server.name, version=server.version)

    async def model_metadata(self, request: ModelMetadataRequest, timeout_seconds: float) -> ModelMetadataResponse:
        """Say what a model takes and answers."""
        model = self._described.model(request.name, request.version)
        response = ModelMetadataResponse(name=model.name, versions=model.versions, platform=model.platform)
        for told, tensors in ((response.inputs, model.inputs), (response.outputs, model.outputs)):
            for tensor in tensors:
                told.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return response

    async def infer(self, request: ModelInferRequest, timeout_seconds: float) -> ModelInferResponse:
        """Predict."""
        name = request.model_name
        self._described.require_only(name, request.model_version)
        self._desk.admit(name)
        fields = self._desk.service.project.models[name].request_fields
        question = read_question(request, fields, self._limits.rows)
        rows = self._desk.requests[name].convert(rows_of(fields, question.tensors))
        each = await self._desk.predictions(name, rows, timeout_seconds)
        response = ModelInferResponse(model_name=name, model_version=version_of(each), id=question.id)
        tensors = list(output_tensors(each, question.outputs))
        return write_response(response, tensors, raw=bool(request.raw_input_contents))


def _message(kind: type[Asked], request: bytes) -> Asked:
    try:
        return kind.FromString(request)
    except DecodeError as error:
        raise Malformed(f"expected a message of {kind.DESCRIPTOR.full_name}, got other bytes: {error}") from None
