"""FastAPI as one tunes it by hand: a typed body, a row of NumPy, the booster itself on one thread."""

from typing import Any

import lightgbm
import numpy as np
from fastapi import FastAPI
from fields import CATEGORIES, FIELDS, MODEL, THREADS
from pydantic import BaseModel, create_model

booster = lightgbm.Booster(model_file=MODEL)
_types: dict[str, Any] = {name: (int if name in CATEGORIES else float, ...) for name in FIELDS}
Payment = create_model("Payment", **_types)


class Score(BaseModel):  # type: ignore[misc,unused-ignore]
    score: float


async def predict(payment: Payment) -> Score:  # type: ignore[valid-type]
    row = np.array([[getattr(payment, name) for name in FIELDS]], dtype=np.float64)
    return Score(score=float(booster.predict(row, num_threads=THREADS)[0]))


app = FastAPI()
app.post("/predict", response_model=Score)(predict)
