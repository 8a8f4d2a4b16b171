"""Offline features against the obvious version."""

import polars as pl
import pytest
from attrs import evolve
from feature_oracle import Event, agree, answers, arrivals, slack
from feature_streams import Stream, as_frame, cases, streams
from hypothesis import given

from charkha.features import history
from charkha.features.declared import declared_fields
from charkha.features.point_in_time import join_view
from charkha.features.rows import mark_versions, stamped
from charkha.spec.fields import polars_schema
from charkha.spec.views import FeatureView


def history_of(stream: Stream) -> tuple[list[Event], pl.DataFrame]:
    """All rows of a stream as if they were of files."""
    pushed = [evolve(event, known_us=push.at_us) for push in stream.pushes for event in push.rows]
    events, source = [*stream.files[0], *stream.files[1], *pushed], stream.world.source
    frame = as_frame(events, stream.world)
    rows = stamped(frame.select(**declared_fields(source, frame.lazy(), "here")), source)
    known_us = [event.known_us for event in events if event.event_us is not None]
    rows = rows.with_columns(_known_us=pl.Series(known_us, dtype=pl.Int64))
    return events, mark_versions(rows.sort("_known_us", nulls_last=True, maintain_order=True), source)


def joined(view: FeatureView, rows: pl.DataFrame, stream: Stream) -> pl.DataFrame:
    asked = [(*question.request.values(), question.at_us) for question in stream.questions]
    schema = {**polars_schema(stream.world.plan.request), "_at_us": pl.Int64()}
    return join_view(view, rows, pl.DataFrame(asked, schema=schema, orient="row"))


@pytest.mark.timeout(7200)  # of the thorough profile
@cases(1200)
@given(streams())
def test_offline_features_are_those_of_the_obvious_version(stream: Stream) -> None:
    events, rows = history_of(stream)
    arrived = arrivals(events, [], stream.world.source.key)
    view = stream.world.views[0]
    features = joined(view, rows, stream)
    for place, question in enumerate(stream.questions):
        for name, expected, measure in answers(view, arrived, question.entity(view.entity.keys), question.at_us):
            found = features[f"first.{name}"][place]
            assert agree(measure, found, expected, stream.scale(measure)), (name, found, expected)


@cases(100)
@given(streams())
def test_rows_that_are_read_some_at_a_time_make_the_same_features(stream: Stream) -> None:
    _, rows = history_of(stream)
    view = stream.world.views[0]
    whole = joined(view, rows, stream)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(history, "_MOST_FLOATS", 200)
        pieces = joined(view, rows, stream)
    measures = {name: measure for name, _, measure in answers(view, [], (0,) * len(view.entity.keys), 0)}
    for name in whole.columns:
        measure = measures[name.removeprefix("first.")]
        allowed = slack(measure, stream.scale(measure))
        for one, other in zip(whole[name], pieces[name], strict=True):
            assert one == other or abs(one - other) <= allowed, name
