from datetime import timedelta
from pathlib import Path

import attrs
import polars as pl
import pytest
from small_world import AS_OF, BEGIN, FIRST_US, LATE, dataset_of, trips, write_trips

import charkha as ck
from charkha.bundles.manifest import WindowLeftOut
from charkha.features.reading import opened_readings
from charkha.features.rows import FileBreaksContract, SourceBreaksContract
from charkha.spec.durations import DAY_US
from charkha.spec.fields import TIME
from charkha.training.dataset import Dataset, NoLabels, TruthKnownAhead, build_dataset, sources_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_trips(tmp_path)


def test_only_labels_known_by_then(root: Path) -> None:
    as_of_us = FIRST_US + 10 * DAY_US
    dataset = dataset_of(LATE, root, as_of_us)
    known = trips().filter(pl.col("done_at") <= BEGIN + timedelta(days=10))
    assert dataset.spine.height == dataset.features.height == known.height
    assert dataset.spine["_label_known_us"].max() == known["done_at"].dt.epoch("us").max()
    assert dataset.labels.tolist() == (known["late_by"] > 5).cast(pl.Float64).to_list()
    assert (dataset.at_us[1:] >= dataset.at_us[:-1]).all()
    assert dataset.features.columns[:3] == ["habits.mean_late_by_6h", "habits.mean_late_by_7d", "habits.count_7d"]


def test_the_past_does_not_change_when_the_future_comes(root: Path) -> None:
    early = dataset_of(LATE, root, FIRST_US + 20 * DAY_US)
    late = dataset_of(LATE, root, FIRST_US + 40 * DAY_US)
    then = (late.spine["_label_known_us"] <= FIRST_US + 20 * DAY_US).to_numpy()
    assert late.features.filter(then).equals(early.features)


def test_rows_without_a_truth_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    some = trips(100).with_columns(
        late_by=pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise("late_by"),
        done_at=pl.when(pl.int_range(pl.len()) % 4 == 1).then(None).otherwise("done_at"),
    )
    dataset = dataset_of(LATE, write_trips(tmp_path, some), AS_OF)
    assert (dataset.spine.height, dataset.left_out, caplog.text) == (50, 0, "")


def test_since(root: Path) -> None:
    dataset = dataset_of(LATE, root, AS_OF, since_us=FIRST_US + 50 * DAY_US)
    assert dataset.at_us[0] >= FIRST_US + 50 * DAY_US
    assert dataset.features["habits.count_7d"][0] > 0  # windows still reach further back


def test_fingerprint_is_of_the_content_not_of_how_it_was_computed(root: Path) -> None:
    alone, together = (dataset_of(LATE, root, threads=threads) for threads in (1, 4))
    assert alone.fingerprint == together.fingerprint
    write_trips(root, trips().with_columns(km=pl.when(pl.int_range(pl.len()) == 7).then(0.5).otherwise("km")))
    assert dataset_of(LATE, root, AS_OF).fingerprint != alone.fingerprint


def test_no_labels_yet(root: Path) -> None:
    with pytest.raises(
        NoLabels, match=r"model 'late': .* source 'trips' .* known by 2024-01-01T00:00:00Z, got none among the 0 rows"
    ):
        dataset_of(LATE, root, FIRST_US)


def test_occasions_whose_truth_is_known_already_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    early = pl.int_range(pl.len()) % 5 == 0
    some = trips(100).with_columns(done_at=pl.when(early).then("asked_at").otherwise("done_at"))
    dataset = dataset_of(LATE, write_trips(tmp_path, some), AS_OF)
    assert (dataset.spine.height, dataset.left_out) == (80, 20)
    assert "model late: 20 of 100 occasions are left out" in caplog.text
    assert (dataset.spine["_label_known_us"] > dataset.spine["_at_us"]).all()


def test_a_correction_does_not_hide_that_its_truth_was_known_ahead(tmp_path: Path) -> None:
    """The newest version is known after the prediction; the first one, which features had seen, was before."""
    early = pl.int_range(pl.len()) % 5 == 0
    first = trips(100).with_columns(done_at=pl.when(early).then("asked_at").otherwise("done_at"))
    corrected = trips(100).with_columns(late_by=pl.col("late_by") + 0.5, done_at=pl.col("done_at") + timedelta(hours=3))
    dataset = dataset_of(LATE, write_trips(tmp_path, pl.concat([first, corrected])), AS_OF)
    assert dataset.spine.height == 80
    assert dataset.spine.columns == [*LATE.request, "asked_at", "trip", "_at_us", "_label", "_label_known_us"]


def test_a_version_without_a_truth_gives_none_away(tmp_path: Path) -> None:
    """A row that is told when it is asked for and told again, with the truth, when it is known."""
    told = trips(100).with_columns(late_by=pl.lit(None, pl.Float64), done_at="asked_at")
    root = write_trips(tmp_path, pl.concat([told, trips(100)]))
    assert dataset_of(LATE, root, AS_OF).spine.height == 100


def test_a_truth_that_features_see_before_the_prediction_is_refused(tmp_path: Path) -> None:
    swapped = trips(100).rename({"asked_at": "done_at", "done_at": "asked_at"})
    with pytest.raises(TruthKnownAhead, match=r"known after the prediction at 'asked_at', got 100 of 100 rows"):
        dataset_of(LATE, write_trips(tmp_path, swapped), AS_OF)


