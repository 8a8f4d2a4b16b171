"""XGBoost's JSON, read into flat arrays that decide and add up as XGBoost does: in float32."""

from typing import Any

import msgspec
import numpy as np

from charkha.bundles.predictor import BadState
from charkha.bundles.trees.forest import Array, Forest, Link, NotThisForest, Tree, bits
from charkha.bundles.trees.nodes import LEAF, tree_of_nodes
from charkha.spec.model import FloatArray

# An attribute of the booster: how many codes each column has, as JSON; null for numbers.
CODES = "charkha.codes"
LINKS: dict[str, Link] = {"binary:logistic": "sigmoid", "reg:squarederror": "identity"}


class _Nodes(msgspec.Struct):
    """A tree of XGBoost's: of each node its children, or -1, and the threshold, or what the leaf adds."""

    left_children: list[int]
    right_children: list[int]
    split_indices: list[int]
    split_conditions: list[float]
    default_left: list[int]
    tree_param: dict[str, str]
    categories: list[int] = []
    categories_nodes: list[int] = []
    categories_segments: list[int] = []
    categories_sizes: list[int] = []


class _Trees(msgspec.Struct):
    trees: list[_Nodes]


class _Booster(msgspec.Struct):
    name: str
    model: _Trees


class _Learner(msgspec.Struct):
    attributes: dict[str, str]
    gradient_booster: _Booster
    learner_model_param: dict[str, str]
    objective: dict[str, Any]


class _Model(msgspec.Struct):
    learner: _Learner


def codes_of(state: bytes) -> FloatArray:
    """Return how many codes each column has, infinitely many for numbers. Raises BadState."""
    return _codes(_decoded(state))


def read_xgboost(state: bytes) -> Forest:
    """Return the forest of a model in XGBoost's JSON, of one output. Raises BadState and NotThisForest."""
    learner = _decoded(state)
    objective = str(learner.objective.get("name"))
    if learner.gradient_booster.name != "gbtree" or objective not in LINKS:
        found = f"{learner.gradient_booster.name} with {objective}"
        raise NotThisForest(f"expected gbtree with one of {', '.join(LINKS)}, got {found}")
    codes = _codes(learner)
    try:
        start = _start(learner.learner_model_param["base_score"], LINKS[objective])
        trees = [_tree(nodes, codes) for nodes in learner.gradient_booster.model.trees]
    except (KeyError, IndexError) as error:
        raise BadState(f"expected a whole model in XGBoost's JSON: {error!r}") from None
    return Forest(columns=len(codes), trees=trees, start=start, link=LINKS[objective], single=True, codes=codes)


def _decoded(state: bytes) -> _Learner:
    try:
        return msgspec.json.decode(state, type=_Model).learner
    except msgspec.DecodeError as error:
        raise BadState(f"expected a model in XGBoost's JSON: {error}") from None


def _codes(learner: _Learner) -> FloatArray:
    try:
        codes = msgspec.json.decode(learner.attributes.get(CODES, ""), type=list[int | None])
    except msgspec.DecodeError as error:
        raise BadState(f"expected the attribute {CODES} of a model that Charkha fitted: {error}") from None
    return np.array([np.inf if count is None else count for count in codes], dtype=np.float64)


def _start(base_score: str, link: Link) -> float:
    """Return what sums begin with: the base score, of a probability its log-odds, in float32."""
    base = np.float32(base_score.strip("[]"))
    return float(base if link == "identity" else -np.log(np.float32(1) / base - np.float32(1)))


def _tree(nodes: _Nodes, codes: FloatArray) -> Tree:
    if nodes.tree_param.get("num_deleted", "0") != "0":
        raise NotThisForest("expected trees without deleted nodes")
    left, right = np.array(nodes.left_children), np.array(nodes.right_children)
    feature, default_left = np.array(nodes.split_indices), np.array(nodes.default_left).astype(bool)
    conditions = np.array(nodes.split_conditions, dtype=np.float32)
    categories: dict[int, Array] = {}
    for node, begin, size in zip(
        nodes.categories_nodes, nodes.categories_segments, nodes.categories_sizes, strict=True
    ):
        # Listed categories go right. Null may go either way, but in a `Tree` it does what codes do that are not listed.
        listed = set(nodes.categories[begin : begin + size])
        if default_left[node]:
            left[node], right[node] = right[node], left[node]
        else:
            listed = set(range(int(codes[feature[node]]))) - listed
        default_left[node] = False
        categories[node] = bits(sorted(listed))
    return tree_of_nodes(
        left,
        right,
        feature=feature,
        # Below the threshold is at most the next number below it: values are float32, and this one is not.
        threshold=np.nextafter(conditions.astype(np.float64), -np.inf),
        null_left=default_left,
        value=np.where(left == LEAF, conditions, np.float32(0)),
        categories=categories,
    )
