"""The routes: each reads a body, calls the service, and says what came of it. No logic of their own.

Predictions are made on the event loop, those that come together as one batch. Only what may wait (events, for the
online store's one writer; labels, for the disk) or takes long (many rows) goes to a thread.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import UNSET

from charkha.clock import Clock
from charkha.features.kept import UnknownSource
from charkha.features.quarantine import BatchBreaksContract
from charkha.serving.body import Limits, read_body, reasons_asked
from charkha.serving.calls import Call, Endpoint, Reply, RequestHeaders, json_reply
from charkha.serving.contracts import events_refused
from charkha.serving.deadline import Deadline
from charkha.serving.desk import Asked, Desk
from charkha.serving.docs_page import docs_page
from charkha.serving.ending import Looked
from charkha.serving.keyring import ANY_KEY, OPEN, Keyring, Need
from charkha.serving.label_schemas import label_schema
from charkha.serving.metrics import CONTENT_TYPE, Current, ServingMetrics
from charkha.serving.openapi import Schemas, openapi_document
from charkha.serving.openapi_keys import secured
from charkha.serving.patience import Patience
from charkha.serving.protocols.arrow_bulk import KIND as ARROW
from charkha.serving.protocols.arrow_bulk import ArrowBulk
from charkha.serving.protocols.routes import Protocols
from charkha.serving.refusals import Refused
from charkha.serving.responses import (
    Health,
    LabelsTaken,
    Models,
    Prediction,
    Predictions,
    Ready,
    ServedModel,
    ServedVersion,
    events_taken,
    served_rules,
)
from charkha.serving.router import Route, Router
from charkha.serving.schemas import event_schema
from charkha.serving.service import Service, UnknownModel
from charkha.serving.supervised import OfServer, Place

_DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
_OF_MODEL = re.compile(r"/v1/models/([^/]+)/(?:predict|labels)")
_OF_SOURCE = re.compile(r"/v1/sources/([^/]+)/events")


def build_router(
    service: Service,
    metrics: ServingMetrics,
    clock: Clock,
    *,
    limits: Limits | None = None,
    ends: Callable[[], bool] = lambda: False,
    keyring: Keyring | None = None,
    desk: Desk | None = None,
    place: Place | None = None,
) -> Router:
    """Return the routes of a service. metrics: the service's observer. ends: says whether the server is about to.

    keyring: None where no keys are asked for. desk: that of other servers on the loop. place: where the server says how
    it is; None without one.
    """
    if place is not None:
        metrics.registry.register(OfServer(place))
    metrics.registry.register(Current(service, clock))
    limits = limits or Limits()
    knows = (lambda headers: True) if keyring is None else keyring.knows
    api = Api(desk or Desk(service, limits.rows), metrics, limits, ends, knows, place)
    get: Mapping[str, tuple[Endpoint, Need]] = {
        "/v1/models": (api.models, ANY_KEY),
        "/healthz": (api.healthz, OPEN),
        "/readyz": (api.readyz, OPEN),
        "/metrics": (api.metrics, "operate"),
        "/openapi.json": (api.openapi, ANY_KEY),
        "/docs": (api.docs, ANY_KEY),
    }
    routes = {path: Route("GET", path, endpoint, need) for path, (endpoint, need) in get.items()}
    for name in service.project.models:
        predict, labels = partial(api.predict, name), partial(api.labels, name)
        routes[f"/v1/models/{name}/predict"] = Route(
            "POST", "/v1/models/{model}/predict", predict, "predict", model=name
        )
        routes[f"/v1/models/{name}/labels"] = Route("POST", "/v1/models/{model}/labels", labels, "label")
    for name in service.project.sources:
        events = partial(api.events, name)
        routes[f"/v1/sources/{name}/events"] = Route("POST", "/v1/sources/{source}/events", events, "ingest")
    protocols = api.protocols()
    routes |= protocols.routes()
    found, replied = protocols.found, service.vitals.replied
    router = Router(routes, partial(_missing, service), metrics, keyring, found, ends=Looked(ends), replied=replied)
    if keyring is not None:
        api.document = secured(api.document, router.need)
    return router


def _missing(service: Service, call: Call) -> Exception:
    """Return what to say where no route is."""
    if model := _OF_MODEL.fullmatch(call.path):
        return UnknownModel(model[1], list(service.project.models))
    if source := _OF_SOURCE.fullmatch(call.path):
        return UnknownSource(source[1], list(service.project.sources))
    return Refused(404, "not_found", "expected one of the routes in /docs, got another path")


class Api:
    """The endpoints. Each raises what it cannot do; the router says what the client is told.

    knows: by a call's headers, whether it may learn who serves where everybody may ask. place: where the server says
    how it is; None without one.
    """

    def __init__(  # noqa: PLR0917
        self,
        desk: Desk,
        metrics: ServingMetrics,
        limits: Limits,
        ends: Callable[[], bool],
        knows: Callable[[RequestHeaders], bool],
        place: Place | None = None,
    ) -> None:
        self.desk, service, self._knows = desk, desk.service, knows
        self._place = place
        project = service.project
        models, sources = project.models, project.sources
        self._service = service
        self._metrics = metrics
        self._limits, self._ends = limits, ends
        self._patience = Patience(limits.body_seconds)
        self._schemas = Schemas(
            desk.requests,
            {name: event_schema(source, limits.rows) for name, source in sources.items()},
            {name: label_schema(model, limits.rows) for name, model in models.items()},
        )
        self._bulk = ArrowBulk(self.desk)
        self.document = openapi_document(project, self._schemas)

    def protocols(self) -> Protocols:
        """Return the routes of other servers' protocols, answered at the same desk."""
        return Protocols(self.desk, self._limits, self._patience, self._ends)

    async def predict(self, name: str, call: Call) -> Reply:
        """`POST /v1/models/{model}/predict`."""
        if call.headers.get("content-type") == ARROW:
            return await self._bulk.predict(name, call)
        self.desk.admit(name)
        deadline = Deadline.of(call)
        body = await read_body(call, self._limits, self._patience)
        if call.query and (most := reasons_asked(call)):
            rows, is_many = self._schemas.requests[name].decode(body)
            each = await self.desk.predictions_with_reasons(name, rows, most, deadline, is_many=is_many)
            return _told_many(each) if is_many else _told_one(each)
        read = partial(self._read, name, body)
        return await self.desk.reply(name, call.headers, body, deadline, read=read)

    def _read(self, name: str, body: bytes) -> Asked:
        rows, is_many = self._schemas.requests[name].decode(body)
        return Asked(rows, _told_many if is_many else _told_one, is_many)

    async def labels(self, name: str, call: Call) -> Reply:
        """`POST /v1/models/{model}/labels`."""
        deadline = Deadline.of(call)
        told = self._schemas.labels[name].told(await read_body(call, self._limits, self._patience))
        logged = partial(self._service.label, name, told.ids, told.labels, told.metrics)
        count = await self.desk.threads.labels.run(deadline.before, logged)
        self._metrics.labelled(name, count)
        return json_reply(LabelsTaken(count))

    async def events(self, name: str, call: Call) -> Reply:
        """`POST /v1/sources/{source}/events`."""
        deadline = Deadline.of(call)
        rows, _ = self._schemas.events[name].decode(await read_body(call, self._limits, self._patience))
        try:
            pushed = await self.desk.threads.pushes.run(deadline.before, self._service.push, name, rows)
        except BatchBreaksContract as error:
            self._metrics.quarantined(name, len(rows))
            return json_reply(events_refused(error), 422)
        self._metrics.pushed(name, pushed)
        return json_reply(events_taken(pushed))

    async def models(self, call: Call) -> Reply:
        """`GET /v1/models`."""
        readiness, line_ups = self._service.standing.ready(), self._service.line_ups()
        served: list[ServedModel] = []
        for name, model in self._service.project.models.items():
            players = line_ups[name].players if name in line_ups else ()
            versions = [
                ServedVersion(player.version, player.role, player.share, served_rules(player.bundle.manifest.rules))
                for player in players
            ]
            told = (model.task, model.purpose, model.owner, readiness.generations[name])
            killed = line_ups[name].killed if name in line_ups else None
            served.append(ServedModel(name, *told, versions, killed, readiness.problems.get(name)))
        return json_reply(Models(served))

    async def healthz(self, call: Call) -> Reply:
        """`GET /healthz`: the process answers."""
        return json_reply(Health())

    async def readyz(self, call: Call) -> Reply:
        """`GET /readyz`: 200 when predictions are answered, and will be in a moment, else 503.

        Probes have no keys: where these are asked for, who shows none learns no more than that.
        """
        state, ends = self._service.standing.ready(), self._ends()
        ready = state.ready and not ends
        server = None if self._place is None else self._place.ask()
        notices = [*self._service.standing.notices(), *(server.notices() if server else [])] or UNSET
        told = Ready(ready, state.champions, state.problems, ends, notices)
        if not self._knows(call.headers):
            told = Ready(ready, ending=ends)
        return json_reply(told, 200 if ready else 503)

    async def metrics(self, call: Call) -> Reply:
        """`GET /metrics`."""
        text = await self.desk.threads.rest.run(self._metrics.exposition)
        return Reply(200, text, (("content-type", CONTENT_TYPE),))

    async def openapi(self, call: Call) -> Reply:
        """`GET /openapi.json`."""
        return json_reply(self.document)

    async def docs(self, call: Call) -> Reply:
        """`GET /docs`: the document as a page that needs nothing from elsewhere."""
        page = docs_page(self.document).encode()
        return Reply(
            200, page, (("content-type", "text/html; charset=utf-8"), ("content-security-policy", _DOCS_POLICY))
        )


def _told_one(each: list[Prediction]) -> Reply:
    return json_reply(each[0])


def _told_many(each: list[Prediction]) -> Reply:
    return json_reply(Predictions(each))
