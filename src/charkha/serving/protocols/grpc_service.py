"""The Open Inference Protocol (V2) over gRPC: the methods, each from the bytes of its request to its response."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from charkha.serving.body import Limits
from charkha.serving.calls import Reply
from charkha.serving.desk import Asked, Desk
from charkha.serving.keyring import ANY_KEY, OPEN, Keyring, Need
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_calls import Calls, GrpcCall, Method
from charkha.serving.protocols.grpc_messages import Messages
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
from charkha.serving.refusals import Malformed
from charkha.serving.responses import Prediction
from charkha.serving.router import told_of
from charkha.serving.tracing import Traces
from charkha.spec.failures import ANY_FAILS

SERVICE = "inference.GRPCInferenceService"

Request = TypeVar("Request", bound=Message)
# What vitals count for a call whose client waited no more, and had set no deadline.
CLIENT_GONE = 499


class InferenceService:
    """The methods of the protocol, answered at the desk that all protocols share.

    keyring, traces: of its `Calls`.
    """

    def __init__(
        self,
        desk: Desk,
        described: Described,
        limits: Limits,
        metrics: ServingMetrics,
        keyring: Keyring | None = None,
        *,
        traces: Traces | None = None,
    ) -> None:
        self._desk, self._described, self._limits = desk, described, limits
        self._calls = Calls(SERVICE, metrics, Messages(limits), keyring, traces)

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
        handlers: dict[str, Any] = {name: grpc.stream_unary_rpc_method_handler(of) for name, of in methods.items()}
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _method(
        self, name: str, need: Need, kind: type[Request], answer: Callable[[Request, GrpcCall], Awaitable[Reply]]
    ) -> Method:
        async def answered(call: GrpcCall) -> Reply:
            return await answer(_message(kind, call.message), call)

        return self._calls.method(name, need, answered)

    async def server_live(self, request: ServerLiveRequest, call: GrpcCall) -> Reply:
        """Say that the process answers."""
        return _reply(ServerLiveResponse(live=True))

    async def server_ready(self, request: ServerReadyRequest, call: GrpcCall) -> Reply:
        """Say whether predictions are answered, and will be in a moment."""
        return _reply(ServerReadyResponse(ready=self._described.server_ready()))

    async def model_ready(self, request: ModelReadyRequest, call: GrpcCall) -> Reply:
        """Say whether a model answers, or a version of it does."""
        return _reply(ModelReadyResponse(ready=self._described.model_ready(request.name, request.version)))

    async def server_metadata(self, request: ServerMetadataRequest, call: GrpcCall) -> Reply:
        """Say who serves. The extension of binary tensors is one of HTTP."""
        server = self._described.server()
        return _reply(ServerMetadataResponse(name=server.name, version=server.version))

    async def model_metadata(self, request: ModelMetadataRequest, call: GrpcCall) -> Reply:
        """Say what a model takes and answers."""
        model = self._described.model(request.name, request.version)
        response = ModelMetadataResponse(name=model.name, versions=model.versions, platform=model.platform)
        for told, tensors in ((response.inputs, model.inputs), (response.outputs, model.outputs)):
            for tensor in tensors:
                told.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        return _reply(response)

    async def infer(self, request: ModelInferRequest, call: GrpcCall) -> Reply:
        """Predict."""
        name, status = request.model_name, 500
        try:
            self._described.require_only(name, request.model_version)
            self._desk.admit(name)
            read = partial(self._read, request)
            reply = await self._desk.reply(name, call.metadata, call.message, call.deadline, read=read, kind="grpc\0")
            status = reply.status
        except ANY_FAILS as error:
            status, _, _ = told_of(error, call.metadata, "")
            raise
        except asyncio.CancelledError:  # its client waits no more
            status = 504 if call.deadline.left_seconds <= 0 else CLIENT_GONE
            raise
        finally:
            self._desk.service.vitals.replied(name, status)
        return reply

    def _read(self, request: ModelInferRequest) -> Asked:
        name = request.model_name
        fields = self._desk.service.project.models[name].request_fields
        question = read_question(request, fields, self._limits.rows)

        def form(each: list[Prediction]) -> Reply:
            response = ModelInferResponse(model_name=name, model_version=version_of(each), id=question.id)
            tensors = list(output_tensors(each, question.outputs))
            return _reply(write_response(response, tensors, raw=bool(request.raw_input_contents)))

        return Asked(self._desk.requests[name].convert(rows_of(fields, question.tensors)), form)


def _reply(answer: Message) -> Reply:
    return Reply(200, answer.SerializeToString(), ())


def _message(kind: type[Request], request: bytes) -> Request:
    try:
        return kind.FromString(request)
    except DecodeError as error:
        raise Malformed(f"expected a message of {kind.DESCRIPTOR.full_name}, got other bytes: {error}") from None
