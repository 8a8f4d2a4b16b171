"""The Open Inference Protocol (V2) over HTTP: the routes of its clients, on the paths and in the words they know."""

import re
from collections.abc import Iterator
from functools import partial

import msgspec

from charkha.serving.body import Limits, read_body, refuse_query
from charkha.serving.calls import Call, Endpoint, Reply, json_reply
from charkha.serving.deadline import Deadline
from charkha.serving.desk import Asked, Desk
from charkha.serving.keyring import ANY_KEY, OPEN, Need
from charkha.serving.patience import Patience
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.infer_bodies import KINDS, LENGTH_HEADER, InferResponse, infer_reply, read_infer
from charkha.serving.protocols.tensors import output_tensors, rows_of, version_of
from charkha.serving.refusals import Refusal, Refused, shortened
from charkha.serving.responses import Prediction
from charkha.serving.router import Route

_PATH = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?:/(?P<verb>ready|infer))?")


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    live: bool = True


class ServerReady(msgspec.Struct, frozen=True):
    """Whether predictions are answered; with status 503 when they are not."""

    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    """Whether a model answers; with status 503 when it does not."""

    name: str
    ready: bool


class InferenceError(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    error: str


def error_form(status: int, refusal: Refusal) -> tuple[int, bytes]:
    """Return an error as the protocol says it: a sentence. What is not as it should be is a 400, as elsewhere."""
    return 400 if status == 422 else status, msgspec.json.encode(InferenceError(shortened(refusal.message)))


class OpenInference:
    """The endpoints of the protocol."""

    def __init__(self, desk: Desk, described: Described, limits: Limits, patience: Patience) -> None:
        self._desk, self._described, self._limits, self._patience = desk, described, limits, patience

    def routes(self) -> Iterator[Route]:
        """Yield the routes whose paths are known beforehand; their patterns are the paths."""
        yield _get("/v2", self.server, ANY_KEY)
        yield _get("/v2/health/live", self.live, OPEN)
        yield _get("/v2/health/ready", self.ready, OPEN)

    def found(self, path: str) -> Route | None:
        """Return the route of a path under /v2; one that answers 404 in the protocol's form where there is none."""
        if not path.startswith("/v2/"):
            return None
        named = _PATH.fullmatch(path)
        if named is None:
            return _get("none", self.nowhere, ANY_KEY)
        model, version, verb = named["model"], named["version"] or "", named["verb"] or ""
        pattern = "/v2/models/{model}" + ("/versions/{version}" if version else "") + (f"/{verb}" if verb else "")
        if verb == "infer":
            return Route("POST", pattern, partial(self.infer, model, version), "predict", error_form, model)
        return _get(pattern, partial(self.model_ready if verb else self.model, model, version), ANY_KEY)

    async def server(self, call: Call) -> Reply:
        """`GET /v2`."""
        return json_reply(self._described.server())

    async def live(self, call: Call) -> Reply:
        """`GET /v2/health/live`."""
        return json_reply(Live())

    async def ready(self, call: Call) -> Reply:
        """`GET /v2/health/ready`."""
        ready = self._described.server_ready()
        return json_reply(ServerReady(ready), 200 if ready else 503)

    async def model(self, name: str, version: str, call: Call) -> Reply:
        """`GET /v2/models/{model}[/versions/{version}]`."""
        return json_reply(self._described.model(name, version))

    async def model_ready(self, name: str, version: str, call: Call) -> Reply:
        """`GET /v2/models/{model}[/versions/{version}]/ready`."""
        ready = self._described.model_ready(name, version)
        return json_reply(ModelReady(name, ready), 200 if ready else 503)

    async def infer(self, name: str, version: str, call: Call) -> Reply:
        """`POST /v2/models/{model}[/versions/{version}]/infer`."""
        self._described.require_only(name, version)
        self._desk.admit(name)
        refuse_query(call)
        deadline = Deadline.of(call)
        body = await read_body(call, self._limits, self._patience, KINDS)
        kind = f"infer\0{version}\0{call.headers.get(LENGTH_HEADER)}\0"
        read = partial(self._read, name, call, body)
        return await self._desk.reply(name, call.headers, body, deadline, read=read, kind=kind)

    def _read(self, name: str, call: Call, body: bytes) -> Asked:
        fields = self._desk.service.project.models[name].request_fields
        question, binary = read_infer(call, body, fields, self._limits.rows)
        rows = self._desk.requests[name].convert(rows_of(fields, question.tensors))

        def form(each: list[Prediction]) -> Reply:
            response = InferResponse(name, [], version_of(each), question.id)
            return infer_reply(response, list(output_tensors(each, question.outputs)), binary)

        return Asked(rows, form)

    async def nowhere(self, call: Call) -> Reply:
        """Refuse what is no route."""
        raise Refused(404, "not_found", "expected one of the routes in /docs, got another path")


def _get(pattern: str, endpoint: Endpoint, need: Need) -> Route:
    return Route("GET", pattern, endpoint, need, error_form)
