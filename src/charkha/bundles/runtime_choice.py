"""Which runtime a model is served by: the fastest on a quick measurement that gives the trainer's own scores."""

import statistics
import time
from collections.abc import Callable

import numpy as np

from charkha.bundles.manifest import Measured, RuntimeChoice
from charkha.bundles.predictor import Predictor, RuntimeMissing, load_predictor, runtimes_of
from charkha.bundles.trees.forest import NotThisForest
from charkha.bundles.trees.objects import build
from charkha.spec.model import FloatArray

TOLERANCE = 1e-6
BATCH, SINGLE_ROWS, BATCHES, ROUNDS = 64, 200, 8, 5


def choose_runtime(kind: str, state: bytes, matrix: FloatArray, only: str | None = None) -> RuntimeChoice:
    """Return the runtime for a fitted estimator, of those that agree with the first of its kind on rows.

    The least product of the time for one row and that in a batch is the fastest.
    matrix: float64 (rows, columns): encoded validation rows. Without any, or with one runtime alone, the first is
    chosen, and nothing is measured.
    only: the name of a runtime: held to the first, but neither measured nor compared, for results that do not depend on
    the machine. Raises RuntimeMissing when that one is not to be had.
    """
    first, *others = runtimes_of(kind)
    own = load_predictor(kind, state)
    if not len(matrix) or (not others and only is None):
        return RuntimeChoice(name=first, rows=0)
    expected = own.predict(matrix)
    _build(others)
    if only is not None:
        distance = furthest(load_predictor(kind, state, only).predict(matrix), expected)
        if distance > TOLERANCE:
            raise RuntimeMissing(f"the runtime {only!r}: expected the trainer's own scores to {TOLERANCE}, {distance}")
        return RuntimeChoice(name=only, rows=len(matrix))
    measured, passed_over = {first: _measured(own, matrix, expected)}, {}
    for name in others:
        try:
            figures = _measured(load_predictor(kind, state, name), matrix, expected)
        except (RuntimeMissing, NotThisForest) as error:
            passed_over[name] = str(error)
            continue
        if figures.furthest <= TOLERANCE:
            measured[name] = figures
        else:
            passed_over[name] = f"its scores differ from the trainer's own by up to {figures.furthest:.2g}"
    fastest = min(measured, key=lambda name: measured[name].one_row_us * measured[name].batch_row_us)
    return RuntimeChoice(name=fastest, rows=len(matrix), measured=measured, passed_over=passed_over)


def _build(runtimes: list[str]) -> None:
    """Compile what is compiled once per installation; without it, loading says what is missing."""
    if "compiled" in runtimes:
        try:
            build()
        except RuntimeMissing:
            return


def furthest(scores: FloatArray, expected: FloatArray) -> float:
    """Return the largest difference of scores, float64 (rows,); of those above 1, as a share. Not finite: 1e308."""
    with np.errstate(invalid="ignore"):
        distances = np.abs(scores - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.nan_to_num(distances, nan=1e308, posinf=1e308).max(initial=0.0))


def _measured(predictor: Predictor, matrix: FloatArray, expected: FloatArray) -> Measured:
    distance = furthest(predictor.predict(matrix), expected)
    rows = np.resize(matrix, (max(SINGLE_ROWS, BATCH * BATCHES), matrix.shape[1]))
    singles = [rows[i : i + 1].copy() for i in range(SINGLE_ROWS)]
    batches = [rows[i * BATCH : (i + 1) * BATCH].copy() for i in range(BATCHES)]
    one_row, batch = median_us(predictor.predict, singles), median_us(predictor.predict, batches)
    return Measured(round(one_row, 2), round(batch / BATCH, 3), distance)


def median_us(predict: Callable[[FloatArray], FloatArray], matrices: list[FloatArray], rounds: int = ROUNDS) -> float:
    """Return the µs of one call, the median of rounds over all matrices; a first round is not counted."""
    return statistics.median([_round_us(predict, matrices) for _ in range(rounds + 1)][1:])


def _round_us(predict: Callable[[FloatArray], FloatArray], matrices: list[FloatArray]) -> float:
    begun = time.perf_counter_ns()
    for matrix in matrices:
        predict(matrix)
    return (time.perf_counter_ns() - begun) / 1000 / len(matrices)
