"""From a method and a path to the endpoint: all paths are known when a worker starts, so finding one is one look-up."""

import logging
import time
from collections.abc import Callable, Mapping

from attrs import frozen

from charkha.bundles.predictor import NotExplainable
from charkha.features.feed import ClockBehind
from charkha.features.kept import UnknownSource
from charkha.features.plain_rows import NotPushable
from charkha.serving.answering import Killed
from charkha.serving.calls import JSON, Call, Endpoint, Headers, Reply, RequestHeaders
from charkha.serving.correlation import REQUEST_ID, marks, request_id_of
from charkha.serving.keyring import ANY_KEY, Keyring, Need
from charkha.serving.metrics import ServingMetrics
from charkha.serving.policed_log import LogFull
from charkha.serving.refusals import Refusal, Refused, body_of
from charkha.serving.service import NoChampion, UnknownModel
from charkha.spec.failures import ANY_FAILS

NOTHING: Headers = ()
ENDING: Headers = (("connection", "close"),)
LATER: Headers = (("retry-after", "5"),)

_logger = logging.getLogger("charkha.serving")


# How a protocol says an error: the status and body that it has for one of ours.
ErrorForm = Callable[[int, Refusal], tuple[int, bytes]]


def plain_error(status: int, refusal: Refusal) -> tuple[int, bytes]:
    """Return an error as our own routes say it."""
    return status, body_of(refusal)


@frozen(eq=False)
class Route:
    """An endpoint.

    method: what it is called with. pattern: its path in metrics, with {model} or {source} in it. need: what a call must
    show where keys are asked for. error_form: how its errors are said. model: of which it asks for predictions, if it
    does.
    """

    method: str
    pattern: str
    endpoint: Endpoint
    need: Need
    error_form: ErrorForm = plain_error
    model: str | None = None


class Router:
    """Finds the endpoint of a call, counts and times it, and says in words why it failed.

    routes: path → route. missing: what is raised for a path that is none of them. keyring: whose keys are asked for;
    None where everybody may everything. found: the route of a path that is not known beforehand, if it is one.
    ends: whether the server is about to, at a
    time by `time.perf_counter`; answers end their connections then, so that none is cut while it is used. replied: is
    told the model and the status of each call for predictions that was let in.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        missing: Callable[[Call], Exception],
        metrics: ServingMetrics,
        keyring: Keyring | None = None,
        found: Callable[[str], Route | None] = lambda path: None,
        *,
        ends: Callable[[float], bool] = lambda now: False,
        replied: Callable[[str, int], None] = lambda model, status: None,
    ) -> None:
        self.routes: Mapping[str, Route] = dict(routes)
        self._missing, self._metrics, self._keyring, self._found = missing, metrics, keyring, found
        self._ends, self._replied = ends, replied

    def route(self, path: str) -> Route | None:
        """Return the route of a path, None where there is none."""
        return self.routes.get(path) or self._found(path)

    def pattern(self, path: str) -> str:
        """Return the pattern of a path's route, "none" where there is none."""
        route = self.route(path)
        return "none" if route is None else route.pattern

    def need(self, path: str) -> Need:
        """Return what a call of a path must show; where there is no route, any key, so that nobody else learns it."""
        route = self.route(path)
        return ANY_KEY if route is None else route.need

    async def reply(self, call: Call) -> Reply:
        """Return what is replied to a call, with its request id; never raises for what a client can do."""
        started = time.perf_counter()
        request_id = request_id_of(call.headers)
        route, model = self.route(call.path), None
        try:
            if self._keyring is not None:
                # First of all: without a key nobody learns which paths there are.
                self._keyring.admit(call.headers, ANY_KEY if route is None else route.need)
            if route is None:
                raise self._missing(call)
            if call.method != route.method and not (call.method == "HEAD" and route.method == "GET"):
                raise _wrong_method(call, route)
            model = route.model
            reply = await route.endpoint(call)
        except ANY_FAILS as error:
            reply = refused(error, call.headers, request_id, plain_error if route is None else route.error_form)
        pattern = "none" if route is None else route.pattern
        self._metrics.answered(pattern, reply.status, time.perf_counter() - started)
        if model is not None:
            self._replied(model, reply.status)
        last = ENDING if self._ends(started) else NOTHING
        return Reply(reply.status, reply.body, (*reply.headers, (REQUEST_ID, request_id), *last))


def _wrong_method(call: Call, route: Route) -> Refused:
    allowed = "GET, HEAD" if route.method == "GET" else route.method
    said = f"expected {allowed} here, got {call.method}"
    return Refused(405, "method_not_allowed", said, headers={"allow": allowed})


def refused(error: Exception, headers_asked: RequestHeaders, request_id: str, form: ErrorForm) -> Reply:
    """Return what the client is told of an error, as its protocol says it. The rest is as for `told_of`."""
    status, refusal, headers = told_of(error, headers_asked, request_id)
    status, body = form(status, refusal)
    return Reply(status, body, (*JSON, *headers))


def told_of(error: Exception, headers_asked: RequestHeaders, request_id: str) -> tuple[int, Refusal, Headers]:
    """Return status, refusal and headers. Only what nobody foresaw is a 500, and is logged with its trace.

    headers_asked, request_id: of the call, by which the log tells it from others.
    """
    headers: Headers = NOTHING
    match error:
        case Refused():
            status, told, headers = error.status, error.refusal, tuple(error.headers.items())
        case UnknownModel():
            status, told = 404, Refusal("unknown_model", str(error), "model")
        case UnknownSource():
            status, told = 404, Refusal("unknown_source", str(error), "source")
        case NotPushable():
            status, told = 409, Refusal("not_pushable", str(error))
        case NoChampion():
            status, told, headers = 503, Refusal("no_champion", str(error)), LATER
        case NotExplainable():
            status, told = 409, Refusal("not_explainable", str(error), "reasons")
        case Killed():
            status, told, headers = 503, Refusal("killed", str(error)), LATER
        case LogFull():
            status, told, headers = 503, Refusal("log_full", str(error)), LATER
        case ClockBehind():
            status, told, headers = 503, Refusal("clock_behind", str(error)), LATER
        case _:
            _logger.error("a request failed", exc_info=error, extra=marks(headers_asked, request_id))
            said = "the request failed for a reason of the server's; its log has the trace"
            status, told = 500, Refusal("internal", said)
    return status, told, headers
