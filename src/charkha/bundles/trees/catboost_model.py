"""Oblivious trees that CatBoost grew, as flat arrays; made while the fitted model is there to be asked."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from charkha.bundles.trees.forest import Array, Forest, Link, NotThisForest, Tree, bits


class _Split(msgspec.Struct):
    split_type: str
    border: float = 0.0
    float_feature_index: int = 0
    cat_feature_index: int = 0


class _Oblivious(msgspec.Struct):
    leaf_values: list[float]
    splits: list[_Split] | None = None


class _Float(msgspec.Struct):
    nan_value_treatment: str


class _Features(msgspec.Struct):
    float_features: list[_Float] = []


class _Model(msgspec.Struct):
    oblivious_trees: list[_Oblivious]
    scale_and_bias: tuple[float, list[float]]
    features_info: _Features


def forest_of_catboost(json: bytes, leaves: Sequence[Array], shape: Forest, link: Link) -> Forest:
    """Return the forest of a model in CatBoost's JSON. Raises NotThisForest for splits on statistics of categories.

    leaves: per categorical column the leaf of each code in each tree, int (codes, trees), as CatBoost itself tells: in
    its JSON, categories are hashes. shape: a forest without trees, with how rows are prepared.
    """
    model = msgspec.json.decode(json, type=_Model)
    scale, bias = model.scale_and_bias
    categorical = np.flatnonzero(np.isfinite(shape.codes))
    numeric = np.flatnonzero(np.isinf(shape.codes))
    nulls = [feature.nan_value_treatment != "AsTrue" for feature in model.features_info.float_features]
    trees = []
    for number, tree in enumerate(model.oblivious_trees):
        answered = [each[:, number] for each in leaves]
        columns = _Columns(numeric, categorical, nulls, answered)
        trees.append(_tree(tree, scale, columns))
    return Forest(
        columns=shape.columns,
        trees=trees,
        start=bias[0],
        link=link,
        single=True,
        null=shape.null,
        codes=shape.codes,
    )


class _Columns(NamedTuple):
    """numeric, categorical: their positions. nulls: of numbers, whether null is told no. leaves: per code."""

    numeric: Array
    categorical: Array
    nulls: list[bool]
    leaves: list[Array]


def _tree(tree: _Oblivious, scale: float, columns: _Columns) -> Tree:
    """Return one tree: all nodes of a level ask the same, and the answers are the bits of the leaf, lowest first."""
    splits = tree.splits or []
    count = 2 ** len(splits) - 1
    parts: dict[str, Any] = {
        "feature": np.zeros(count, np.int32),
        "threshold": np.zeros(count),
        "left": np.zeros(count, np.int64),
        "right": np.zeros(count, np.int64),
        "null_left": np.zeros(count, bool),
    }
    categories: dict[int, Array] = {}
    for level, split in enumerate(splits):
        prefix = np.arange(2**level)
        nodes = 2**level - 1 + prefix
        no, yes = (prefix | bit << level for bit in (0, 1))
        last = level == len(splits) - 1
        no, yes = (-1 - no, -1 - yes) if last else (2 ** (level + 1) - 1 + no, 2 ** (level + 1) - 1 + yes)
        if split.split_type == "FloatFeature":
            parts["feature"][nodes], parts["threshold"][nodes] = (
                columns.numeric[split.float_feature_index],
                split.border,
            )
            parts["null_left"][nodes] = columns.nulls[split.float_feature_index]
            parts["left"][nodes], parts["right"][nodes] = no, yes
        elif split.split_type == "OneHotFeature":
            at = split.cat_feature_index
            listed = bits(np.flatnonzero(columns.leaves[at] >> level & 1))
            parts["feature"][nodes] = columns.categorical[at]
            parts["left"][nodes], parts["right"][nodes] = yes, no
            categories |= dict.fromkeys(nodes.tolist(), listed)
        else:
            raise NotThisForest(f"expected splits on numbers and single categories, got {split.split_type}")
    return Tree(**parts, value=np.array(tree.leaf_values) * scale, categories=categories)
