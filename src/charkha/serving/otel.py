"""Traces for OpenTelemetry, by its usual variables of the environment; nothing is loaded where they are not set."""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from charkha.clock import Clock
from charkha.serving.calls import RequestHeaders
from charkha.serving.correlation import TRACE_PARENT
from charkha.serving.observer import STAGES, Stages
from charkha.serving.tracing import Attributes, Tell

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_logger = logging.getLogger("charkha.serving")


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Say whether the environment asks for traces: an endpoint or the exporter is set, and nothing turns them off."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER")
    return exporter == "otlp" or (exporter is None and any(environment.get(name) for name in _ENDPOINTS))


def provider_of_environment() -> "TracerProvider | None":
    """Return what sends spans by OTLP over HTTP, None where nothing asks for it or `charkha[otel]` is not there."""
    if not is_wanted(os.environ):
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        _logger.warning("traces are asked for, and not sent: pip install 'charkha[otel]'")
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "charkha"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class OtelTraces:
    """Makes spans. What is sampled says the caller's `traceparent`, else the sampler of the provider."""

    def __init__(self, provider: "TracerProvider", clock: Clock) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace, self._clock = trace, clock
        self._provider, self._tracer = provider, provider.get_tracer("charkha.serving")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def call(self, name: str, headers: RequestHeaders, attributes: Attributes) -> Iterator[Tell]:
        """Open the span of a call; see `Traces.call`."""
        carried = {each: given for each in (TRACE_PARENT, "tracestate") if (given := headers.get(each))}
        with self._tracer.start_as_current_span(
            name,
            context=self._propagator.extract(carried),
            kind=self._trace.SpanKind.SERVER,
            attributes=dict(attributes),
        ) as span:
            yield partial(self._told, span)

    def current(self) -> "Span | None":
        """Return the span of the call in progress, if it is recorded."""
        span = self._trace.get_current_span()
        return span if span.is_recording() else None

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def batch(self, model: str, spans: "Sequence[Span]", stages: Stages) -> None:
        """Make the span of a batch, which the first of its calls brings forth, and its stages in all of its calls."""
        to_epoch = self._clock.now() * 1000 - time.perf_counter_ns()
        moments = [at + to_epoch for at in stages[1:]]  # how long it waited is before it was a batch
        link, first = self._trace.Link, spans[0]
        batch = self._child(
            first, f"batch {model}", moments[0], [link(other.get_span_context()) for other in spans[1:]]
        )
        batch.set_attribute("charkha.calls", len(spans))
        for call in spans:
            for stage, (began, ended) in zip(STAGES[1:], pairwise(moments), strict=True):
                self._child(call, stage, began, [link(batch.get_span_context())]).end(ended)
        batch.end(moments[-1])

    def _child(self, parent: "Span", name: str, began: int, links: Any) -> "Span":
        context = self._trace.set_span_in_context(parent)
        return self._tracer.start_span(name, context=context, links=links, start_time=began)

    def _told(self, span: "Span", status: int, attributes: Attributes) -> None:
        span.set_attributes(dict(attributes))
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)
