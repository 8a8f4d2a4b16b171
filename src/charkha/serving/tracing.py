"""Traces of calls, for whoever keeps them: what serving tells, without a library of anybody's.

Each call is a span, and of its batch it has the stages: features, model and log. `otel` says it to OpenTelemetry.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from attrs import frozen

from charkha.serving.calls import Call, Reply
from charkha.serving.observer import Stages
from charkha.serving.router import Router


class Traces(Protocol):
    """Keeps traces. A span is whatever it makes of one."""

    def call(self, call: Call, pattern: str) -> AbstractContextManager[Callable[[Reply], None]]:
        """Open the span of a call for a block, which tells what was replied. pattern: the path of its route."""
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
        with self.traces.call(call, self.router.pattern(call.path)) as tell:
            reply = await self.router.reply(call)
            tell(reply)
        return reply
