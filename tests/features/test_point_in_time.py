"""Offline features against the obvious version."""

from typing import Any

import polars as pl
import pytest
from feature_oracle import Event, agree, latest_row, slack, window_features
from feature_streams import START_US, as_frame, questions, source, streams, view
from hypothesis import given, settings

from charkha.features import point_in_time
from charkha.features.point_in_time import join_view
from charkha.features.rows import mark_versions

SOURCE = source()
VIEW = view(SOURCE)


def rows_of(events: list[Event]) -> pl.DataFrame:
    stamped = as_frame(events).with_columns(
        _event_us=pl.Series([e.event_us for e in events], dtype=pl.Int64),
        _known_us=pl.Series([e.known_us for e in events], dtype=pl.Int64),
    )
    return mark_versions(stamped, source())


@settings(max_examples=300, deadline=None)
@given(streams(), questions)
def test_offline_features_are_those_of_the_obvious_version(events: Any, asked: Any) -> None:
    spine = pl.DataFrame(
        {"entity": [entity for entity, _ in asked], "_at_us": [START_US + offset for _, offset in asked]},
        schema={"entity": pl.String(), "_at_us": pl.Int64()},
    )
    features = join_view(VIEW, rows_of(events), spine)
    scale = max((abs(event.value) for event in events if event.value is not None), default=0.0)
    for place, (entity, offset) in enumerate(asked):
        at_us = START_US + offset
        for name, expected in window_features(VIEW, events, entity, at_us).items():
            found = features[f"view.{name}"][place]
            assert agree(name, found, expected, scale), (name, found, expected)
        latest = latest_row(VIEW, events, entity, at_us)
        assert features["view.value"][place] == (latest.value if latest else None)
        assert features["view.text"][place] == (latest.text if latest else None)


@settings(max_examples=40, deadline=None)
@given(streams(), questions)
def test_rows_that_are_read_some_at_a_time_make_the_same_features(events: Any, asked: Any) -> None:
    spine = pl.DataFrame(
        {"entity": [entity for entity, _ in asked], "_at_us": [START_US + offset for _, offset in asked]},
        schema={"entity": pl.String(), "_at_us": pl.Int64()},
    )
    whole = join_view(VIEW, rows_of(events), spine)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(point_in_time, "_MOST_FLOATS", 200)
        pieces = join_view(VIEW, rows_of(events), spine)
    scale = max((abs(event.value) for event in events if event.value is not None), default=0.0)
    for name in whole.columns:
        allowed = slack(name, scale)
        for one, other in zip(whole[name], pieces[name], strict=True):
            assert one == other or abs(one - other) <= allowed, name
