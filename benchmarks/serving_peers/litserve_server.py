"""LitServe with batching."""

from typing import Any

import lightgbm
import litserve
import numpy as np
from fields import FIELDS, MODEL, PORT, THREADS, WORKERS


class Scores(litserve.LitAPI):  # type: ignore[misc,unused-ignore]
    def setup(self, device: str) -> None:
        self._booster = lightgbm.Booster(model_file=MODEL)

    def decode_request(self, request: dict[str, float]) -> Any:
        return np.array([request[name] for name in FIELDS], dtype=np.float64)

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, matrix: Any) -> Any:
        return self._booster.predict(matrix, num_threads=THREADS)

    def unbatch(self, output: Any) -> list[Any]:
        return list(output)

    def encode_response(self, output: float) -> dict[str, float]:
        return {"score": float(output)}


if __name__ == "__main__":
    server = litserve.LitServer(
        Scores(max_batch_size=64, batch_timeout=0.005), accelerator="cpu", workers_per_device=WORKERS
    )
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
