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

NOTHING: Headers = ()
LATER: Headers = (("retry-after", "5"),)

_logger = logging.getLogger("charkha.serving")


@frozen(eq=False)
class Route:
    """An endpoint.

    method: what it is called with. pattern: its path in metrics, with {model} or {source} in it. need: what a call must
    show where keys are asked for.
    """

    method: str
    pattern: str
    endpoint: Endpoint
    need: Need


class Router:
    """Finds the endpoint of a call, counts and times it, and says in words why it failed.

    routes: path → route. missing: what is raised for a path that is none of them. keyring: whose keys are asked for;
    None where everybody may everything.
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        missing: Callable[[Call], Exception],
        metrics: ServingMetrics,
        keyring: Keyring | None = None,
    ) -> None:
        self.routes: Mapping[str, Route] = dict(routes)
        self._missing, self._metrics, self._keyring = missing, metrics, keyring

    def pattern(self, path: str) -> str:
        """Return the pattern of a path's route, "none" where there is none."""
        route = self.routes.get(path)
        return "none" if route is None else route.pattern

    async def reply(self, call: Call) -> Reply:
        """Return what is replied to a call, with its request id; never raises for what a client can do."""
        started = time.perf_counter()
        request_id = request_id_of(call.headers)
        route = self.routes.get(call.path)
        try:
            if self._keyring is not None:
                # First of all: without a key nobody learns which paths there are.
                self._keyring.admit(call, ANY_KEY if route is None else route.need)
            if route is None:
                raise self._missing(call)
            if call.method != route.method and not (call.method == "HEAD" and route.method == "GET"):
                raise _wrong_method(call, route)
            reply = await route.endpoint(call)
        except Exception as error:
            reply = refused(error, call.headers, request_id)
        pattern = "none" if route is None else route.pattern
        self._metrics.answered(pattern, reply.status, time.perf_counter() - started)
        return Reply(reply.status, reply.body, (*reply.headers, (REQUEST_ID, request_id)))


def _wrong_method(call: Call, route: Route) -> Refused:
    allowed = "GET, HEAD" if route.method == "GET" else route.method
    said = f"expected {allowed} here, got {call.method}"
    return Refused(405, "method_not_allowed", said, headers={"allow": allowed})


def refused(error: Exception, headers_asked: RequestHeaders, request_id: str) -> Reply:
    """Return what the client is told of an error. Only what nobody foresaw is a 500, and is logged with its trace.

    headers_asked, request_id: of the call, by which the log tells it from others.
    """
    match error:
        case Refused():
            return _error(error.status, error.refusal, tuple(error.headers.items()))
        case UnknownModel():
            told, status, headers = Refusal("unknown_model", str(error), "model"), 404, NOTHING
        case UnknownSource():
            told, status, headers = Refusal("unknown_source", str(error), "source"), 404, NOTHING
        case NotPushable():
            told, status, headers = Refusal("not_pushable", str(error)), 409, NOTHING
        case NoChampion():
            told, status, headers = Refusal("no_champion", str(error)), 503, LATER
        case NotExplainable():
            told, status, headers = Refusal("not_explainable", str(error), "reasons"), 409, NOTHING
        case Killed():
            told, status, headers = Refusal("killed", str(error)), 503, LATER
        case LogFull():
            told, status, headers = Refusal("log_full", str(error)), 503, LATER
        case ClockBehind():
            told, status, headers = Refusal("clock_behind", str(error)), 503, LATER
        case _:
            _logger.error("a request failed", exc_info=error, extra=marks(headers_asked, request_id))
            said = "the request failed for a reason of the server's; its log has the trace"
            told, status, headers = Refusal("internal", said), 500, NOTHING
    return _error(status, told, headers)


def _error(status: int, refusal: Refusal, headers: Headers = ()) -> Reply:
    return Reply(status, body_of(refusal), (*JSON, *headers))
