"""BentoML with its adaptive batching."""

from typing import Any

import bentoml
import lightgbm
import numpy as np
from fields import CATEGORIES, FIELDS, MODEL, THREADS, WORKERS
from pydantic import create_model

_types: dict[str, Any] = {name: (int if name in CATEGORIES else float, ...) for name in FIELDS}
Payment = create_model("Payment", **_types)


class _Scores:
    def __init__(self) -> None:
        self._booster = lightgbm.Booster(model_file=MODEL)

    def predict(self, rows: list[Payment]) -> list[float]:  # type: ignore[valid-type]
        matrix = np.array([[getattr(row, name) for name in FIELDS] for row in rows], dtype=np.float64)
        scores: list[float] = np.asarray(self._booster.predict(matrix, num_threads=THREADS)).tolist()
        return scores


_Scores.predict = bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)(_Scores.predict)  # type: ignore[method-assign]
Scores = bentoml.service(workers=WORKERS)(_Scores)
