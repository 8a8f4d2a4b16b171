"""Ensembles that scikit-learn grew, as flat arrays: its own format would be pickle.

They are made while the fitted estimator is there, and held to its own predictions before anything is kept.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from charkha.bundles.fitting import CannotFit
from charkha.bundles.trees.forest import Array, Forest, Tree, bits
from charkha.bundles.trees.nodes import LEAF, tree_of_nodes
from charkha.bundles.trees.on_numpy import NumpyForest, prepared
from charkha.spec.model import FloatArray, Task

HELD_ROWS, TOLERANCE = 2000, 1e-6


def codes_of(matrix: FloatArray, categorical: tuple[int, ...], most: float = np.inf) -> FloatArray:
    """Return how many codes each column of training rows has, `most` at most; infinitely many for numbers."""
    codes = np.full(matrix.shape[1], np.inf)
    for at in categorical:
        codes[at] = min(np.nanmax(matrix[:, at], initial=-1.0) + 1, most)
    return codes


def forest_of_averages(fitted: Any, task: Task, codes: FloatArray) -> Forest:
    """Return a fitted RandomForestClassifier or -Regressor: the mean of its trees, which look at float32."""
    grown = [estimator.tree_ for estimator in fitted.estimators_]
    at = 1 if task == "binary" else 0
    trees = [
        tree_of_nodes(
            tree.children_left,
            tree.children_right,
            feature=tree.feature,
            threshold=tree.threshold,
            null_left=tree.missing_go_to_left,
            value=tree.value[:, 0, at] / len(grown),
        )
        for tree in grown
    ]
    return Forest(columns=len(codes), trees=trees, single=True, codes=codes)


def forest_of_boosting(fitted: Any, task: Task, codes: FloatArray, trees: int) -> Forest:
    """Return the first trees of a fitted HistGradientBoostingClassifier or -Regressor, of one output."""
    # Where there are categories, it moves them to the front, and numbers them anew.
    order = np.argsort(np.isinf(codes), kind="stable")
    encoder = fitted._preprocessor
    known = encoder.named_transformers_["encoder"].categories_ if encoder is not None else []
    return Forest(
        columns=len(codes),
        trees=[_boosted(stage[0], order, known) for stage in fitted._predictors[:trees]],
        start=float(fitted._baseline_prediction[0, 0]),
        link="sigmoid" if task == "binary" else "identity",
        codes=codes,
    )


def _boosted(predictor: Any, order: Array, known: list[Array]) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    left, right = (np.where(leaf, LEAF, nodes[side].astype(np.int64)) for side in ("left", "right"))
    null_left = nodes["missing_go_to_left"].astype(bool)
    categories: dict[int, Array] = {}
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        codes = known[nodes["feature_idx"][node]]
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
        number = np.arange(len(codes))
        listed = (words[number // 32] >> (number % 32).astype(np.uint32) & 1).astype(bool)
        if null_left[node]:  # in a `Tree`, null does what codes do that are not listed
            left[node], right[node], listed = right[node], left[node], ~listed
        null_left[node] = False
        categories[node] = bits(codes[listed & ~np.isnan(codes)].astype(np.int64))
    return tree_of_nodes(
        left,
        right,
        feature=order[nodes["feature_idx"]],
        threshold=nodes["num_threshold"],
        null_left=null_left,
        value=nodes["value"],
        categories=categories,
    )


def hold_to(own: Callable[[FloatArray], FloatArray], forest: Forest, matrix: FloatArray) -> None:
    """Raise CannotFit unless a forest gives the predictions of the estimator it was made of."""
    rows = prepared(forest, matrix[:HELD_ROWS])
    # scikit-learn adds all of a matrix up to see whether a number is not finite: the largest make that infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        expected = own(rows)
    distance = np.abs(NumpyForest(forest).predict(rows) - expected) / np.maximum(1.0, np.abs(expected))
    if not distance.max(initial=0.0) <= TOLERANCE:
        raise CannotFit(
            f"expected flat trees that predict as scikit-learn does, to {TOLERANCE}, got {distance.max():.2g}. "
            "This version of scikit-learn keeps its trees in another way: choose another estimator, or upgrade Charkha."
        )
