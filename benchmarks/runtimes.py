"""What a prediction costs in each runtime of each estimator.

    .venv/bin/python benchmarks/runtimes.py [--trees 300] [--leaves 31] [--features 32]

Every call has rows of its own: a row asked again and again is answered from the branch predictor's memory, in half the
time.
"""

import argparse
from collections.abc import Callable, Iterator

import lightgbm
import numpy as np
from attrs import frozen
from measuring import header_lines

import charkha as ck
from charkha.bundles.predictor import RuntimeMissing, load_predictor, runtimes_of
from charkha.bundles.runtime_choice import furthest, median_us
from charkha.bundles.trees.objects import build
from charkha.spec.model import Estimator, FloatArray, Lesson

Predict = Callable[[FloatArray], FloatArray]
ROWS, BATCH = 20_000, 64


@frozen
class Shape:
    """A model to be measured."""

    trees: int
    leaves: int
    features: int


def rows(features: int) -> tuple[FloatArray, FloatArray]:
    """Return numbers with nulls, and labels that depend on a third of them."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(ROWS, features))
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    known = np.nan_to_num(matrix)
    signal = known[:, : features // 3 + 1].sum(axis=1) + known[:, 0] * known[:, 1] + rng.normal(size=ROWS)
    return matrix, (signal > 0).astype(np.float64)


def estimators(shape: Shape) -> dict[str, Estimator]:
    """Return one of each kind, all trees grown; the depth of those that have one is that of so many leaves."""
    depth = max(1, round(np.log2(shape.leaves)))
    return {
        "lightgbm": ck.LightGBM(trees=shape.trees, leaves=shape.leaves, early_stopping=None),
        "xgboost": ck.XGBoost(trees=shape.trees, depth=depth, early_stopping=None, threads=1),
        "catboost": ck.CatBoost(trees=shape.trees, depth=depth, early_stopping=None, threads=1),
        "hist_gradient_boosting": ck.HistGradientBoosting(trees=shape.trees, leaves=shape.leaves, early_stopping=None),
        "random_forest": ck.RandomForest(trees=shape.trees, leaves=shape.leaves, threads=1),
        "linear": ck.Linear(),
    }


def runtimes(kind: str, state: bytes) -> Iterator[tuple[str, Predict]]:
    """Yield every way to predict with a fitted estimator, its first runtime first; of LightGBM its own `predict`."""
    if kind == "lightgbm":
        booster = lightgbm.Booster(model_str=state.decode())
        yield "Booster.predict", lambda asked: np.asarray(booster.predict(asked, num_threads=1))
    for name in runtimes_of(kind):
        try:
            yield name, load_predictor(kind, state, name).predict
        except RuntimeMissing as error:
            print(f"{kind}, {name}: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in (("trees", 300), ("leaves", 31), ("features", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    shape = Shape(**vars(parser.parse_args()))
    matrix, labels = rows(shape.features)
    singles = [matrix[i : i + 1].copy() for i in range(1000)]
    batches = [matrix[i * BATCH : (i + 1) * BATCH].copy() for i in range(15)]
    title = f"{shape.trees} trees of {shape.leaves} leaves, {shape.features} features; medians of 9 rounds"
    print("\n".join(header_lines("the working tree", title)), end="\n\n")
    print("| estimator | runtime | one row, µs | a row in 64, µs | furthest from the first |")
    print("| --- | --- | --- | --- | --- |")
    build()
    for kind, estimator in estimators(shape).items():
        state = estimator.fit(Lesson("binary", (matrix, labels), (matrix[:0], labels[:0]), (), 1))
        expected: FloatArray | None = None
        for name, predict in runtimes(kind, state):
            scores = predict(matrix[:5000])
            expected = scores if expected is None else expected
            one, batch = median_us(predict, singles, 9), median_us(predict, batches, 9) / BATCH
            print(f"| {kind} | {name} | {one:.1f} | {batch:.2f} | {furthest(scores, expected):.1e} |", flush=True)


if __name__ == "__main__":
    main()
