"""From a method and a path to the endpoint: all paths are known when a worker starts, so finding one is one look-up."""

import logging
import time
from collections.abc import Callable, Mapping

from attrs import frozen

from charkha.features.feed import ClockBehind
from charkha.features.kept import UnknownSource
from charkha.features.plain_rows import NotPushable
from charkha.serving.answering import Killed
from charkha.serving.calls import JSON, Call, Endpoint, Headers, Reply
from charkha.serving.metrics import ServingMetrics
from charkha.serving.policed_log import LogFull
from charkha.serving.refusals import Refusal, Refused, body_of
from charkha.serving.service import NoChampion, UnknownModel

NOTHING: Headers = ()
LATER: Headers = (("retry-after", "5"),)

_logger = logging.getLogger("charkha.serving")


@frozen(eq=False)
class Route:
    """An endpoint. method: what it is called with. pattern: its path in metrics, with {model} or {source} in it."""

    method: str
    pattern: str
    endpoint: Endpoint


class Router:
    """Finds the endpoint of a call, counts and times it, and says in words why it failed.

    routes: path → route. missing: what is raised for a path that is none of them.
    """

    def __init__(
        self, routes: Mapping[str, Route], missing: Callable[[Call], Exception], metrics: ServingMetrics
    ) -> None:
        self._routes, self._missing, self._metrics = dict(routes), missing, metrics

    async def reply(self, call: Call) -> Reply:
        """Return what is replied to a call; never raises for what a client can do."""
        started = time.perf_counter()
        route = self._routes.get(call.path)
        try:
            if route is None:
                raise self._missing(call)
            if call.method != route.method and not (call.method == "HEAD" and route.method == "GET"):
                raise _wrong_method(call, route)
            reply = await route.endpoint(call)
        except Exception as error:
            reply = refused(error)
        pattern = "none" if route is None else route.pattern
        self._metrics.answered(pattern, reply.status, time.perf_counter() - started)
        return reply


def _wrong_method(call: Call, route: Route) -> Refused:
    allowed = "GET, HEAD" if route.method == "GET" else route.method
    said = f"expected {allowed} here, got {call.method}"
    return Refused(405, "method_not_allowed", said, headers={"allow": allowed})


def refused(error: Exception) -> Reply:
    """Return what the client is told of an error. Only what nobody foresaw is a 500, and is logged with its trace."""
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
        case Killed():
            told, status, headers = Refusal("killed", str(error)), 503, LATER
        case LogFull():
            told, status, headers = Refusal("log_full", str(error)), 503, LATER
        case ClockBehind():
            told, status, headers = Refusal("clock_behind", str(error)), 503, LATER
        case _:
            _logger.error("a request failed", exc_info=error)
            said = "the request failed for a reason of the server's; its log has the trace"
            told, status, headers = Refusal("internal", said), 500, NOTHING
    return _error(status, told, headers)


def _error(status: int, refusal: Refusal, headers: Headers = ()) -> Reply:
    return Reply(status, body_of(refusal), (*JSON, *headers))
