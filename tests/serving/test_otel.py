"""Calls as spans: under their caller's, sampled as it says, with the stages of their batch."""

import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from app_client import AppClient, app_client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from server_process import server
from serving_project import NOW_US, Stage

from charkha.serving.desk import Desk
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.otel import OtelTraces, is_wanted, provider_of_environment
from charkha.serving.tracing import TracedRouter
from charkha.spec.project import Project

PREDICT = "/v1/models/late_trip/predict"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def client(stage: Stage, kept: InMemorySpanExporter) -> Iterator[AppClient]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traces = OtelTraces(provider, stage.clock)
    desk = Desk(stage.service, traces=traces)
    router = build_router(stage.service, ServingMetrics(), stage.clock, desk=desk)
    with app_client(TracedRouter(router, traces)) as opened:
        yield opened
    traces.close()


def named(kept: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in kept.get_finished_spans() if span.name == name]


def test_a_prediction_has_the_stages_of_its_batch(client: AppClient, kept: InMemorySpanExporter) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "order-1"}
    client.post(PREDICT, json=ROW, headers=headers)
    (call,), (batch,) = named(kept, "POST /v1/models/{model}/predict"), named(kept, "batch late_trip")
    assert call.parent is not None
    assert f"{call.parent.trace_id:032x}" == TRACE
    assert f"{call.parent.span_id:016x}" == SPAN
    assert call.attributes is not None
    assert (call.attributes["http.response.status_code"], call.attributes["charkha.request_id"]) == (200, "order-1")
    stages = [span for name in ("features", "model", "log") for span in named(kept, name)]
    assert len(stages) == 3
    for span in stages:
        assert span.parent is not None
        assert span.context is not None
        assert call.context is not None
        assert span.parent.span_id == call.context.span_id
        assert [link.context for link in span.links] == [batch.context]
    times = [at for span in stages for at in (span.start_time or 0, span.end_time or 0)]
    assert times == sorted(times)
    assert abs(times[-1] - NOW_US * 1000) < 60 * 10**9


def test_calls_that_come_together_share_a_batch(client: AppClient, kept: InMemorySpanExporter) -> None:
    client.together(ROW, ROW, ROW, path=PREDICT)
    (batch,) = named(kept, "batch late_trip")
    assert len(batch.links) == 2
    assert len(named(kept, "model")) == 3


def test_what_the_caller_does_not_sample_is_not_kept(client: AppClient, kept: InMemorySpanExporter) -> None:
    client.post(PREDICT, json=ROW, headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert kept.get_finished_spans() == ()


def test_a_failure_and_a_strange_path_are_told(client: AppClient, stage: Stage, kept: InMemorySpanExporter) -> None:
    stage.service.line_ups()["late_trip"].champion.bundle.predictor._state = None  # type: ignore[attr-defined]
    client.post(PREDICT, json=ROW)
    client.get("/nowhere/4711")
    failed, nowhere = kept.get_finished_spans()
    assert not failed.status.is_ok
    assert (nowhere.name, nowhere.status.is_ok) == ("GET none", True)


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_environment_asks_for_traces(environment: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environment) == wanted
    assert wanted or not any(name.startswith("OTEL") for name in os.environ) or provider_of_environment() is None


class Collector(BaseHTTPRequestHandler):
    """Keeps the names of the spans that it is sent."""

    found: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest()
        sent.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
        spans = [span.name for each in sent.resource_spans for scope in each.scope_spans for span in scope.spans]
        self.found.extend(spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_sends_its_spans(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with server(project.root) as running:
            assert httpx.post(f"http://127.0.0.1:{running.port}{PREDICT}", json=ROW).status_code == 200
            patience = time.monotonic() + 20
            while "batch late_trip" not in Collector.found:
                assert time.monotonic() < patience
                time.sleep(0.02)
        collector.shutdown()
    assert {"features", "model", "log", "POST /v1/models/{model}/predict"} <= set(Collector.found)
