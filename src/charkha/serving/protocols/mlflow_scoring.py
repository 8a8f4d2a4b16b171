"""MLflow's scoring protocol: `/ping`, `/health`, `/version` and `/invocations`, as its clients call it."""

import re
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version

import msgspec

from charkha.serving.body import Limits, kind_of, read_body, refuse_query
from charkha.serving.calls import Call, Headers, Reply, json_reply
from charkha.serving.deadline import Deadline
from charkha.serving.desk import Asked, Desk
from charkha.serving.keyring import ANY_KEY, OPEN
from charkha.serving.patience import Patience
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.mlflow_bodies import read_csv, read_json
from charkha.serving.refusals import Refusal, Refused, shortened
from charkha.serving.responses import Prediction
from charkha.serving.router import Route
from charkha.serving.service import UnknownModel

_PATH = re.compile(r"/invocations|/v1/models/(?P<model>[^/]+)/invocations")
KINDS = frozenset({"application/json", "text/csv"})
_TEXT: Headers = (("content-type", "text/plain; charset=utf-8"),)
# The names that MLflow has for the statuses; others of the client's fault are a BAD_REQUEST.
_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Scores(msgspec.Struct, frozen=True):
    """The scores, in the order of the rows; null for one that is not a number."""

    predictions: list[float | None]


class Details(msgspec.Struct, frozen=True):
    """The same with `params: {"details": true}`."""

    predictions: list[Prediction]


class InvocationError(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    error_code: str
    message: str


def error_form(status: int, refusal: Refusal) -> tuple[int, bytes]:
    """Return an error as MLflow says it; what is not as it should be is a 400 there."""
    told = InvocationError(_CODES.get(status, "BAD_REQUEST"), shortened(refusal.message))
    return 400 if status == 422 else status, msgspec.json.encode(told)


class MlflowScoring:
    """The endpoints of the protocol."""

    def __init__(self, desk: Desk, described: Described, limits: Limits, patience: Patience) -> None:
        self._desk, self._described, self._limits, self._patience = desk, described, limits, patience

    def routes(self) -> Mapping[str, Route]:
        """Return the routes by their paths; `/invocations` is there when the project has one model."""
        routes = {path: Route("GET", path, self.ping, OPEN, error_form) for path in ("/ping", "/health")}
        routes["/version"] = Route("GET", "/version", self.version, ANY_KEY, error_form)
        models = list(self._desk.service.project.models)
        for name in models:
            invocations = partial(self.invocations, name)
            pattern = "/v1/models/{model}/invocations"
            routes[f"/v1/models/{name}/invocations"] = Route("POST", pattern, invocations, "predict", error_form, name)
            if len(models) == 1:
                routes["/invocations"] = Route("POST", "/invocations", invocations, "predict", error_form, name)
        return routes

    def found(self, path: str) -> Route | None:
        """Return the route of a path that would be one of another model; else its form would tell which models are."""
        named = _PATH.fullmatch(path)
        if named is None:
            return None
        return Route("POST", "none", partial(self.nobody, named["model"]), "predict", error_form)

    async def nobody(self, name: str | None, call: Call) -> Reply:
        """Refuse a model that is not there, or that none is named where there are several."""
        models = list(self._desk.service.project.models)
        if name is None:
            said = f"expected /v1/models/MODEL/invocations with one of {', '.join(models)}, got no model"
            raise Refused(404, "not_found", said)
        raise UnknownModel(name[:200], models)

    async def ping(self, call: Call) -> Reply:
        """`GET /ping`: whether predictions are answered."""
        return Reply(200 if self._described.server_ready() else 503, b"\n", _TEXT)

    async def version(self, call: Call) -> Reply:
        """`GET /version`: Charkha's own."""
        return Reply(200, version("charkha").encode(), _TEXT)

    async def invocations(self, name: str, call: Call) -> Reply:
        """`POST /invocations`."""
        self._desk.admit(name)
        refuse_query(call)
        deadline = Deadline.of(call)
        body = await read_body(call, self._limits, self._patience, KINDS)
        kind = kind_of(call.headers.get("content-type", ""))
        read = partial(self._read, name, kind, body)
        as_read = f"mlflow\0{kind}\0"
        return await self._desk.reply(name, call.headers, body, deadline, read=read, kind=as_read)

    def _read(self, name: str, kind: str, body: bytes) -> Asked:
        fields = self._desk.service.project.models[name].request_fields
        invocation = (read_csv if kind == "text/csv" else read_json)(body, fields, self._limits.rows)
        return Asked(
            self._desk.requests[name].convert(invocation.records), _detailed if invocation.details else _scored
        )


def _detailed(each: list[Prediction]) -> Reply:
    return json_reply(Details(each))


def _scored(each: list[Prediction]) -> Reply:
    return json_reply(Scores([prediction.score for prediction in each]))
