"""What `help(ck.LightGBM)` says: every parameter of an estimator, those that several share in the same words."""

import re
from itertools import groupby

import attrs
import pytest

import charkha as ck

BOOSTED = (ck.CatBoost, ck.HistGradientBoosting, ck.LightGBM, ck.XGBoost)
ESTIMATORS = (*BOOSTED, ck.Linear, ck.OnlineLinear, ck.RandomForest)
# Each class says them in full, so that its help is whole; this holds them together.
SHARED = {"trees", "leaves", "learning_rate", "min_rows_per_leaf", "early_stopping", "row_share", "l2", "threads"}


def told(estimator: type) -> dict[str, str]:
    """Return what its docstring says of each parameter."""
    return dict(re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", estimator.__doc__ or "", re.MULTILINE))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_parameter_is_told_in_its_order(estimator: type[attrs.AttrsInstance]) -> None:
    assert list(told(estimator)) == [field.name for field in attrs.fields(estimator)]


def test_boosted_trees_say_what_they_share_in_the_same_words() -> None:
    said = sorted({(name, text) for each in BOOSTED for name, text in told(each).items() if name in SHARED})
    assert {name: len(list(texts)) for name, texts in groupby(said, key=lambda pair: pair[0])} == dict.fromkeys(
        SHARED, 1
    )


def test_boosted_trees_share_their_defaults() -> None:
    fields = [field for each in BOOSTED for field in attrs.fields(each) if field.name in SHARED - {"l2"}]
    assert len({(field.name, field.default) for field in fields}) == len({field.name for field in fields})
