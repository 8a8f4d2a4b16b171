"""Single predictions that are asked for at about the same time, made one call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen

from charkha.client.answers import Prediction
from charkha.client.bodies import Row
from charkha.client.errors import InvalidRequest, WrongCall

_MOST_ROWS = 64  # what a server answers as one batch
Send = Callable[[str, Sequence[Row]], Awaitable[Sequence[Prediction]]]


@frozen(eq=False)
class _Waiting:
    row: Row
    answer: "asyncio.Future[Prediction]"


class Coalescer:
    """Collects rows of a model for `seconds`, or until there are enough, and sends them together.

    send: asks for rows of a model, and gives their answers in order. Nobody fails for what another asked: where a call
    is refused for what is in it, each of its rows is asked alone.
    """

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self._waiting: dict[str, list[_Waiting]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def predict(self, model: str, row: Row) -> Prediction:
        """Return the answer to one row. Raises as `send`."""
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(model, [])
        asked = _Waiting(row, loop.create_future())
        waiting.append(asked)
        if len(waiting) == 1:
            loop.call_later(self._seconds, self._flush, model, waiting)
        elif len(waiting) == _MOST_ROWS:
            self._flush(model, waiting)
        return await asked.answer

    async def close(self) -> None:
        """Send what still waits, and wait for all answers."""
        for model, waiting in list(self._waiting.items()):
            self._flush(model, waiting)
        await asyncio.gather(*self._sending)

    def _flush(self, model: str, waiting: list[_Waiting]) -> None:
        """Send those who have come together, unless they were sent already because they are many."""
        if self._waiting.get(model) is waiting:
            del self._waiting[model]
            task = asyncio.get_running_loop().create_task(self._answer(model, waiting))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _answer(self, model: str, waiting: Sequence[_Waiting]) -> None:
        wanted = [each for each in waiting if not each.answer.done()]
        if not wanted:
            return
        try:
            found = await self._send(model, [each.row for each in wanted])
        except Exception as error:
            if isinstance(error, InvalidRequest | WrongCall) and len(wanted) > 1:
                await asyncio.gather(*(self._answer(model, [each]) for each in wanted))
                return
            for each in wanted:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        for each, prediction in zip(wanted, found, strict=True):
            if not each.answer.done():
                each.answer.set_result(prediction)
