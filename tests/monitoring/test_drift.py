"""Drift findings: what moved is found, what did not is not, and the message says by how much."""

import numpy as np
import polars as pl
import pytest

from charkha.bundles.profile import Profile, ProfileMismatch, ProfileShape, empty_profile, learn_shape, profile_of
from charkha.monitoring.drift import Watched, drift_findings
from charkha.monitoring.findings import Finding
from charkha.spec.model import FloatArray
from charkha.spec.policies import Monitors

WATCHED = Watched("late", "v1", 7, Monitors())
COLUMNS = ("temp", "carrier")


def drawn(seed: int, rows: int = 4_000) -> tuple[pl.DataFrame, FloatArray]:
    random = np.random.default_rng(seed)
    frame = pl.DataFrame({"temp": random.normal(10, 5, rows), "carrier": random.choice(["AA", "UA", "B6"], rows)})
    return frame, random.random(rows)


@pytest.fixture(scope="module")
def reference() -> tuple[ProfileShape, Profile]:
    frame, scores = drawn(1)
    shape = learn_shape(frame, scores)
    return shape, profile_of(shape, frame, scores)


def findings(
    reference: tuple[ProfileShape, Profile], frame: pl.DataFrame, scores: FloatArray
) -> dict[tuple[str, str], Finding]:
    shape, profile = reference
    found = drift_findings(WATCHED, shape, profile, profile_of(shape, frame, scores))
    return {(finding.kind, finding.subject): finding for finding in found}


def test_everything_is_measured_and_nothing_found_where_nothing_moved(
    reference: tuple[ProfileShape, Profile],
) -> None:
    found = findings(reference, *drawn(2))
    assert set(found) == {
        ("drift", "score"),
        ("drift", "temp"),
        ("drift", "carrier"),
        ("nulls", "temp"),
        ("nulls", "carrier"),
        ("unseen", "carrier"),
    }
    assert not any(finding.significant for finding in found.values())
    assert all(finding.low <= finding.value + 0.01 and finding.time_us == 7 for finding in found.values())


def significant(found: dict[tuple[str, str], Finding]) -> set[tuple[str, str]]:
    return {key for key, finding in found.items() if finding.significant}


def test_a_number_that_moved(reference: tuple[ProfileShape, Profile]) -> None:
    frame, scores = drawn(2)
    found = findings(reference, frame.with_columns(pl.col("temp") + 8), scores)
    assert significant(found) == {("drift", "temp")}
    message = found["drift", "temp"].message
    assert message.startswith("temp has drifted: PSI ")
    assert message.endswith(" over 4,000 values, limit 0.25")


def test_nulls_that_rose_are_no_drift(reference: tuple[ProfileShape, Profile]) -> None:
    frame, scores = drawn(2)
    holes = pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise(pl.col("temp"))
    found = findings(reference, frame.with_columns(temp=holes), scores)
    assert significant(found) == {("nulls", "temp")}
    assert found["nulls", "temp"].message.startswith(
        "temp is null in 25.0% of 4,000 rows, against 0.0% in training: +25.0% (95 % +23."
    )


def test_a_category_never_seen(reference: tuple[ProfileShape, Profile]) -> None:
    frame, scores = drawn(2)
    renamed = pl.col("carrier").replace({"B6": "JB"})
    assert significant(findings(reference, frame.with_columns(renamed), scores)) >= {("unseen", "carrier")}


def test_scores_that_moved(reference: tuple[ProfileShape, Profile]) -> None:
    frame, scores = drawn(2)
    assert significant(findings(reference, frame, scores**3)) == {("drift", "score")}


def test_a_few_rows_are_not_drift(reference: tuple[ProfileShape, Profile]) -> None:
    frame, scores = drawn(3, rows=25)
    assert significant(findings(reference, frame, scores)) == set()


def test_what_is_all_null_has_no_distribution(reference: tuple[ProfileShape, Profile]) -> None:
    frame, scores = drawn(2)
    empty = pl.DataFrame({"temp": [None] * 4_000, "carrier": [None] * 4_000}, schema=frame.schema)
    found = findings(reference, empty, scores)
    assert set(found) == {("drift", "score"), ("nulls", "temp"), ("nulls", "carrier")}
    assert significant(found) == {("nulls", "temp"), ("nulls", "carrier")}


def test_the_limits_are_those_declared(reference: tuple[ProfileShape, Profile]) -> None:
    shape, profile = reference
    frame, scores = drawn(2)
    warmer = profile_of(shape, frame.with_columns(pl.col("temp") + 1.5), scores)
    strict = Watched("late", "v1", 7, Monitors(psi=0.02))
    assert [each.subject for each in drift_findings(strict, shape, profile, warmer) if each.significant] == ["temp"]
    assert not any(each.significant for each in drift_findings(WATCHED, shape, profile, warmer))


def test_no_rows_are_no_findings(reference: tuple[ProfileShape, Profile]) -> None:
    shape, profile = reference
    assert drift_findings(WATCHED, shape, profile, empty_profile(shape)) == []


def test_profiles_of_another_shape_are_refused(reference: tuple[ProfileShape, Profile]) -> None:
    shape, profile = reference
    frame, scores = drawn(9)
    other = learn_shape(frame, scores)
    with pytest.raises(ProfileMismatch, match=f"expected a profile of shape {shape.fingerprint}"):
        drift_findings(WATCHED, shape, profile, profile_of(other, frame, scores))
