"""Where a forest's splits lie in memory, so that the next one is found without a question.

Every question has one form: is the value, or its negative, above a threshold? `x <= t` is asked as `-x > -t'`, with t'
the next number above t, where null shall go right: for NaN the answer is always no, so null needs no question.
"""

from itertools import accumulate

import numpy as np
from attrs import frozen

from charkha.bundles.trees.forest import Array, Forest, Tree

# 16 bytes, four to a cache line. If the value `feature` of a prepared row is above `threshold`, the row goes to node
# `no` + 1, else to `no`; a leaf leads to itself. A split on categories has the feature as -1 less its number, and in
# place of the threshold where its set begins in `words`: the number of words, then the words.
NODE = np.dtype([("threshold", np.float64), ("feature", np.int32), ("no", np.int32)], align=True)
# A tree of so many leaves at most can be asked all of its questions at once: a bit for each leaf.
MOST_LEAVES = 64
LARGEST = float(np.finfo(np.float64).max)
# So many rows are asked each question together: their values and leaves stay in the innermost cache.
TOGETHER = 64


def kernel_name(*parts: str) -> str:
    """Return what a kernel is called: what it does, and the types that it does it with."""
    return " ".join(parts)


@frozen(eq=False)
class Walk:
    """A forest to be walked from node to node.

    nodes: NODE (nodes,), tree after tree. value: (nodes,): what a leaf adds. roots: int64 (trees,).
    words: uint32: the sets of categories. depth: the most splits between a root and a leaf.
    """

    nodes: Array
    value: Array
    roots: Array
    words: Array


@frozen(eq=False)
class Masks:
    """A forest whose questions are all asked: of the leaves that no answer excludes, the first is the row's.

    ends: int64 (trees + 1,): where the splits of each tree begin. value: (trees, 64): of the leaves, in their order.
    keep: uint32 or uint64 (splits,): the leaves that remain where the answer is yes. split: int64 (splits,): the node.
    """

    split: Array
    keep: Array
    ends: Array
    value: Array


def walk_of(forest: Forest) -> Walk:
    """Return the nodes of a forest: of each tree the root, then the two children of its first split, and so on."""
    sizes = [1 + 2 * len(tree.feature) for tree in forest.trees]
    roots = np.array([0, *accumulate(sizes)][:-1], dtype=np.int64)
    dtype = forest.trees[0].value.dtype if forest.trees else np.dtype(np.float64)
    nodes, value = np.zeros(sum(sizes), NODE), np.zeros(sum(sizes), dtype)
    words: list[Array] = [np.zeros(0, np.uint32)]
    begin = 0
    for root, tree in zip(roots, forest.trees, strict=True):
        at = slice(root, root + 1 + 2 * len(tree.feature))
        _lay(tree, int(root), forest.columns, nodes[at], value[at])
        for split, codes in tree.categories.items():
            node = _places(tree)[split]
            nodes["feature"][root + node] = -1 - tree.feature[split]
            nodes["threshold"][root + node] = begin
            words += [np.array([len(codes)], np.uint32), codes]
            begin += 1 + len(codes)
    return Walk(nodes, value, roots, np.concatenate(words))


def _lay(tree: Tree, root: int, columns: int, nodes: Array, value: Array) -> None:
    """Fill the nodes of one tree."""
    nodes["no"], nodes["threshold"] = root + np.arange(len(nodes)), np.inf
    splits = np.arange(len(tree.feature))
    no, yes = _children(tree)
    places = _places(tree)
    for child, side in ((no, 1), (yes, 2)):
        leaves = child < 0
        value[2 * splits[leaves] + side] = tree.value[-1 - child[leaves]]
    if not len(splits):
        value[0] = tree.value[0]
        return
    # Rows have no infinite numbers, so that a threshold of infinity has a number below its negative.
    threshold = np.clip(tree.threshold, -LARGEST, LARGEST)
    with np.errstate(over="ignore"):
        below = np.nextafter(-threshold, -np.inf)
    nodes["feature"][places] = np.where(tree.null_left, tree.feature, tree.feature + columns)
    nodes["threshold"][places] = np.where(tree.null_left, threshold, below)
    nodes["no"][places] = root + 1 + 2 * splits


def _children(tree: Tree) -> tuple[Array, Array]:
    """Return where a row goes that is told no, and yes: null is told no."""
    return np.where(tree.null_left, tree.left, tree.right), np.where(tree.null_left, tree.right, tree.left)


def _places(tree: Tree) -> Array:
    """Return the node of each split, counted from its tree's root: beside its sibling, by their parent's number."""
    places = np.zeros(len(tree.feature), dtype=np.int64)
    for child, side in zip(_children(tree), (1, 2), strict=True):
        inner = child >= 0
        places[child[inner]] = 2 * np.flatnonzero(inner) + side
    return places


def masks_of(walk: Walk) -> Masks | None:
    """Return the masks of a forest, or None where a tree has too many leaves for them."""
    sizes = np.diff(np.append(walk.roots, len(walk.nodes)))
    leaves = (sizes + 1) // 2
    if leaves.max(initial=0) > MOST_LEAVES:
        return None
    no = walk.nodes["no"].tolist()
    split: list[int] = []
    keep: list[int] = []
    ends = [0]
    value = np.zeros((len(sizes), MOST_LEAVES), walk.value.dtype)
    for number, root in enumerate(walk.roots.tolist()):
        found = _tree_masks(root, no, split, keep)
        value[number, : len(found)] = walk.value[found]
        ends.append(len(split))
    dtype = np.uint32 if leaves.max(initial=0) <= 32 else np.uint64
    return Masks(np.array(split, np.int64), np.array(keep, np.uint64).astype(dtype), np.array(ends, np.int64), value)


def _tree_masks(root: int, no: list[int], split: list[int], keep: list[int]) -> list[int]:
    """Add a tree's splits with their masks, and return its leaves, those of no before those of yes."""
    leaves: list[int] = []
    waiting = [(root, -1, 0)]
    while waiting:
        node, parent, first = waiting.pop()
        if parent >= 0:  # all leaves of the parent's no are known: a yes excludes them
            keep[parent] = ((1 << MOST_LEAVES) - 1) & ~(((1 << len(leaves)) - 1) ^ ((1 << first) - 1))
        if no[node] == node:
            leaves.append(node)
            continue
        split.append(node)
        keep.append(0)
        waiting += [(no[node] + 1, len(split) - 1, len(leaves)), (no[node], -1, 0)]
    return leaves
