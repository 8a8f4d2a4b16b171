"""The bare stack: Granian, a typed body, micro-batches of what came by the next turn of the loop, compiled trees.

No features, no rules, no log, no metrics: what nothing that does more can be faster than.
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from fields import CATEGORIES, FIELDS, MODEL

from charkha.bundles.predictor import RuntimeMissing, load_predictor

MOST_ROWS = 64
HEADERS = [("content-type", "application/json")]
Payment = msgspec.defstruct("Payment", [(name, int if name in CATEGORIES else float) for name in FIELDS], gc=False)
decode = msgspec.json.Decoder(Payment).decode


def _predictor() -> Any:
    state = Path(MODEL).read_bytes()
    try:
        return load_predictor("lightgbm", state, "compiled")
    except RuntimeMissing:
        return load_predictor("lightgbm", state)


class Floor:
    """An RSGI app."""

    def __init__(self) -> None:
        self._predictor = _predictor()
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[float]]] = []

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        row = msgspec.structs.astuple(decode(await proto()))
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[float] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._score, loop)
        self._waiting.append((row, answer))
        proto.response_bytes(200, HEADERS, b'{"score":%.9f}' % await answer)

    def _score(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting[:MOST_ROWS], self._waiting[MOST_ROWS:]
        if self._waiting:
            loop.call_soon(self._score, loop)
        scores = self._predictor.predict(np.array([row for row, _ in batch], dtype=np.float64)).tolist()
        for (_, answer), score in zip(batch, scores, strict=True):
            if not answer.done():
                answer.set_result(score)


app = Floor()
