"""Features of a share of the rows: which ones, what the log then holds, and that nothing is measured of the others."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from serving_project import HOUR_US, MODEL, Stage, champion, deploy, open_stage, requests, trip, write_bundle

from charkha.bundles.store import BundleStore
from charkha.engines.local import LocalEngine
from charkha.monitoring.collect import collect
from charkha.monitoring.compact import compact
from charkha.monitoring.drift import Watched, drift_findings
from charkha.monitoring.logged import logged_predictions
from charkha.monitoring.performance import Span
from charkha.monitoring.profiles import ProfileReader
from charkha.monitoring.served import sample_of, served_by_tables
from charkha.monitoring.verify import Recomputer, verify_log
from charkha.serving.prediction_frames import with_features
from charkha.serving.prediction_ids import first_id
from charkha.serving.sampling import drawn
from charkha.spec.durations import DAY_US
from charkha.spec.policies import LogPolicy, Monitors
from charkha.storage.ledger import Assignment

SHARE = 0.3
WHOLE = 1 << 61


@given(st.integers(0, WHOLE - 1), st.integers(1, 1000), st.floats(1e-6, 1, exclude_max=True))
def test_the_sample_is_that_of_the_obvious_loop(lot: int, count: int, share: float) -> None:
    step = int(share * WHOLE)
    expected = [row for row in range(count) if (lot + (row + 1) * step) // WHOLE > (lot + row * step) // WHOLE]
    rows = drawn(first_id(1_000_000, lot), count, share)
    assert rows == tuple(expected)
    assert abs(len(rows) - share * count) <= 1


def test_every_row_has_the_same_chance() -> None:
    counts = [0] * 64
    for _ in range(4000):
        for row in drawn(first_id(1_000_000), 64, SHARE) or ():
            counts[row] += 1
    assert all(1000 < count < 1400 for count in counts)  # 1200 ± 7 standard deviations
    assert drawn(first_id(1), 64, 1.0) is None


def with_shadow(stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2")
    deploy(stage.home, champion("v1"), Assignment("v2", "shadow"))
    stage.service.refresh()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, log=LogPolicy(features_share=SHARE)) as opened:
        with_shadow(opened)
        opened.service.push("trips", [trip(1)])
        for rows in (1, 1, 1, 64, 133, 300):
            opened.service.predict(MODEL, requests(*["Pune", "Delhi", None, "Nowhere"] * 75).head(rows))
        yield opened


def test_ids_and_scores_are_logged_of_all_and_features_of_the_share(stage: Stage) -> None:
    found = logged_predictions(stage.home, MODEL, BundleStore(stage.home.bundles))
    assert found.height == 2 * 500
    assert found.select("id", "score", "_at_us", "decision", "request.km").null_count().sum_horizontal().item() == 0
    logged = with_features(found)
    assert abs(logged.height - 2 * 500 * SHARE) <= 2 * 6
    assert logged["ask.per_stop"].null_count() == 0
    others = found.filter(~pl.col("features_logged"))
    assert others["ask.per_stop"].null_count() == others.height
    by_id = logged.group_by("id").agg(pl.col("role").sort())
    assert all(roles == ["champion", "shadow"] for roles in by_id["role"].to_list())


def test_the_record_is_smaller_by_what_it_leaves_out(stage: Stage, tmp_path: Path) -> None:
    other = tmp_path / "whole"
    other.mkdir()
    with open_stage(other) as whole:
        with_shadow(whole)
        ends = []
        for each in (stage, whole):
            before = sum(each.home.log.end(f"predictions/{MODEL}").values())
            each.service.predict(MODEL, requests(*["Pune"] * 300))
            ends.append(sum(each.home.log.end(f"predictions/{MODEL}").values()) - before)
    assert ends[0] < 0.7 * ends[1]


def test_features_are_verified_where_they_are_known_alone(stage: Stage) -> None:
    expected = with_features(logged_predictions(stage.home, MODEL, BundleStore(stage.home.bundles))).height
    model = stage.project.models[MODEL]
    with Recomputer.opened(stage.project, model, stage.home, LocalEngine(1)) as recomputer:
        for sample, compared in ((None, expected), (20, 40)):
            found = verify_log(recomputer, Span(0, 1 << 62), sample, lambda done, total: None)
            assert (found.predictions, found.skewed) == (compared, [])


def test_drift_is_measured_of_what_is_known(stage: Stage) -> None:
    """Of the scores of all rows, of the features and their nulls of those that were logged."""
    bundles, model = BundleStore(stage.home.bundles), stage.project.models[MODEL]
    collect(stage.home, model, bundles)
    now_us = stage.clock.now()
    profile = ProfileReader(stage.home, MODEL, bundles).profile("v1", now_us - DAY_US, now_us + 1)
    assert profile is not None
    known = with_features(logged_predictions(stage.home, MODEL, bundles).filter(version="v1"))
    assert (profile.rows, sum(profile.scores)) == (500, 500)
    assert {sum(counts) for counts in profile.features.values()} == {known.height}
    assert profile.features["traffic.driver"][-1] == known["traffic.driver"].null_count()
    manifest = bundles.manifest(MODEL, "v1")
    watched = Watched(MODEL, "v1", now_us, Monitors())
    findings = drift_findings(watched, manifest.shape, manifest.reference, profile)
    nulls = {each.subject: each for each in findings if each.kind == "nulls"}
    assert f"of {known.height:,} rows" in nulls["traffic.driver"].message


def test_where_no_features_are_logged_none_have_drifted(tmp_path: Path) -> None:
    with open_stage(tmp_path, log=LogPolicy(features_share=1e-6)) as stage:
        stage.service.predict(MODEL, requests(*["Pune"] * 9))
        bundles, now_us = BundleStore(stage.home.bundles), stage.clock.now()
        collect(stage.home, stage.project.models[MODEL], bundles)
        profile = ProfileReader(stage.home, MODEL, bundles).profile("v1", now_us - DAY_US, now_us + 1)
        manifest = bundles.manifest(MODEL, "v1")
        assert profile is not None
        watched = Watched(MODEL, "v1", now_us, Monitors())
        found = drift_findings(watched, manifest.shape, manifest.reference, profile)
        assert {(each.kind, each.subject) for each in found} == {("drift", "score")}
        assert sample_of(served_by_tables(stage.home, MODEL, Span(0, now_us + 1), "v1"), 5) is None


def test_a_compact_day_says_which_rows_have_their_features(stage: Stage) -> None:
    bundles, model = BundleStore(stage.home.bundles), stage.project.models[MODEL]
    collect(stage.home, model, bundles)
    before = logged_predictions(stage.home, MODEL, bundles).sort("id", "role")
    stage.service.close()
    assert compact(stage.home, model, bundles, stage.clock.now() + 2 * DAY_US).rows == 1000
    after = logged_predictions(stage.home, MODEL, bundles).sort("id", "role")
    assert after.select(before.columns).equals(before)
    span = Span(stage.clock.now() - HOUR_US, stage.clock.now() + 1)
    sample = sample_of(served_by_tables(stage.home, MODEL, span, "v1"), 1000)
    assert sample is not None
    assert sample.height == with_features(before.filter(version="v1")).height


def test_what_older_versions_wrote_has_its_features(stage: Stage) -> None:
    found = logged_predictions(stage.home, MODEL, BundleStore(stage.home.bundles))
    old = found.drop("features_logged")
    assert with_features(old).height == 1000
    assert with_features(pl.concat([old, found], how="diagonal")).height == 1000 + with_features(found).height


def test_a_share_that_changes_is_that_of_the_rows_from_then_on(stage: Stage) -> None:
    whole = evolve(stage.project.models[MODEL], log=LogPolicy())
    project = evolve(stage.project, models={**stage.project.models, MODEL: whole})
    service = type(stage.service)(project, stage.home, stage.clock, "w1")
    service.refresh()
    service.predict(MODEL, requests(*["Pune"] * 10))
    service.close()
    found = logged_predictions(stage.home, MODEL, BundleStore(stage.home.bundles))
    assert found.height == 1020
    assert with_features(found).height == with_features(found.head(1000)).height + 20
