"""Calls over gRPC as spans: under the trace that their metadata name, with the stages of their batch."""

import asyncio
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving_project import Stage
from test_once_everywhere import request

from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.metrics import ServingMetrics
from charkha.serving.otel import OtelTraces
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_service import SERVICE, InferenceService

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("x-request-id", "order-1"))
UNSAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def service(stage: Stage, kept: InMemorySpanExporter) -> InferenceService:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traces = OtelTraces(provider, stage.clock)
    desk = Desk(stage.service, traces=traces)
    return InferenceService(desk, Described(desk.service, lambda: False), Limits(), ServingMetrics(), traces=traces)


def ask(service: InferenceService, *calls: tuple[str, bytes, Any]) -> list[dict[str, Any]]:
    """Return the trailing metadata of calls of methods, with their metadata, which come together."""

    async def asked(channel: Any, method: str, message: bytes, metadata: Any) -> dict[str, Any]:
        call = channel.unary_unary(f"/{SERVICE}/{method}")(message, metadata=metadata, timeout=10)
        return dict(await call.trailing_metadata())

    async def served() -> list[dict[str, Any]]:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((service.handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return list(await asyncio.gather(*(asked(channel, *call) for call in calls)))
        finally:
            await server.stop(None)

    return asyncio.run(served())


def named(kept: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in kept.get_finished_spans() if span.name == name]


def test_a_prediction_is_under_its_callers_span(service: InferenceService, kept: InMemorySpanExporter) -> None:
    (trailing,) = ask(service, ("ModelInfer", request(1.5), SAMPLED))
    ((call,), (batch,)) = named(kept, f"{SERVICE}/ModelInfer"), named(kept, "batch late_trip")
    assert call.parent is not None
    assert call.context is not None
    assert (f"{call.parent.trace_id:032x}", f"{call.parent.span_id:016x}") == (TRACE, SPAN)
    assert dict(call.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
        "charkha.request_id": "order-1",
    }
    assert trailing["x-request-id"] == "order-1"
    stages = [span for name in ("features", "model", "log") for span in named(kept, name)]
    assert [span.parent.span_id for span in stages if span.parent] == [call.context.span_id] * 3
    assert all([link.context for link in span.links] == [batch.context] for span in stages)


def test_what_the_caller_does_not_sample_is_not_kept(service: InferenceService, kept: InMemorySpanExporter) -> None:
    ask(service, ("ModelInfer", request(1.5), UNSAMPLED), ("ServerLive", b"", UNSAMPLED))
    assert kept.get_finished_spans() == ()


def test_a_refusal_is_no_error_of_the_servers_and_a_failure_is(
    service: InferenceService, stage: Stage, kept: InMemorySpanExporter
) -> None:
    ask(service, ("ModelInfer", b"\xff", SAMPLED))
    stage.service.line_ups()["late_trip"].champion.bundle.predictor._state = None  # type: ignore[attr-defined]
    ask(service, ("ModelInfer", request(1.5), SAMPLED))
    refused, failed = named(kept, f"{SERVICE}/ModelInfer")
    codes = [(span.attributes or {})["rpc.grpc.status_code"] for span in (refused, failed)]
    assert codes == [grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.INTERNAL.value[0]]
    assert (refused.status.is_ok, refused.events, failed.status.is_ok) == (True, (), False)