def bound(contract: ck.Contract) -> ck.Model:
    """Return the model with a contract on the source of its label and views."""
    source = attrs.evolve(LATE.label.source, contract=contract)
    views = [attrs.evolve(view, source=source) for view in LATE.views]
    features: list[ck.FeatureView | ck.RequestFeatures] = [*views, *LATE.request_features]
    return attrs.evolve(LATE, label=attrs.evolve(LATE.label, source=source), features=features)


def test_a_dataset_is_not_built_from_rows_that_break_their_contract(root: Path) -> None:
    kept = bound(ck.Contract(fields={"km": ck.Expect(low=0, high=20, nulls=0)}, max_age="1d", rows_per_day=(1, 500)))
    whole = dataset_of(kept, root, AS_OF)
    assert whole.fingerprint == dataset_of(LATE, root, AS_OF).fingerprint
    with pytest.raises(FileBreaksContract, match=r"km at most 10, got [\d,]+ of 3,000 rows"):
        dataset_of(bound(ck.Contract(fields={"km": ck.Expect(high=10)})), root, AS_OF)
    with pytest.raises(SourceBreaksContract, match="as of 2024-03-03T00:00:00Z: expected a new row within 1d, got"):
        dataset_of(kept, root, AS_OF + 2 * DAY_US)
    with pytest.raises(SourceBreaksContract, match="expected 5,000 to 6,000 rows a day, got"):
        dataset_of(bound(ck.Contract(rows_per_day=(5000, 6000))), root, AS_OF)


@pytest.mark.parametrize("bounds", [{"whole_rows": 0}, {"memory_rows": 0}, {"memory_rows": 0, "bucket_rows": 100}])
def test_a_dataset_is_the_same_however_its_sources_are_read(tmp_path: Path, bounds: dict[str, int]) -> None:
    """Column by column, or cut into buckets in files: with repetitions, corrections and rows that are never known."""
    corrected = (
        trips().head(300).with_columns(late_by=pl.col("late_by") + 0.5, done_at=pl.col("done_at") + timedelta(hours=3))
    )
    unknown = trips(50, seed=3).with_columns(trip="u" + pl.col("trip"), done_at=pl.lit(None, TIME))
    root = write_trips(tmp_path, pl.concat([trips(), trips().head(200), corrected, unknown]))
    model = bound(ck.Contract(max_age="1d", rows_per_day=(1, 500)))
    whole, other = dataset_of(model, root, AS_OF), dataset_of(model, root, AS_OF, **bounds)
    assert other.source_rows == whole.source_rows == {"trips": 3299}
    assert (other.spine.equals(whole.spine), other.fingerprint) == (True, whole.fingerprint)
    with pytest.raises(SourceBreaksContract, match="expected 5,000 to 6,000 rows a day, got"):
        dataset_of(bound(ck.Contract(rows_per_day=(5000, 6000))), root, AS_OF, **bounds)


def test_a_request_feature_that_fails_on_rows_is_said_and_stops_no_training(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Cities are letters: none of them is a number, and those that are null stay so.
    odd = ck.RequestFeatures("trip", number=pl.col("city").cast(pl.Int64), defaults={"number": 7})
    dataset = dataset_of(attrs.evolve(LATE, features=[*LATE.views, odd]), root, AS_OF)
    expected = dataset.spine["city"].is_null().to_list()
    assert [value is None for value in dataset.features["trip.number"]] == expected
    assert set(dataset.features["trip.number"].drop_nulls()) == {7}
    assert "trip.number could not be evaluated for" in caplog.text


def window(since_day: int, until_day: int, *, by_label: bool = False) -> WindowLeftOut:
    span = (FIRST_US + since_day * DAY_US, FIRST_US + until_day * DAY_US)
    return WindowLeftOut("late-1", "label" if by_label else "source", *span, by_label)


def built(root: Path, *windows: WindowLeftOut) -> Dataset:
    with opened_readings(sources_of(LATE, root, None), LATE.views) as readings:
        return build_dataset(LATE, readings, AS_OF, without=windows)


def test_the_time_of_incidents_is_left_out_and_features_stay_as_they_were(root: Path) -> None:
    whole, less = built(root), built(root, window(10, 20), window(15, 25))
    outside = ~pl.Series(whole.at_us).is_between(FIRST_US + 10 * DAY_US, FIRST_US + 25 * DAY_US, closed="left")
    assert less.features.equals(whole.features.filter(outside))
    assert less.spine.equals(whole.spine.filter(outside))
    first, second = less.windows
    assert first.rows + second.rows == whole.spine.height - less.spine.height
    assert first.rows == int(((whole.at_us >= first.since_us) & (whole.at_us < first.until_us)).sum())
    assert less.fingerprint != whole.fingerprint
    assert less.left_out == 0


def test_labels_that_became_known_in_it_are_left_out_too(root: Path) -> None:
    by_time, by_label = built(root, window(10, 11)), built(root, window(10, 11, by_label=True))
    assert by_label.windows[0].rows > by_time.windows[0].rows
    known_us = by_label.spine["_label_known_us"]
    assert not known_us.is_between(FIRST_US + 10 * DAY_US, FIRST_US + 11 * DAY_US, closed="left").any()
