"""The HTTP face of the service: reads a body, calls the service, writes what it says. No logic of its own.

Predictions are made on the event loop. Each is about half a millisecond of Python that holds the interpreter's lock, so
a thread could not make it any sooner: handing it over cost a fifth of the throughput when it was measured. Only what
may wait (events, for the online store's one writer) or takes long (many rows) goes to a thread.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from charkha.clock import Clock
from charkha.features.kept import UnknownSource
from charkha.features.plain_rows import NotPushable
from charkha.features.quarantine import BatchBreaksContract
from charkha.serving.body import Limits, read_body
from charkha.serving.contracts import events_refused, request_check
from charkha.serving.docs_page import docs_page
from charkha.serving.metrics import CONTENT_TYPE, Current, ServingMetrics
from charkha.serving.openapi import Schemas, openapi_document
from charkha.serving.refusals import Refusal, Refused, body_of
from charkha.serving.responses import (
    Health,
    LabelsTaken,
    Models,
    Predictions,
    Ready,
    ServedModel,
    ServedVersion,
    events_taken,
    predictions,
)
from charkha.serving.schemas import RowSchema, event_schema, label_schema, request_frame, request_schema
from charkha.serving.service import NoChampion, Service, UnknownModel
from charkha.spec.model import Model

# Above so many rows a call is worth a hand-over to a thread, so that others are not held up.
MANY_ROWS = 64
RETRY_SECONDS = "5"

Endpoint = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

_logger = logging.getLogger("charkha.serving")
_json = msgspec.json.Encoder()
_DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def build_app(
    service: Service,
    metrics: ServingMetrics,
    clock: Clock,
    *,
    limits: Limits | None = None,
    lifespan: Lifespan | None = None,
) -> Starlette:
    """Return the ASGI app of a service. metrics: the service's observer. lifespan: what is run around serving."""
    metrics.registry.register(Current(service, clock))
    api = Api(service, metrics, limits or Limits())
    get: Mapping[str, Endpoint] = {
        "/v1/models": api.models,
        "/healthz": api.healthz,
        "/readyz": api.readyz,
        "/metrics": api.metrics,
        "/openapi.json": api.openapi,
        "/docs": api.docs,
    }
    post: Mapping[str, Endpoint] = {
        "/v1/models/{model}/predict": api.predict,
        "/v1/models/{model}/labels": api.labels,
        "/v1/sources/{source}/events": api.events,
    }
    routes = [Route(path, _watched(end, path, metrics), methods=["GET"]) for path, end in get.items()]
    routes += [Route(path, _watched(end, path, metrics), methods=["POST"]) for path, end in post.items()]
    no_route = partial(_no_route, metrics)
    app = Starlette(routes=routes, exception_handlers={HTTPException: no_route}, lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


class Api:
    """The routes. Each raises what it cannot do; `_refused` says what the client is told."""

    def __init__(self, service: Service, metrics: ServingMetrics, limits: Limits) -> None:
        project = service.project
        models, sources = project.models, project.sources
        self._service = service
        self._metrics = metrics
        self._limits = limits
        self._schemas = Schemas(
            {name: request_schema(model, limits.rows) for name, model in models.items()},
            {name: event_schema(source, limits.rows) for name, source in sources.items()},
            {name: label_schema(model, limits.rows) for name, model in models.items()},
        )
        self._checks = {name: request_check(model) for name, model in models.items()}
        self._document = openapi_document(project, self._schemas)

    async def predict(self, request: Request) -> Response:
        """`POST /v1/models/{model}/predict`."""
        name = request.path_params["model"]
        model = self._model(name)
        rows, is_many = self._schemas.requests[name].decode(await read_body(request, self._limits))
        frame = request_frame(model.request_fields, rows)
        if (check := self._checks[name]) is not None:
            check.refuse(rows, frame, is_many=is_many)
        if len(rows) > MANY_ROWS:
            answers = await run_in_threadpool(self._service.predict, name, frame)
        else:
            answers = self._service.predict(name, frame)
        each = predictions(name, answers)
        return _answer(Predictions(each) if is_many else each[0])

    async def labels(self, request: Request) -> Response:
        """`POST /v1/models/{model}/labels`."""
        name = request.path_params["model"]
        self._model(name)
        rows, _ = self._schemas.labels[name].decode(await read_body(request, self._limits))
        count = self._service.label(name, [str(id_) for id_, _ in rows], [float(label) for _, label in rows])
        self._metrics.labelled(name, count)
        return _answer(LabelsTaken(count))

    async def events(self, request: Request) -> Response:
        """`POST /v1/sources/{source}/events`."""
        name = request.path_params["source"]
        rows, _ = self._source(name).decode(await read_body(request, self._limits))
        try:
            pushed = await run_in_threadpool(self._service.push, name, rows)
        except BatchBreaksContract as error:
            self._metrics.quarantined(name, len(rows))
            return _answer(events_refused(error), 422)
        self._metrics.pushed(name, pushed)
        return _answer(events_taken(pushed))

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        readiness, line_ups = self._service.ready(), self._service.line_ups()
        served: list[ServedModel] = []
        for name, model in self._service.project.models.items():
            players = line_ups[name].players if name in line_ups else ()
            versions = [ServedVersion(player.version, player.role, player.share) for player in players]
            told = (model.task, model.purpose, model.owner, readiness.generations[name])
            served.append(ServedModel(name, *told, versions, readiness.problems.get(name)))
        return _answer(Models(served))

    async def healthz(self, request: Request) -> Response:
        """`GET /healthz`: the process answers."""
        return _answer(Health())

    async def readyz(self, request: Request) -> Response:
        """`GET /readyz`: 200 when predictions are answered, else 503."""
        state = self._service.ready()
        return _answer(Ready(state.ready, state.champions, state.problems), 200 if state.ready else 503)

    async def metrics(self, request: Request) -> Response:
        """`GET /metrics`."""
        return Response(await run_in_threadpool(self._metrics.exposition), headers={"content-type": CONTENT_TYPE})

    async def openapi(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        return _answer(self._document)

    async def docs(self, request: Request) -> Response:
        """`GET /docs`: the document as a page that needs nothing from elsewhere."""
        page = docs_page(self._document)
        return Response(page, media_type="text/html", headers={"content-security-policy": _DOCS_POLICY})

    def _model(self, name: str) -> Model:
        if name not in self._schemas.requests:
            raise UnknownModel(name, list(self._schemas.requests))
        return self._service.project.models[name]

    def _source(self, name: str) -> RowSchema:
        if name not in self._schemas.events:
            raise UnknownSource(name, list(self._schemas.events))
        return self._schemas.events[name]


def _watched(endpoint: Endpoint, route: str, metrics: ServingMetrics) -> Endpoint:
    """Return the endpoint with its errors turned into responses, counted and timed."""

    async def watched(request: Request) -> Response:
        started = time.perf_counter()
        try:
            response = await endpoint(request)
        except Exception as error:
            response = _refused(error)
        metrics.answered(route, response.status_code, time.perf_counter() - started)
        return response

    return watched


def _refused(error: Exception) -> Response:
    """Return what the client is told of an error. Only what nobody foresaw is a 500, and is logged with its trace."""
    if isinstance(error, Refused):
        return _error(error.status, error.refusal, error.headers)
    if isinstance(error, UnknownModel):
        return _error(404, Refusal("unknown_model", str(error), "model"))
    if isinstance(error, UnknownSource):
        return _error(404, Refusal("unknown_source", str(error), "source"))
    if isinstance(error, NotPushable):
        return _error(409, Refusal("not_pushable", str(error)))
    if isinstance(error, NoChampion):
        return _error(503, Refusal("no_champion", str(error)), {"retry-after": RETRY_SECONDS})
    _logger.error("a request failed", exc_info=error)
    return _error(500, Refusal("internal", "the request failed for a reason of the server's; its log has the trace"))


async def _no_route(metrics: ServingMetrics, request: Request, error: Exception) -> Response:
    """Return the response where no route is, or none for the method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    metrics.answered("none", status, 0.0)
    if status == 405:
        said = f"expected {headers.get('Allow', 'another method')} here, got {request.method}"
        return _error(status, Refusal("method_not_allowed", said), headers)
    return _error(status, Refusal("not_found", "expected one of the routes in /docs, got another path"), headers)


def _answer(answer: Any, status: int = 200) -> Response:
    return Response(_json.encode(answer), status, media_type="application/json")


def _error(status: int, refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body_of(refusal), status, headers=headers, media_type="application/json")
