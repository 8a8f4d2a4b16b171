"""The proof of no skew: an untouched system has none, and each kind of planted skew is found and blamed rightly."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from attrs import evolve
from server_process import free_port, start_server
from serving_project import (
    DEFINITION,
    HOUR_US,
    NOW_US,
    Stage,
    champion,
    deploy,
    open_stage,
    requests,
    trip,
    write_bundle,
    write_project,
)

from charkha.bundles.store import BundleStore
from charkha.engines.local import LocalEngine
from charkha.features.aggregations.count import Count
from charkha.features.events import PARTITION, EventBatch, decode_events, encode_events, event_stream
from charkha.features.feed import Feed
from charkha.features.kept import KeptViews
from charkha.features.lanes import window_values
from charkha.features.progress import applied_offset, set_applied_offset
from charkha.features.state import ViewState
from charkha.monitoring.performance import Span
from charkha.monitoring.skew_cases import Difference, values_of
from charkha.monitoring.skew_tally import FirstDifference, Verification
from charkha.monitoring.verify import CannotRecompute, Recomputer, verify_log
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.service import Service
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment
from charkha.storage.lmdb_online import LmdbOnline

MODEL = "late_trip"
ALWAYS = Span(0, 1 << 62)
MINUTE_US = 60_000_000


def verified(project: Project, home: Home, span: Span = ALWAYS, sample: int | None = None) -> Verification:
    with opened(project, home) as recomputer:
        return verify_log(recomputer, span, sample, lambda done, total: None)


def opened(project: Project, home: Home) -> AbstractContextManager[Recomputer]:
    return Recomputer.opened(project, project.models[MODEL], home, LocalEngine(1))


@pytest.fixture(params=["all", "those of the keys"])
def rows_in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is small, or it is looked through for the rows of the keys that were asked for."""
    if request.param != "all":
        monkeypatch.setattr("charkha.features.sought.WHOLE_ROWS", -1)


def blamed(found: Verification, feature: str) -> tuple[str, str]:
    """Return the kind of the cause and the culprit that were found for a feature."""
    first = first_of(found, feature)
    assert first.cause is not None
    return first.cause.kind, first.cause.culprit


def reason_of(found: Verification, feature: str) -> str:
    first = first_of(found, feature)
    assert first.cause is not None
    return first.cause.reason


def first_of(found: Verification, feature: str) -> FirstDifference:
    (first,) = [each.first for each in found.features if each.feature == feature]
    assert first is not None, [each.feature for each in found.skewed]
    return first


def later(stage: Stage, minutes: float = 1.0) -> None:
    stage.clock.advance_to(stage.clock.now() + int(minutes * MINUTE_US))


