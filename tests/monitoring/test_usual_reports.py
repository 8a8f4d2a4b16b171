"""The quality of data and of answers: figures that can be counted by hand, and what cannot be told is None."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.monitoring.answer_quality import classification_quality, regression_quality
from charkha.monitoring.data_quality import data_quality
from charkha.web.drift_chart import answers_plot


def test_columns_are_counted() -> None:
    rows = pl.DataFrame(
        {
            "request.km": [1.0, float("nan"), None, 1.0, 4.0, 1.0],
            "request.far": [True, False, None, True, True, True],
            "v.sky": ["rain", None, "rain", "rain", "sun", "rain"],
        }
    )
    found = data_quality(rows)
    assert (found.rows, found.duplicates) == (6, 2)
    km, far, sky = found.columns
    assert (km.nulls, km.distinct, km.least, km.mean, km.most, km.commonest) == (2, 2, 1.0, 1.75, 4.0, None)
    assert (far.nulls, far.distinct, far.mean) == (1, 2, 0.8)
    assert (sky.nulls, sky.distinct, sky.least, sky.commonest) == (1, 2, None, "rain")


def test_no_rows_have_no_figures() -> None:
    found = data_quality(pl.DataFrame(schema={"v.x": pl.Float64(), "v.t": pl.String()}))
    assert (found.rows, found.duplicates, found.columns[0].mean, found.columns[1].commonest) == (0, 0, None, None)
    assert data_quality(pl.DataFrame()).columns == ()


def test_decisions_and_probabilities_by_hand() -> None:
    labels, scores = np.array([0.0, 0.0, 1.0, 1.0, 1.0]), np.array([0.1, 0.6, 0.4, 0.8, 1.0])
    found = classification_quality(labels, scores, 0.5)
    assert found.confusion == (1, 1, 1, 2)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    assert found.roc_auc == pytest.approx(5 / 6)
    assert found.brier == pytest.approx((0.01 + 0.36 + 0.36 + 0.04 + 0) / 5)
    assert found.log_loss == pytest.approx(-sum(map(math.log, (0.9, 0.4, 0.4, 0.8, 1.0))) / 5, rel=1e-6)
    assert [(each.low, each.rows, each.observed) for each in found.calibration] == [
        *[(0.1, 1, 0.0), (0.4, 1, 1.0), (0.6, 1, 0.0), (0.8, 1, 1.0), (0.9, 1, 1.0)]
    ]


def test_what_rows_cannot_tell_is_none() -> None:
    one_class = classification_quality(np.zeros(3), np.full(3, 0.2), 0.5)
    assert (one_class.roc_auc, one_class.precision, one_class.recall) == (None, None, None)
    assert one_class.confusion == (3, 0, 0, 0)
    assert classification_quality(np.array([0.0, 1.0]), np.array([0.2, 0.3]), None).confusion is None
    assert regression_quality(np.ones(2), np.array([1.0, 3.0])).r2 is None


def test_errors_by_hand() -> None:
    labels = np.arange(20.0)
    found = regression_quality(labels, labels + np.where(labels < 10, 1.0, -3.0))
    assert (found.mae, found.bias) == (2.0, -1.0)
    assert found.rmse == pytest.approx(math.sqrt(5))
    assert found.r2 == pytest.approx(1 - 20 * 5 / ((labels - labels.mean()) ** 2).sum())
    assert len(found.tenths) == 10
    assert [each.rows for each in found.tenths] == [2] * 10
    assert sum(each.bias * each.rows for each in found.tenths) / 20 == pytest.approx(found.bias)


PAIRS = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=1, max_size=40)


@given(PAIRS, st.floats(0, 1))
def test_parts_add_up_to_the_whole_and_have_a_plot(pairs: list[tuple[float, float]], threshold: float) -> None:
    labels, scores = (np.array(side) for side in zip(*pairs, strict=True))
    found = classification_quality(labels, scores, threshold)
    assert found.confusion is not None
    assert sum(found.confusion) == sum(each.rows for each in found.calibration) == len(pairs)
    assert sum(each.observed * each.rows for each in found.calibration) == pytest.approx(labels.sum())
    assert all(each.low - 1e-9 <= each.predicted <= each.high + 1e-9 for each in found.calibration)
    assert len(answers_plot(found).dots) == len(found.calibration)
    numbers = regression_quality(labels, scores)
    assert sum(each.mae * each.rows for each in numbers.tenths) == pytest.approx(numbers.mae * len(pairs))
    assert all(bar.height >= 0 for bar in answers_plot(numbers).bars)
