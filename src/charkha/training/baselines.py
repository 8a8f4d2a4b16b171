"""What a model must be worth more than: the experts' rules by themselves, and always the same answer."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from charkha.features.evaluate import with_values
from charkha.spec.model import FloatArray
from charkha.spec.rules import Rule

CodeArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def trivial_scores(train_labels: FloatArray, rows: int) -> FloatArray:
    """Return the training rows' mean label for every row, (rows,)."""
    return np.full(rows, train_labels.mean())


def first_rules(rules: Sequence[Rule], rows: pl.DataFrame) -> CodeArray:
    """Return the number of the first rule that holds for each row, int64 (n,): 0 for the first, len(rules) for none.

    rows: the features and the request fields, which rules may use.
    """
    codes = np.full(rows.height, len(rules), dtype=np.int64)
    conditions = [rule.when.cast(pl.Boolean).fill_null(False).alias(f"rule {rule.name}") for rule in rules]
    held = with_values(rows, conditions, {f"rule {rule.name}": False for rule in rules})
    for number in reversed(range(len(rules))):
        codes[held.get_column(f"rule {rules[number].name}").to_numpy()] = number
    return codes


def rules_scores(train_rules: CodeArray, train_labels: FloatArray, rules: CodeArray) -> FloatArray:
    """Return the score of the rules alone, (n,): the mean label of the training rows that the same rule decides.

    This is the best that the rules can say, so beating it means something. Each mean counts the overall mean as one row
    more: a rule that decided three rows, all alike, is not certain.
    """
    kinds = int(max(train_rules.max(), rules.max(initial=0))) + 1
    totals = np.bincount(train_rules, weights=train_labels, minlength=kinds)
    means = (totals + train_labels.mean()) / (np.bincount(train_rules, minlength=kinds) + 1)
    return np.asarray(means[rules])