def busy_hour(stage: Stage) -> None:
    """Push and predict in turn: corrections, repetitions, late rows and unknown keys among them."""
    for number in range(12):
        later(stage, 7)
        rows = [trip(number), trip(number + 100, "Delhi", ended_us=stage.clock.now() - 5 * HOUR_US), trip(number // 2)]
        stage.service.push("trips", [rows[0], rows[1], (*rows[2][:3], 9.0, *rows[2][4:])])
        stage.service.predict(MODEL, requests("Pune", "Delhi", "Nowhere", None))


@pytest.mark.usefixtures("rows_in_memory")
def test_nothing_is_found_on_an_untouched_system(stage: Stage) -> None:
    deploy(stage.home, champion("v1"), Assignment(write_and_name(stage, "v2"), "shadow"))
    stage.service.refresh()
    busy_hour(stage)
    found = verified(stage.project, stage.home)
    assert found.skewed == []
    assert found.predictions == 2 * 48
    assert {feature.feature for feature in found.features} >= {"traffic.count_1h", "traffic.driver", "ask.per_stop"}
    assert all(feature.compared == 96 for feature in found.features)


def write_and_name(stage: Stage, version: str) -> str:
    write_bundle(stage.project, stage.home, version)
    return version


def test_what_is_asked_while_a_push_commits_is_no_skew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service opens its snapshot; before it reads, a push of the same city commits."""
    stage.service.push("trips", [trip(1)])
    later(stage)
    reading = LmdbOnline.read

    @contextmanager
    def read_slowly(store: LmdbOnline) -> Iterator[Any]:
        with reading(store) as snapshot:
            monkeypatch.setattr(LmdbOnline, "read", reading)
            later(stage)
            other = threading.Thread(target=stage.service.push, args=("trips", [trip(2), trip(3)]))
            other.start()
            other.join()
            yield snapshot

    monkeypatch.setattr(LmdbOnline, "read", read_slowly)
    stage.service.predict(MODEL, requests("Pune"))
    logged = decode_predictions(stage.home.log.read(prediction_stream(MODEL)), BundleStore(stage.home.bundles))
    assert logged.select("_at_us", "_seen_us", "traffic.count_1h").rows() == [(NOW_US + 2 * MINUTE_US, NOW_US, 1.0)]
    assert verified(stage.project, stage.home).skewed == []
    without = [record_without_seen(stage)]
    with opened(stage.project, stage.home) as recomputer:
        found = recomputer.verify(without)
    assert blamed(found, "traffic.count_1h") == ("concurrent_push", "source trips")


def record_without_seen(stage: Stage) -> pl.DataFrame:
    """Return what was logged as it was before it was logged what a prediction had seen."""
    frame = decode_predictions(stage.home.log.read(prediction_stream(MODEL)), BundleStore(stage.home.bundles))
    return frame.with_columns(_seen_us=pl.lit(None, pl.Int64))


@pytest.mark.usefixtures("rows_in_memory")
def test_a_lost_event_is_found(stage: Stage) -> None:
    """An event is in the log, the state passed over it, and went on."""
    stage.service.push("trips", [trip(1)])
    later(stage)
    writer = stage.home.log.writer(event_stream("trips"), PARTITION)
    lost = EventBatch("trips", stage.clock.now(), tuple(stage.project.sources["trips"].fields), [trip(2)])
    end = writer.append([encode_events(lost)])
    writer.close()
    with stage.home.online.write() as state:
        set_applied_offset(state, "trips", end)
    later(stage)
    stage.service.push("trips", [trip(3)])
    later(stage)
    stage.service.predict(MODEL, requests("Delhi", "Pune"))
    found = verified(stage.project, stage.home)
    assert {feature.feature for feature in found.skewed} == {"traffic.count_1h"}
    first = first_of(found, "traffic.count_1h")
    assert (first.keys, first.served, first.recomputed) == ({"city": "Pune"}, 2.0, 3.0)
    assert blamed(found, "traffic.count_1h") == ("lost_event", "source trips")
    assert first.cause is not None
    assert "row 2 of trips, known at 2013-04-01T12:01:00Z, which is in the log and was never applied" in (
        first.cause.reason
    )


def test_an_event_that_was_marked_as_applied_and_was_not_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state says that it took the event, and no tile and no latest value has it."""
    stage.service.push("trips", [trip(1)])
    later(stage)
    with monkeypatch.context() as forgetful:
        forgetful.setattr(KeptViews, "apply_rows", lambda *given: None)
        stage.service.push("trips", [trip(2)])
    later(stage, 2)
    stage.service.predict(MODEL, requests("Pune"))
    found = verified(stage.project, stage.home)
    first = first_of(found, "traffic.count_1h")
    assert blamed(found, "traffic.count_1h") == ("lost_event", "source trips")
    assert first.cause is not None
    assert "row 2 of trips, known at 2013-04-01T12:01:00Z (or another such row), which is in the log" in (
        first.cause.reason
    )


def test_an_event_that_is_gone_from_the_log_is_found(stage: Stage, tmp_path: Path) -> None:
    stage.service.push("trips", [trip(1)])
    stage.service.push("trips", [trip(2)])
    later(stage)
    stage.service.predict(MODEL, requests("Pune"))
    stage.service.close()
    records = list(stage.home.log.read(event_stream("trips")))
    assert [len(decode_events(record.payload).rows) for record in records] == [1, 1]
    for file in sorted((stage.home.folder / "log").rglob("*")):
        if file.is_file() and "events" in str(file) and file.suffix != ".lock":
            file.unlink()
    with open_home(stage.project.home) as home:
        writer = home.log.writer(event_stream("trips"), PARTITION)
        writer.append([records[0].payload])
        writer.close()
        found = verified(stage.project, home)
    assert first_of(found, "traffic.count_1h").served == 2.0
    assert blamed(found, "traffic.count_1h") == ("vanished_event", "source trips")


@pytest.mark.usefixtures("rows_in_memory")
def test_a_late_row_of_a_file_is_found(stage: Stage) -> None:
    """A row is added to the file, as if it had been known before the prediction."""
    later(stage)
    stage.service.predict(MODEL, requests("Pune", "Delhi"))
    assert verified(stage.project, stage.home).skewed == []
    with (stage.project.root / "weather.csv").open("a") as file:
        file.write("Delhi,7.5,2013-04-01T11:30:00\n")
    found = verified(stage.project, stage.home)
    assert [feature.feature for feature in found.skewed] == ["sky.rain"]
    first = first_of(found, "sky.rain")
    assert (first.keys, first.served, first.recomputed) == ({"city": "Delhi"}, None, 7.5)
    assert blamed(found, "sky.rain") == ("late_row", "source weather")
    assert [each.source for each in feed_of(stage).follow(stage.project.root)] == ["weather"]
    stage.service.predict(MODEL, requests("Delhi"))  # which sees what the state has taken in
    after = verified(stage.project, stage.home)
    assert [(feature.feature, feature.different) for feature in after.skewed] == [("sky.rain", 1)]
    assert blamed(after, "sky.rain") == ("late_row", "source weather")


SKY = """ck.FeatureView(
    "sky", ck.Entity("city"), weather, latest=["rain"],
    windows=[
        ck.count(over="24h"), ck.sum("rain", over="24h"), ck.std("rain", over="24h"),
        ck.ratio(ck.sum("rain", over="24h"), ck.sum("rain", over="7d")),
        ck.decayed_sum("rain", half_life="1h"), ck.time_since_last(),
    ],
)"""


@pytest.fixture(params=["keyed", "without a key"])
def skies(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """Weather comes in files, and its view has windows of many kinds."""
    text = DEFINITION.replace('ck.FeatureView("sky", ck.Entity("city"), weather, latest=["rain"])', SKY)
    text = text.replace('ck.csv("weather.csv"), time="seen_at"', 'ck.csv("weather*.csv"), time="seen_at"')
    if request.param == "keyed":
        text = text.replace(
            '"weather*.csv"), time="seen_at"', '"weather*.csv"), time="seen_at", key=["city", "seen_at"]'
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving_project.DEFINITION", text)
        with open_stage(tmp_path) as opened_stage:
            yield opened_stage


def add_weather(stage: Stage, name: str, *rows: str) -> Path:
    file = stage.project.root / name
    file.write_text("\n".join(["city,rain,seen_at", *rows, ""]))
    return file


EARLIER = ("Pune,1.25,2013-04-01T10:00:00", "Pune,7.1,2013-04-01T11:20:00", "Pune,0.3,2013-04-01T09:10:00")
SKY_WINDOWS = {
    "sky.count_24h",
    "sky.sum_rain_24h",
    "sky.std_rain_24h",
    "sky.decayed_sum_1h_rain_all",
    "sky.time_since_last_all",
}


@pytest.mark.parametrize("taken_in", [False, True])
def test_a_late_file_is_blamed_for_all_that_it_changes(skies: Stage, taken_in: bool) -> None:
    """Rows between others, in windows that no single one of them explains, before the state takes them in and after."""
    later(skies)
    skies.service.predict(MODEL, requests("Pune", "Delhi"))
    assert verified(skies.project, skies.home).skewed == []
    add_weather(skies, "weather-2.csv", *EARLIER, "Delhi,2.0,2013-04-01T08:00:00")
    if taken_in:
        assert [each.source for each in feed_of(skies).follow(skies.project.root)] == ["weather"]
    found = verified(skies.project, skies.home)
    assert {each.feature for each in found.skewed} >= SKY_WINDOWS
    assert {blamed(found, each.feature) for each in found.skewed} == {("late_row", "source weather")}
    said = "charkha features materialise does" if not taken_in else "weather-2.csv"
    assert all(said in reason_of(found, each.feature) for each in found.skewed)
    assert "3 rows of this key in weather-2.csv, " in reason_of(found, "sky.sum_rain_24h")


def feed_of(stage: Stage) -> Feed:
    return Feed(stage.project.sources, stage.project.views, stage.home.log, stage.home.online, stage.clock)


def test_causes_are_looked_for_once_for_all_features_of_a_view(skies: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And, where the files that came later explain all of them, by those experiments alone."""
    skies.service.predict(MODEL, requests("Pune", "Delhi"))
    add_weather(skies, "weather-2.csv", *EARLIER)
    computed: list[int] = []

    def counted(found: Difference, cases: Sequence[pl.DataFrame]) -> list[dict[str, Any]]:
        computed.append(len(cases))
        return values_of(found, cases)

    monkeypatch.setattr("charkha.monitoring.skew_cases.values_of", counted)
    assert len(verified(skies.project, skies.home).skewed) >= len(SKY_WINDOWS)
    assert len(computed) == 1
    assert computed[0] <= 2


@pytest.mark.parametrize("taken_in", [False, True])
@pytest.mark.parametrize("skies", ["keyed"], indirect=True)
def test_a_row_that_is_pushed_and_comes_in_a_file_later_is_no_skew(skies: Stage, taken_in: bool) -> None:
    """It was known from its push on, though the file says from when it was measured."""
    skies.service.push("weather", [("Pune", 4.0, NOW_US - 2 * MINUTE_US), ("Delhi", 1.0, NOW_US - 2 * MINUTE_US)])
    later(skies, 2)
    skies.service.predict(MODEL, requests("Pune", "Delhi"))
    add_weather(skies, "weather-2.csv", "Pune,4.0,2013-04-01T11:58:00", "Delhi,1.5,2013-04-01T11:58:00")
    if taken_in:
        assert [each.source for each in feed_of(skies).follow(skies.project.root)] == ["weather"]
        later(skies)
        skies.service.predict(MODEL, requests("Pune"))
    found = verified(skies.project, skies.home)
    assert {first_of(found, each.feature).keys["city"] for each in found.skewed} == {"Delhi"}, "the other version"
    assert {"sky.sum_rain_24h", "sky.time_since_last_all"} <= {each.feature for each in found.skewed}
    assert {blamed(found, each.feature) for each in found.skewed} == {("late_row", "source weather")}
    assert "1 row of this key in weather-2.csv" in reason_of(found, "sky.sum_rain_24h")


def test_a_ratio_has_the_cause_of_its_side(tmp_path: Path) -> None:
    """Its sides are features of their own, and one was tampered with alone; a ratio that was not is what it was."""
    windows = 'ck.sum("km", over="6h"), ck.ratio(ck.sum("km", over="6h"), ck.sum("km", over="7d")), '
    text = DEFINITION.replace(
        'windows=[ck.count(over="1h"), ck.mean', f'windows=[{windows}ck.count(over="1h"), ck.mean'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving_project.DEFINITION", text)
        with open_stage(tmp_path) as stage:
            stage.service.push("trips", [trip(1)])
            stage.service.predict(MODEL, requests("Pune"))
            ratio, side = "traffic.sum_km_6h_per_sum_km_7d", "traffic.sum_km_6h"
            found = recompute(stage, record_without_seen(stage).with_columns(pl.col(ratio, side) + 0.5))
    assert blamed(found, ratio) == blamed(found, side) == ("unknown", side)


def test_a_deleted_file_is_named_until_the_state_is_built_anew(skies: Stage) -> None:
    """Afterwards nothing tells what the state had been made of, and that is what is said."""
    file = add_weather(skies, "weather-2.csv", *EARLIER)
    feed_of(skies).follow(skies.project.root)
    later(skies)
    skies.service.predict(MODEL, requests("Pune"))
    assert verified(skies.project, skies.home).skewed == []
    file.unlink()
    before = verified(skies.project, skies.home)
    assert {blamed(before, each.feature) for each in before.skewed} == {("vanished_event", "source weather")}
    assert "weather-2.csv, from which the online state was built, is gone or was set aside" in reason_of(
        before, "sky.count_24h"
    )
    later(skies)
    assert [each.anew for each in feed_of(skies).follow(skies.project.root)] == ["weather-2.csv is not read any more"]
    after = verified(skies.project, skies.home)
    assert {each.feature for each in after.skewed} == {each.feature for each in before.skewed}
    assert {blamed(after, each.feature) for each in after.skewed} == {("rebuilt_state", "source weather")}
    assert "was built anew at 2013-04-01T12:02:00Z, after the prediction, because weather-2.csv is not read" in (
        reason_of(after, "sky.count_24h")
    )


def test_a_state_that_is_not_what_files_and_log_make_is_to_be_built_anew(stage: Stage) -> None:
    stage.service.push("trips", [trip(1), trip(2), trip(3, "Delhi")])
    later(stage)
    (view,) = [view for view in stage.project.models[MODEL].views if view.name == "traffic"]
    with stage.home.online.write() as state:
        for place, value in list(stage.home.online.scan(ViewState.of(view).digest)):
            if place.endswith(b"Pune") and place != ViewState.of(view).latest_place + b"Pune":
                state.put(place, 2 * value)  # every tile twice
    stage.service.predict(MODEL, requests("Pune"))
    found = verified(stage.project, stage.home)
    assert blamed(found, "traffic.count_1h") == ("stale_state", "view traffic")
    assert reason_of(found, "traffic.count_1h").endswith("by them. charkha features materialise --anew builds it")


def test_a_function_that_was_changed_only_online_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Count, "update", lambda self, state, value, known_us: (state[0] + 2.0,))
    service = Service(stage.project, stage.home, stage.clock, "w1")
    service.refresh()
    service.push("trips", [trip(1)])
    later(stage)
    service.predict(MODEL, requests("Pune"))
    service.close()
    found = verified(stage.project, stage.home)
    first = first_of(found, "traffic.count_1h")
    assert (first.served, first.recomputed) == (2.0, 1.0)
    assert blamed(found, "traffic.count_1h") == ("code", "traffic.count_1h")
    given = "the code that serves gives 2.0 and the code that recomputes gives 1.0"
    assert given in reason_of(found, "traffic.count_1h")


def test_of_code_that_was_mended_since_it_is_said_that_nothing_tells(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*given: Any) -> Any:
        return ((name, [(value or 0.0) + 0.5 for value in values]) for name, values in window_values(*given))

    stage.service.push("trips", [trip(1)])
    with monkeypatch.context() as changed:
        changed.setattr("charkha.features.online.window_values", wrong)
        stage.service.predict(MODEL, requests("Pune"))
    found = verified(stage.project, stage.home)
    assert blamed(found, "traffic.count_1h") == ("unknown", "traffic.count_1h")
    assert blamed(found, "traffic.mean_km_6h") == ("unknown", "traffic.mean_km_6h")
    assert "served by other code, or with rows that are nowhere any more" in reason_of(found, "traffic.count_1h")


def test_a_state_that_lost_a_key_is_found(stage: Stage) -> None:
    stage.service.push("trips", [trip(1)])
    later(stage)
    (view,) = [view for view in stage.project.models[MODEL].views if view.name == "traffic"]
    stage.home.online.delete_prefix(ViewState.of(view).digest)
    stage.service.predict(MODEL, requests("Pune"))
    found = verified(stage.project, stage.home)
    assert {feature.feature for feature in found.skewed} == {"traffic.count_1h", "traffic.mean_km_6h", "traffic.driver"}
    assert blamed(found, "traffic.driver") == ("missing_state", "view traffic")


def test_a_state_that_is_behind_the_log_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing applies an event for two minutes after it was logged."""
    stage.service.push("trips", [trip(1)])
    later(stage)
    with stage.home.online.read() as state:
        applied = applied_offset(state, "trips")
    late = EventBatch("trips", stage.clock.now(), tuple(stage.project.sources["trips"].fields), [trip(2)])
    writer = stage.home.log.writer(event_stream("trips"), PARTITION)
    assert writer.append([encode_events(late)]) > applied
    writer.close()
    later(stage, 0.5)
    stage.service.predict(MODEL, requests("Pune"))
    assert verified(stage.project, stage.home).skewed == []
    later(stage, 2)
    stage.service.predict(MODEL, requests("Pune"))
    Feed(stage.project.sources, stage.project.views, stage.home.log, stage.home.online, stage.clock).catch_up()
    found = verified(stage.project, stage.home)
    assert blamed(found, "traffic.count_1h") == ("stale_state", "view traffic")


def test_a_source_that_is_declared_otherwise_is_blamed(stage: Stage) -> None:
    stage.service.push("trips", [trip(1, ended_us=NOW_US - 2 * HOUR_US)])
    later(stage)
    stage.service.predict(MODEL, requests("Pune"))
    text = DEFINITION.replace('"weather.csv"), time="seen_at"', '"weather.csv"), time="seen_at", key=["city"]')
    assert text != DEFINITION
    (stage.project.root / "definition.py").write_text(text)
    (stage.project.root / "weather.csv").write_text("city,rain,seen_at\nPune,3.5,2013-04-01T11:00:00\n")
    found = verified(load_project(stage.project.root), stage.home)
    assert blamed(found, "sky.rain") == ("definition_change", "source weather")


def test_an_expression_that_is_declared_otherwise_is_blamed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.service.predict(MODEL, requests("Pune"))
    frame = record_without_seen(stage).with_columns(pl.col("ask.per_stop") + 1)
    text = DEFINITION.replace('pl.col("km") / pl.col("stops")', 'pl.col("km") / pl.col("stops") + 1')
    (stage.project.root / "definition.py").write_text(text)
    project = load_project(stage.project.root)
    found = recompute(stage, frame, project)
    assert blamed(found, "ask.per_stop") == ("definition_change", "ask.per_stop")
    same = recompute(stage, frame)
    assert blamed(same, "ask.per_stop") == ("code", "ask.per_stop")


def recompute(stage: Stage, frame: pl.DataFrame, project: Project | None = None) -> Verification:
    """Verify a table of predictions in place of the log."""
    with opened(project or stage.project, stage.home) as recomputer:
        return recomputer.verify([frame])


def test_a_row_that_was_served_before_it_was_known_is_found(stage: Stage) -> None:
    """The clock was once read before the snapshot: a push could come between the two."""
    stage.service.push("trips", [trip(1)])
    stage.service.predict(MODEL, requests("Pune"))
    found = recompute(stage, record_without_seen(stage).with_columns(pl.col("_at_us") - 1))
    first = first_of(found, "traffic.count_1h")
    assert (first.served, first.recomputed) == (1.0, 0.0)
    assert blamed(found, "traffic.count_1h") == ("concurrent_push", "source trips")
    assert first.cause is not None
    assert "known at 2013-04-01T12:00:00Z became known just after the prediction was timed" in first.cause.reason


@pytest.mark.usefixtures("rows_in_memory")
def test_a_correction_that_was_lost_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.service.push("trips", [trip(1)])
    later(stage)
    with monkeypatch.context() as forgetful:
        forgetful.setattr(KeptViews, "apply_rows", lambda *given: None)
        assert stage.service.push("trips", [(*trip(1)[:2], "bob", *trip(1)[3:])]).corrections == 1
    later(stage, 2)
    stage.service.predict(MODEL, requests("Pune"))
    found = verified(stage.project, stage.home)
    assert [feature.feature for feature in found.skewed] == ["traffic.driver"]
    first = first_of(found, "traffic.driver")
    assert (first.served, first.recomputed) == ("ann", "bob")
    assert blamed(found, "traffic.driver") == ("correction", "source trips")


def test_a_view_that_is_declared_otherwise_is_named_where_nothing_else_is(stage: Stage) -> None:
    stage.service.push("trips", [trip(1)])
    stage.service.predict(MODEL, requests("Pune"))
    frame = record_without_seen(stage).with_columns(pl.col("traffic.count_1h") + 0.5)
    text = DEFINITION.replace('ck.mean("km", over="6h")]', 'ck.mean("km", over="7h")]')
    (stage.project.root / "definition.py").write_text(text)
    found = recompute(stage, frame, load_project(stage.project.root))
    assert blamed(found, "traffic.count_1h") == ("definition_change", "view traffic")


def test_another_polars_is_named_where_nothing_else_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.service.push("trips", [trip(1)])
    stage.service.predict(MODEL, requests("Pune"))
    frame = record_without_seen(stage).with_columns(pl.col("traffic.count_1h", "ask.per_stop") + 0.5)
    manifest = BundleStore(stage.home.bundles).manifest(MODEL, "v1")
    lineage = msgspec.structs.replace(manifest.lineage, versions={"polars": "0.1"})
    older = msgspec.structs.replace(manifest, lineage=lineage)
    monkeypatch.setattr(BundleStore, "manifest", lambda self, model, version: older)
    found = recompute(stage, frame)
    assert blamed(found, "ask.per_stop") == ("library_change", "polars")
    assert blamed(found, "traffic.count_1h") == ("unknown", "traffic.count_1h")
    first = first_of(found, "traffic.count_1h")
    assert first.cause is not None
    assert first.cause.reason.endswith(f"v1 was trained with Polars 0.1, and this is Polars {pl.__version__}")


def test_a_request_feature_has_the_cause_of_what_it_reads(tmp_path: Path) -> None:
    twice = 'ck.RequestFeatures("ask", twice=pl.col("traffic.count_1h") * 2, '
    text = DEFINITION.replace('ck.RequestFeatures("ask", ', twice)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving_project.DEFINITION", text)
        with open_stage(tmp_path) as stage:
            stage.service.push("trips", [trip(1)])
            stage.service.predict(MODEL, requests("Pune"))
            rest = {"traffic.mean_km_6h": pl.lit(None, pl.Float64), "traffic.driver": pl.lit(None, pl.String)}
            columns = (pl.col("traffic.count_1h") - 1, pl.col("ask.twice") - 2)
            found = recompute(stage, record_without_seen(stage).with_columns(*columns, **rest))
    assert blamed(found, "ask.twice") == blamed(found, "traffic.count_1h") == ("concurrent_push", "source trips")


def test_long_logs_are_compared_piece_by_piece(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    busy_hour(stage)
    other = Service(stage.project, stage.home, stage.clock, "w1")
    other.refresh()
    other.predict(MODEL, requests("Pune"))
    other.close()
    whole = verified(stage.project, stage.home)
    monkeypatch.setattr("charkha.monitoring.logged.STEP_RECORDS", 5)
    told: list[tuple[int, int]] = []
    with opened(stage.project, stage.home) as recomputer:
        pieces = verify_log(recomputer, ALWAYS, None, lambda done, total: told.append((done, total)))
    assert (pieces.predictions, pieces.skewed) == (whole.predictions, []) == (49, [])
    assert (pieces.since, pieces.until) == (whole.since, whole.until)
    assert told[0][0] == 0
    assert all(0 <= done <= total for done, total in told)


def test_what_is_served_meanwhile_is_left_out(stage: Stage) -> None:
    """Rows are read once: what is asked after that may have seen newer ones."""
    stage.service.predict(MODEL, requests("Pune"))

    def meanwhile(done: int, total: int) -> None:
        later(stage)
        stage.service.push("trips", [trip(stage.clock.now())])
        stage.service.predict(MODEL, requests("Pune"))

    with opened(stage.project, stage.home) as recomputer:
        found = verify_log(recomputer, ALWAYS, None, meanwhile)
    assert (found.predictions, found.skewed) == (1, [])


def test_a_field_that_is_gone_says_what_to_do(stage: Stage) -> None:
    stage.service.predict(MODEL, requests("Pune"))
    bare = evolve(stage.project.sources["weather"], fields={"city": str})
    with opened(stage.project, stage.home) as recomputer:
        gone = evolve(recomputer, sources={**stage.project.sources, "weather": bare})
        with pytest.raises(CannotRecompute, match=r"the fields \['rain'\] of source 'weather'.*definition that"):
            verify_log(gone, ALWAYS, None, lambda done, total: None)


def test_a_span_and_a_sample_are_parts_of_the_whole(stage: Stage) -> None:
    busy_hour(stage)
    half = Span(NOW_US + 30 * MINUTE_US, NOW_US + 60 * MINUTE_US)
    assert verified(stage.project, stage.home, half).predictions == 16
    sample = verified(stage.project, stage.home, sample=10)
    assert (sample.predictions, sample.skewed) == (10, [])
    assert verified(stage.project, stage.home, sample=10) == sample
    assert verified(stage.project, stage.home, sample=1000).predictions == 48
    assert verified(stage.project, stage.home, Span(0, 1)).predictions == 0


def test_records_of_before_are_read(stage: Stage) -> None:
    """Format 1 did not say what a prediction had seen."""
    from charkha.serving import scoring

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "FORMAT", 1)
        stage.service.predict(MODEL, requests("Pune"))
    assert verified(stage.project, stage.home).predictions == 1


@pytest.mark.slow
def test_nothing_is_found_after_kills_under_load(tmp_path: Path) -> None:
    """A server is pushed to and asked at once, killed, and started again; what it served was always right."""
    project = write_project(tmp_path)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        deploy(home, champion("v1"))
        for round_number in range(4):
            running = start_server(project.root, free_port())
            threads = [
                threading.Thread(target=_push, args=(running.client(), round_number)),
                *(threading.Thread(target=_ask, args=(running.client(),)) for _ in range(2)),
            ]
            for thread in threads:
                thread.start()
            time.sleep(1.0)
            running.kill()
            for thread in threads:
                thread.join()
        found = verified(project, home)
    assert found.predictions > 50
    assert [(each.feature, each.first) for each in found.skewed] == []


def _push(client: Any, round_number: int) -> None:
    ended = "2013-04-01T10:00:00Z"
    values = {"driver": "ann", "stops": 2, "pooled": False, "late": None, "asked_at": ended, "ended_at": ended}
    try:
        for number in range(round_number * 100_000, (round_number + 1) * 100_000):
            row = {"trip": number, "city": "Pune", "km": number / 7, **values}
            client.post("/v1/sources/trips/events", {"rows": [row]})
    except Exception:  # the server was killed
        client.close()


def _ask(client: Any) -> None:
    try:
        while True:
            body = {"rows": [{"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}]}
            client.post(f"/v1/models/{MODEL}/predict", body)
    except Exception:  # the server was killed
        client.close()


CANCELLING = """ck.FeatureView(
            "traffic", ck.Entity("city"), trips,
            windows=[
                ck.count(over="1h"), ck.mean("km", over="6h"), ck.sum("km", over="1h"), ck.variance("km", over="1h"),
                ck.std("km", over="1h"), ck.decayed_sum("km", half_life="1h"),
                ck.sum("km", over="1h", where=pl.col("km") < 1e300, name="near"),
                ck.ratio(ck.sum("km", over="1h"), ck.sum("km", over="24h")),
                ck.ratio(ck.count(over="1h"), ck.sum("km", over="1h"), name="turned"),
            ],
            latest=["driver"],
        )"""
DECLARED = """ck.FeatureView(
            "traffic", ck.Entity("city"), trips,
            windows=[ck.count(over="1h"), ck.mean("km", over="6h")], latest=["driver"],
        )"""
ASKED = 'ck.RequestFeatures("ask", per_stop'
TURNING = 'ck.RequestFeatures("ask", over=pl.col("traffic.sum_km_1h") >= 0.6, per_stop'


@pytest.fixture
def cancelling(tmp_path: Path) -> Iterator[Stage]:
    """A view that adds up, and request features that turn over with the last digit of a sum."""
    text = DEFINITION.replace(DECLARED, CANCELLING).replace(ASKED, TURNING)
    assert CANCELLING in text
    assert TURNING in text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving_project.DEFINITION", text)
        with open_stage(tmp_path) as opened_stage:
            yield opened_stage


def push_km(stage: Stage, *distances: float, minutes: float = 0) -> None:
    """Push trips of so many km to Pune, each in a push of its own."""
    for number, km in enumerate(distances):
        row = trip(number, ended_us=stage.clock.now())
        stage.service.push("trips", [(*row[:3], km, *row[4:])])
        later(stage, minutes)


@pytest.mark.parametrize(
    "distances",
    [
        (0.1, 0.2, 1e9, 0.3, -1e9),
        (1e200, -1e200, 5.0, 3e160),
        (1e9, -1e9),
        (1e9, 1e9 + 1.0, 1e9 - 1.0),
        (1e308, 1e308, -1e308, 7.0),
        (1e17, 3.0, -1e17, 3.0),
    ],
)
@pytest.mark.parametrize("minutes", [0, 9])
def test_what_cancels_is_compared_by_what_was_added(
    cancelling: Stage, distances: tuple[float, ...], minutes: float
) -> None:
    """A booking and its reversal leave no digits of what was beside them; no order of adding is the right one."""
    push_km(cancelling, *distances, minutes=minutes)
    later(cancelling)
    cancelling.service.predict(MODEL, requests("Pune", "Delhi"))
    found = verified(cancelling.project, cancelling.home)
    assert [(each.feature, each.first) for each in found.skewed] == []


def test_a_lost_row_is_found_beside_what_cancels(cancelling: Stage) -> None:
    """By the magnitude of one's own key: what another key's sums are is no excuse."""
    push_km(cancelling, 0.1, 0.2, 1e9, 0.3, -1e9)
    row = trip(900_000, "Delhi")
    cancelling.service.push("trips", [(*row[:3], 1e12, *row[4:])])
    later(cancelling)
    cancelling.service.predict(MODEL, requests("Pune", "Delhi"))
    logged = decode_predictions(
        cancelling.home.log.read(prediction_stream(MODEL)), BundleStore(cancelling.home.bundles)
    )
    name = pl.col("traffic.sum_km_1h")
    for added, skewed in ((1.9, set()), (2.1, {"traffic.sum_km_1h"})):  # 1e-9 of the two thousand millions added
        moved = logged.with_columns(pl.when(name < 1e6).then(name + added).otherwise(name).alias("traffic.sum_km_1h"))
        with opened(cancelling.project, cancelling.home) as recomputer:
            found = recomputer.verify([moved])
        assert {each.feature for each in found.skewed} - {"ask.over"} == skewed


@pytest.mark.parametrize("skies", ["keyed"], indirect=True)
def test_numbers_that_overflow_on_the_way_are_no_stale_state(skies: Stage) -> None:
    """What the state holds of them tells nothing: the order of adding makes it a number or none."""
    file = add_weather(skies, "weather-2.csv", *EARLIER)
    feed_of(skies).follow(skies.project.root)
    for rain, minutes in ((1e308, 0.1), (1e308, 15), (1.0, 15)):
        skies.service.push("weather", [("Pune", rain, skies.clock.now())])
        later(skies, minutes)
    skies.service.predict(MODEL, requests("Pune"))
    later(skies)
    file.unlink()
    feed_of(skies).follow(skies.project.root)
    found = verified(skies.project, skies.home)
    assert blamed(found, "sky.count_24h") == ("rebuilt_state", "source weather")
