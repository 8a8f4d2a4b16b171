"""One stretch of traffic played several times: what an hourly look finds of each incident, and in which words."""

import re

import pytest
from attrs import evolve
from test_diagnosed import ONSET_US, WORLD, case_of

from charkha.operations.drills.acts import Act, NoBundles, Played, played
from charkha.spec.durations import DAY_US

CASE = case_of(WORLD, until_us=ONSET_US + DAY_US)
FROZEN = Act(name="sky", words="The feed is frozen.", kind="late_events", subject="weather", size=24.0 * 365)
SECONDS = Act(name="city", words="Of one city.", kind="unit_change", subject="rides.minutes[city=Pune]", size=60.0)
CHANGED = Act(name="world", words="The world changes.", kind="concept_sudden", subject="ride.km", size=3.0)


@pytest.fixture(scope="module")
def frozen() -> Played:
    return played(CASE, FROZEN, ONSET_US)


def test_a_feed_that_stops_is_told_as_nothing_that_comes(frozen: Played) -> None:
    assert frozen.found.headline == "source: nothing comes of weather any more"
    assert frozen.found.culprit.sources == ("weather",)
    assert frozen.found.remedy.action == "page_source_owner"


def test_the_case_ends_at_the_look_that_found_it(frozen: Played) -> None:
    assert frozen.hours is not None
    assert 1 <= frozen.hours <= 8
    assert frozen.case.watched == frozen.found.watched
    assert frozen.since_us < frozen.case.watched.until_us < CASE.watched.until_us


def test_a_unit_that_changed_in_one_segment_is_told_with_it() -> None:
    found = played(CASE, SECONDS, ONSET_US).found
    told = re.fullmatch(
        r"a unit of rides.minutes has changed where city=Pune: its values are about × ([\d.]+) as large", found.kind
    )
    assert told is not None, found.kind
    assert float(told[1]) > 2
    assert found.culprit.segments == ("city=Pune",)


def test_a_world_that_changed_is_to_be_learnt_from() -> None:
    found = played(case_of(WORLD, until_us=ONSET_US + 6 * DAY_US), CHANGED, ONSET_US).found
    assert (found.cause, found.remedy.action) == ("concept", "retrain"), found.headline
    assert found.kind.startswith("what the model has learnt holds no more; ")


def test_without_bundles_nothing_can_be_put_in() -> None:
    with pytest.raises(NoBundles, match="expected the bundles of all versions that served"):
        played(evolve(CASE, rescore=None), FROZEN, ONSET_US)
