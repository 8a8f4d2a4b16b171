"""Traces of calls, for whoever keeps them: what serving tells, without a library of anybody's.

Each call is a span, and of its batch it has the stages: features, model and log. `otel` says it to OpenTelemetry.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from attrs import frozen

from charkha.serving.calls import Call, Reply, RequestHeaders
from charkha.serving.correlation import REQUEST_ID
from charkha.serving.observer import Stages
from charkha.serving.router import Router

REQUEST_MARK = "charkha.request_id"
Attributes = Mapping[str, str | int]
# Is told of a call what came of it: the status that HTTP has for that, and what else there is to say.
Tell = Callable[[int, Attributes], None]


class Traces(Protocol):
    """Keeps traces. A span is whatever it makes of one."""

    def call(self, name: str, headers: RequestHeaders, attributes: Attributes) -> AbstractContextManager[Tell]:
        """Open the span of a call for a block, which tells what was replied. headers: those of its caller's trace."""
        ...

    def current(self) -> Any:
        """Return the span of the call in progress; None where it is not recorded."""
        ...

    def batch(self, model: str, spans: Sequence[Any], stages: Stages) -> None:
        """Keep of a batch in which stages it answered the calls of these spans."""
        ...


@frozen(eq=False)
class TracedRouter:
    """A router whose calls are traced."""

    router: Router
    traces: Traces

    async def reply(self, call: Call) -> Reply:
        """Return what the router replies."""
        pattern = self.router.pattern(call.path)
        asked = {"http.request.method": call.method, "http.route": pattern}
        with self.traces.call(f"{call.method} {pattern}", call.headers, asked) as tell:
            reply = await self.router.reply(call)
            said: Attributes = {
                "http.response.status_code": reply.status,
                REQUEST_MARK: dict(reply.headers).get(REQUEST_ID, ""),
            }
            tell(reply.status, said)
        return reply
