"""What blocks of features tell, from tiles, is what their rows tell; spans may begin anywhere, and replicas add up."""

import numpy as np
import polars as pl
import pytest

from charkha.bundles.profile import learn_shape, profile_of
from charkha.monitoring.diagnosis.checks.features import FeatureView
from charkha.monitoring.performance import Span
from charkha.monitoring.tiles import TILE_US, tiles_of

FEATURES = ["v.near", "v.far", "v.kind"]
START = 1_000_000 * TILE_US


def rows() -> pl.DataFrame:
    """Two thousand predictions of a hundred tiles, none in some of them, by two replicas."""
    random = np.random.default_rng(4)
    common = random.standard_normal(2_000)
    tiles = np.sort(random.choice(np.delete(np.arange(100), [0, 7, 8, 60]), 2_000))
    frame = pl.DataFrame(
        {
            "_at_us": START + tiles * TILE_US + random.integers(0, TILE_US, 2_000),
            "v.near": common + 0.1 * random.standard_normal(2_000),
            "v.far": np.where(random.random(2_000) < 0.1, np.nan, common),
            "v.kind": random.choice(["a", "b", "c"], 2_000),
            "score": random.random(2_000),
            "replica": random.choice(["one", "two"], 2_000),
        }
    )
    return frame.with_columns(pl.col("v.far").fill_nan(None), role=pl.lit("champion"), features_logged=True)


@pytest.mark.parametrize("length", [1, 6, 36])
@pytest.mark.parametrize(("since", "until"), [(0, 100), (13, 77), (-50, 40), (95, 140), (150, 160)])
def test_blocks_tell_what_their_rows_do(length: int, since: int, until: int) -> None:
    frame = rows()
    shape = learn_shape(frame.select(FEATURES), frame["score"].to_numpy())
    view = FeatureView.of_tiles(shape, tiles_of(shape, "", frame))
    found = view.statistics(Span(START + since * TILE_US, START + until * TILE_US), length)
    first = (START // TILE_US + since) // length
    assert len(found.rows) == (START // TILE_US + until) // length - first
    for block in range(len(found.rows)):
        number = pl.col("_at_us") // (length * TILE_US)
        told = profile_of(shape, *_parts(frame.filter(number == first + block)))
        for place, name in enumerate(found.names):
            *known, null = told.features[name]
            counted = (found.rows[block, place], found.nulls[block, place], found.top[block, place])
            assert counted == (sum(known) + null, null, max(known))
            paired = (found.paired[block, place], found.odd[block, place], found.agree[block, place])
            assert paired == told.odd.get(name, (0, 0, 0))


def test_no_rows_tell_nothing() -> None:
    frame = rows()
    shape = learn_shape(frame.select(FEATURES), frame["score"].to_numpy())
    view = FeatureView.of_tiles(shape, tiles_of(shape, "", frame.clear()))
    found = view.statistics(Span(START, START + 12 * TILE_US), 6)
    assert found.rows.shape == (2, 3)
    assert not found.rows.any()
    assert not found.top.any()


def _parts(frame: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    return frame.select(FEATURES), frame["score"].to_numpy()
