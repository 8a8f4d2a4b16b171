"""LightGBM's text format, read into flat arrays that decide and add up exactly as LightGBM does."""

from collections.abc import Mapping

import numpy as np

from charkha.bundles.predictor import BadState
from charkha.bundles.trees.forest import Array, Forest, Link, NotThisForest, Tree
from charkha.spec.model import FloatArray

# The bits of `decision_type`. What is missing: nothing (null is 0), zero and null, or null.
CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT = 1, 2, 2
NOTHING_MISSING, ZERO_MISSING = 0, 1
# LightGBM leaves numbers as small as this out of a row before it looks at it: they are 0.
TINY = float(np.float32(1e-35))

Fields = Mapping[str, str]


def read_lightgbm(text: bytes) -> Forest:
    """Return the forest of a model in LightGBM's text format, of one output. Raises BadState and NotThisForest."""
    try:
        head, *blocks = text.decode().partition("\nend of trees")[0].split("\nTree=")
        header, trees = _fields(head), [_fields(block) for block in blocks]
        columns = int(header["max_feature_idx"]) + 1
        link, slope = _link(header)
        zero, null = _missing(columns, trees)
        grown = [_tree(tree) for tree in trees]
    except (KeyError, ValueError, IndexError) as error:
        if isinstance(error, NotThisForest):
            raise
        raise BadState(f"expected a whole model in LightGBM's text format: {error!r}") from None
    return Forest(columns=columns, trees=grown, link=link, slope=slope, tiny=TINY, zero=zero, null=null)


def _fields(block: str) -> dict[str, str]:
    lines = (line.partition("=") for line in block.splitlines())
    return {name: value for name, _, value in lines}


def _link(header: Fields) -> tuple[Link, float]:
    if header["num_tree_per_iteration"] != "1" or "average_output" in header:
        raise NotThisForest("expected trees of one output that add up, got several outputs or an average")
    objective, *parameters = header["objective"].split(" ")
    if objective == "binary":
        return "sigmoid", float(dict(part.split(":") for part in parameters)["sigmoid"])
    if objective == "regression" and not parameters:
        return "identity", 1.0
    raise NotThisForest(f"expected the objective binary or regression, got {header['objective']!r}")


def _missing(columns: int, trees: list[dict[str, str]]) -> tuple[FloatArray, FloatArray]:
    """Return what zero and null become, by column. Raises NotThisForest where trees do not agree on it."""
    kinds: dict[int, int] = {}
    for tree in trees:
        decisions = _numbers(tree, "decision_type", np.int64)
        for feature, decision in zip(_numbers(tree, "split_feature", np.int64), decisions, strict=True):
            if decision & CATEGORICAL:
                continue
            if kinds.setdefault(int(feature), decision >> MISSING_SHIFT) != decision >> MISSING_SHIFT:
                raise NotThisForest(f"column {feature} is missing in one way in one tree, and in another in another")
    zero, null = np.zeros(columns), np.full(columns, np.nan)
    zero[[feature for feature, kind in kinds.items() if kind == ZERO_MISSING]] = np.nan
    null[[feature for feature, kind in kinds.items() if kind == NOTHING_MISSING]] = 0.0
    return zero, null


def _tree(tree: Fields) -> Tree:
    if tree.get("is_linear", "0") != "0":
        raise NotThisForest("expected leaves that are numbers, got linear models in leaves")
    threshold = _numbers(tree, "threshold", np.float64)
    decisions = _numbers(tree, "decision_type", np.int64)
    categorical = (decisions & CATEGORICAL).astype(bool)
    return Tree(
        feature=_numbers(tree, "split_feature", np.int32),
        threshold=threshold,
        left=_numbers(tree, "left_child", np.int32),
        right=_numbers(tree, "right_child", np.int32),
        null_left=((decisions & DEFAULT_LEFT) != 0) & ~categorical,
        value=_numbers(tree, "leaf_value", np.float64),
        categories=_categories(tree, threshold, categorical) if categorical.any() else {},
    )


def _categories(tree: Fields, threshold: FloatArray, categorical: Array) -> dict[int, Array]:
    """Return the sets of a tree's splits on categories, whose threshold is the number of their set."""
    ends, words = _numbers(tree, "cat_boundaries", np.int64), _numbers(tree, "cat_threshold", np.uint32)
    numbers = {int(split): int(threshold[split]) for split in np.flatnonzero(categorical)}
    return {split: words[ends[number] : ends[number + 1]] for split, number in numbers.items()}


def _numbers(tree: Fields, name: str, dtype: type[np.generic]) -> Array:
    """Return a list of numbers, exactly as written; a tree of one leaf has none but its value."""
    return np.array((tree[name] if tree["num_leaves"] != "1" or name == "leaf_value" else "").split(), dtype=dtype)
