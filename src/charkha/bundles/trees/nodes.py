"""Trees as most libraries keep them: numbered nodes, splits and leaves in one row; node 0 is the root."""

import numpy as np

from charkha.bundles.trees.forest import Array, Tree
from charkha.spec.model import FloatArray

LEAF = -1


def tree_of_nodes(
    left: Array,
    right: Array,
    *,
    feature: Array,
    threshold: FloatArray,
    null_left: Array,
    value: Array,
    categories: dict[int, Array] | None = None,
) -> Tree:
    """Return a tree given per node, (nodes,): the nodes to its left and right, or LEAF twice, and what a `Tree` has.

    Every node must be reached from the root. categories: node → its codes as bits.
    """
    splits = np.flatnonzero(left != LEAF)
    numbers = np.empty(len(left), dtype=np.int64)
    numbers[splits] = np.arange(len(splits))
    leaves = np.flatnonzero(left == LEAF)
    numbers[leaves] = -1 - np.arange(len(leaves))
    return Tree(
        feature=feature[splits].astype(np.int32),
        threshold=threshold[splits].astype(np.float64),
        left=numbers[left[splits]],
        right=numbers[right[splits]],
        null_left=null_left[splits].astype(bool),
        value=value[leaves],
        categories={int(numbers[node]): words for node, words in (categories or {}).items()},
    )
