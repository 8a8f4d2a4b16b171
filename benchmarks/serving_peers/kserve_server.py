"""KServe's model server, which answers its first protocol."""

from typing import Any

import kserve
import lightgbm
import numpy as np
from fields import FIELDS, MODEL, PORT, THREADS, WORKERS


class Scores(kserve.Model):  # type: ignore[misc,unused-ignore]
    def __init__(self) -> None:
        super().__init__("fields")
        self._booster = lightgbm.Booster(model_file=MODEL)
        self.ready = True

    async def predict(self, payload: dict[str, Any], headers: Any = None, response_headers: Any = None) -> Any:
        matrix = np.array([[row[name] for name in FIELDS] for row in payload["instances"]], dtype=np.float64)
        return {"predictions": np.asarray(self._booster.predict(matrix, num_threads=THREADS)).tolist()}


if __name__ == "__main__":
    kserve.ModelServer(http_port=PORT, enable_grpc=False, workers=WORKERS).start([Scores()])
