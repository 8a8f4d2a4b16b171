"""Bulk scoring: the numbers that a server answers, to the bit; resumable; and what it refuses."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import polars as pl
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from serving_project import (
    HOUR_US,
    MODEL,
    NOW_US,
    Stage,
    champion,
    deploy,
    linear_state,
    open_stage,
    rule,
    schema_of,
    trip,
)

from charkha.bundles.linear_runtime import LinearState
from charkha.bundles.store import BundleStore
from charkha.engines.local import LocalEngine
from charkha.serving.bulk import answers
from charkha.serving.bulk.files import ScoringRefused, row_files
from charkha.serving.bulk.run import BadRowsFound, ScoredAlready, Scoring, score_files
from charkha.spec.rules import score
from charkha.storage.parts import PartsRefused

RULES = (
    rule("far", pl.col("km") > 20),
    rule("idle", pl.col("traffic.count_1h") == 0, decide=False),
    rule("sure", (score() < 0.4) & (pl.col("km") < 10), decide=False),
    rule("slow", pl.col("ask.per_stop") > 5),
    rule("glance", pl.col("ask.per_stop") > 0, shadow=True),
    rule("named", (pl.col("city").str.to_uppercase() == "GOA") & (score() > pl.col("ask.hour") / 24)),
    rule("hunch", score() * 10 > pl.col("stops"), shadow=True),
)
SCHEMA = pl.Schema({"city": pl.String(), "km": pl.Float64(), "stops": pl.Int64(), "pooled": pl.Boolean()})
NOW = datetime.fromtimestamp(NOW_US / 1e6, UTC)
CITIES = ("Pune", "Delhi", "Goa")
ROW = st.tuples(
    st.sampled_from([*CITIES, "nowhere", None]),
    st.none() | st.floats(-1e3, 1e3).map(lambda km: km + 0.0),
    st.none() | st.integers(-3, 12),
    st.none() | st.booleans(),
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A project whose champion reads counts and latest values, and whose "v2" reads means as well."""
    with open_stage(tmp_path_factory.mktemp("bulk"), rules=RULES) as stage:
        random = np.random.default_rng(3)
        late = stage.project.models[MODEL]
        write_weighty_bundle(stage)
        for number in range(60):
            stage.clock.advance_to(NOW_US + number * 60_000_000)
            km = float(random.uniform(0.1, 30.0))
            made = trip(number, CITIES[int(random.integers(3))], ended_us=stage.clock.now())
            stage.service.push("trips", [(*made[:3], km, *made[4:])])
        stage.clock.advance_to(NOW_US + HOUR_US)
        assert late.request == ("city", "km", "stops", "pooled")
        yield stage


def write_weighty_bundle(stage: Stage) -> None:
    """Write "v2", to whose scores every number counts, means among them."""
    model = stage.project.models[MODEL]
    schema = schema_of(model)
    state = msgspec.json.decode(linear_state(model, schema, -1.0), type=LinearState)
    weights = tuple(0.1 + 0.07 * place for place in range(len(state.weights)))
    weighty = msgspec.json.encode(
        msgspec.structs.replace(state, weights=weights, scales=tuple(3.0 + w for w in weights))
    )
    manifest = BundleStore(stage.home.bundles).manifest(MODEL, "v1")
    BundleStore(stage.home.bundles).write(msgspec.structs.replace(manifest, version="v2"), weighty, "# A card")


def scoring(stage: Stage, *files: Path, **changes: Any) -> Scoring:
    model, given_files = stage.project.models[MODEL], row_files([str(file) for file in files], Path.cwd())
    told: dict[str, Any] = {"version": "v1", "engine": LocalEngine(2), **changes}
    return Scoring(project=stage.project, home=stage.home, clock=stage.clock, model=model, files=given_files, **told)


def read(parts: Sequence[Path]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part) for part in parts])


def bits(scores: pl.Series | np.ndarray[Any, Any]) -> list[int]:
    found: list[int] = np.array(scores, dtype=np.float64).view(np.int64).tolist()
    return found


def table(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(
    rows=st.lists(ROW, min_size=1, max_size=40),
    at_once=st.integers(1, 41),
    block=st.integers(1, 41),
    threads=st.integers(1, 3),
    offline=st.booleans(),
)
def test_the_server_and_bulk_give_the_same_bits(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory, rows: list[Any], at_once: int, block: int, threads: int,
    offline: bool,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("same")
    asked = table(rows)
    asked.with_columns(order=pl.arange(len(rows))).write_parquet(folder / "rows.parquet")
    served = stage.service.predict(MODEL, asked)
    as_of = stage.clock.now() if offline else None
    asks = scoring(stage, folder / "rows.parquet", as_of_us=as_of, rows_at_once=at_once, engine=LocalEngine(threads))
    with patch.object(answers, "BLOCK", block), patch.object(answers, "CALL", block):
        found = read(score_files(asks, folder / "out"))
    assert bits(found["score"]) == bits(served.scores)
    assert found["decision"].to_list() == served.decisions
    assert [tuple(names) for names in found["rules"].to_list()] == list(served.rules)
    assert found["order"].to_list() == list(range(len(rows)))
    assert set(found["version"]) == {"v1"}


def test_sums_agree_to_the_bit_from_the_online_state_and_nearly_as_of_a_time(stage: Stage, tmp_path: Path) -> None:
    asked = table([(city, 1.5 + 3 * stops, stops, None) for city in CITIES for stops in range(1, 30)])
    asked.write_parquet(tmp_path / "rows.parquet")
    alone = scoring(stage, tmp_path / "rows.parquet", version="v2", rows_at_once=1)
    now = read(score_files(evolve(alone, rows_at_once=31), tmp_path / "now"))
    assert bits(read(score_files(alone, tmp_path / "alone"))["score"]) == bits(now["score"])
    deploy(stage.home, champion("v2"))
    stage.service.refresh()
    assert bits(stage.service.predict(MODEL, asked).scores) == bits(now["score"])
    deploy(stage.home, champion("v1"))
    stage.service.refresh()
    then = read(score_files(evolve(alone, as_of_us=stage.clock.now()), tmp_path / "then"))
    assert np.allclose(then["score"], now["score"], rtol=1e-9, atol=1e-9)
    assert now["score"].n_unique() > 50


def test_each_row_is_answered_as_of_its_own_time(stage: Stage, tmp_path: Path) -> None:
    """Of the very trips: a question between two pushes counts those that were there."""
    times = [NOW + timedelta(seconds=second) for second in (-1, 0, 59, 60, 1800, 3600)]
    asked = table([("Pune", 2.0, 1, None)] * len(times)).with_columns(asked_at=pl.Series(times))
    asked.write_parquet(tmp_path / "rows.parquet")
    found = read(score_files(scoring(stage, tmp_path / "rows.parquet", at="asked_at"), tmp_path / "out"))
    assert found["time"].to_list() == times == found["asked_at"].to_list()
    each = [
        read(
            score_files(
                scoring(stage, tmp_path / "rows.parquet", as_of_us=int(when.timestamp() * 1e6)),
                tmp_path / f"out-{place}",
            )
        )["score"][place]
        for place, when in enumerate(times)
    ]
    assert bits(found["score"]) == bits(np.array(each))
    assert found["score"].n_unique() > 2
    assert found["rules"].to_list()[0] == ["idle", "sure"]


@pytest.mark.parametrize("form", ["parquet", "csv", "arrow"])
def test_all_formats_give_the_same(stage: Stage, tmp_path: Path, form: str) -> None:
    asked = table([("Pune", 2.5, 1, True), ("Delhi", None, None, None)] * 50).with_columns(
        note=pl.Series([f"n{n}" for n in range(100)])
    )
    asked.write_parquet(tmp_path / "rows.parquet")
    expected = read(score_files(scoring(stage, tmp_path / "rows.parquet"), tmp_path / "expected"))
    folder = tmp_path / form
    folder.mkdir()
    for number, half in enumerate((asked[:30], asked[30:])):
        path = folder / f"rows-{number}.{form}"
        getattr(half, f"write_{form.replace('arrow', 'ipc')}")(path)
    found = read(score_files(scoring(stage, folder, rows_at_once=17), tmp_path / "out"))
    assert found.drop("time").equals(expected.drop("time"))


def test_it_goes_on_where_it_was_and_refuses_the_folder_of_another(stage: Stage, tmp_path: Path) -> None:
    table([("Pune", 1.0 * n, n, None) for n in range(100)]).write_parquet(tmp_path / "rows.parquet")
    told: list[tuple[int, int, str]] = []
    asks = scoring(stage, tmp_path / "rows.parquet", rows_at_once=30)
    parts = score_files(asks, tmp_path / "out", lambda *each: told.append(each))
    assert [part.name for part in parts] == [f"part-0000{n}.parquet" for n in range(4)]
    assert (30, 100, "part 2 of 4: scoring") in told
    assert told[-1] == (100, 100, "done")
    before, times = read(parts), [part.stat().st_mtime_ns for part in parts]
    parts[1].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:200])
    again = score_files(asks, tmp_path / "out")
    assert read(again).equals(before)
    assert [part.stat().st_mtime_ns == then for part, then in zip(again, times, strict=True)] == [1, 0, 0, 1]
    for other in ({"rows_at_once": 31}, {"version": "v2"}, {"as_of_us": NOW_US}, {"bad_rows": "null"}):
        with pytest.raises(PartsRefused, match="those of another: its input, version, time"):
            score_files(evolve(asks, **other), tmp_path / "out")
    table([("Pune", 1.0, 1, None)] * 100).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(PartsRefused, match="those of another"):
        score_files(scoring(stage, tmp_path / "rows.parquet", rows_at_once=30), tmp_path / "out")


def test_answers_of_an_earlier_moment_do_not_pass_for_those_of_now(stage: Stage, tmp_path: Path) -> None:
    table([("Pune", 1.0 * n, n, None) for n in range(60)]).write_parquet(tmp_path / "rows.parquet")
    asks = scoring(stage, tmp_path / "rows.parquet", rows_at_once=20)
    parts = score_files(asks, tmp_path / "out")
    with pytest.raises(ScoredAlready, match=r"where all rows were scored by .*: give another --output, or --anew"):
        score_files(asks, tmp_path / "out")
    parts[1].unlink()
    assert score_files(asks, tmp_path / "out") == parts, "what is left of an interrupted run is scored"
    before = [path.stat().st_mtime_ns for path in parts]
    assert score_files(evolve(asks, anew=True), tmp_path / "out") == parts
    assert all(path.stat().st_mtime_ns > then for path, then in zip(parts, before, strict=True))


def test_pushes_meanwhile_do_not_keep_it_from_going_on(stage: Stage, tmp_path: Path) -> None:
    table([("Pune", 1.0, 1, None)] * 10).write_parquet(tmp_path / "rows.parquet")
    asks = scoring(stage, tmp_path / "rows.parquet", rows_at_once=5, as_of_us=stage.clock.now() - 1)
    parts = score_files(asks, tmp_path / "out")
    before = read(parts)
    stage.service.push("trips", [trip(10_000, ended_us=stage.clock.now())])
    parts[1].unlink()
    assert read(score_files(asks, tmp_path / "out")).equals(before)


def test_bad_rows_are_named_or_scored_as_null(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("city,km,stops,pooled,who\nPune,1.5,2,true,a\nPune,far,2,,b\n")
    long = "x" * 4097
    (tmp_path / "b.csv").write_text(f"city,km,stops,pooled,who\nPune,2,2.5,no,c\n{long},2,2,,d\nPune,,,,e\n")
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    with pytest.raises(BadRowsFound) as refused:
        score_files(scoring(stage, *files), tmp_path / "out")
    said = str(refused.value)
    assert said.startswith("3 of 5 rows cannot be scored, for a server would refuse them. row 1 of a.csv: field 'km': ")
    assert "expected float, got 'far'; row 0 of b.csv: field 'stops': expected int, got '2.5'" in said
    assert "row 1 of b.csv: field 'city': expected text of at most 4096 characters, got 'xxx" in said
    assert list((tmp_path / "out").glob("part-*")) == []
    found = read(score_files(scoring(stage, *files, bad_rows="null"), tmp_path / "out"))
    assert found["who"].to_list() == list("abcde")
    assert [each is None for each in found["problem"]] == [True, False, False, False, True]
    assert [each is None for each in found["score"]] == [False, True, True, True, False]
    assert found["problem"][1] == "field 'km': expected float, got 'far'"
    bad = found.filter(pl.col("problem").is_not_null())
    assert bad.select("time", "decision", "rules").null_count().row(0) == (3, 3, 3)
    good = table([("Pune", 1.5, 2, True), ("Pune", None, None, None)])
    good.write_parquet(tmp_path / "good.parquet")
    expected = read(score_files(scoring(stage, tmp_path / "good.parquet"), tmp_path / "good"))
    assert bits(found["score"].drop_nulls()) == bits(expected["score"])


def test_a_row_without_a_time_is_a_bad_row(stage: Stage, tmp_path: Path) -> None:
    asked = table([("Pune", 1.0, 1, None)] * 2).with_columns(when=pl.Series([NOW, None]))
    asked.write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(
        BadRowsFound, match=r"row 1 of rows.parquet: field 'when': expected the time of each row, got nu"
    ):
        score_files(scoring(stage, tmp_path / "rows.parquet", at="when"), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.drop("km", "stops"), r"\['km', 'stops'\] are not among \['city', 'pooled'\]"),
        (lambda rows: rows.with_columns(pl.col("pooled").cast(pl.Int64)), "'pooled': expected bool, got Int64"),
        (lambda rows: rows.with_columns(score=1.0), r"no columns called as the answers' are, got \['score'\]"),
    ],
)
def test_input_that_is_no_request_is_refused(stage: Stage, tmp_path: Path, change: Any, says: str) -> None:
    change(table([("Pune", 1.0, 1, True)])).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ScoringRefused, match=says):
        score_files(scoring(stage, tmp_path / "rows.parquet"), tmp_path / "out")


def test_files_of_several_formats_or_unlike_ones_are_refused(stage: Stage, tmp_path: Path) -> None:
    rows = table([("Pune", 1.0, 1, True)])
    rows.write_parquet(tmp_path / "a.parquet")
    rows.write_csv(tmp_path / "b.csv")
    (tmp_path / "c.parquet").write_text("no Parquet")
    with pytest.raises(ScoringRefused, match=r"files of one format.* got \.csv, \.parquet"):
        row_files([str(tmp_path / "a.parquet"), str(tmp_path / "b.csv")], tmp_path)
    with pytest.raises(ScoringRefused, match=r"c\.parquet cannot be read"):
        row_files(["c.parquet"], tmp_path)
    rows.rename({"km": "miles"}).write_parquet(tmp_path / "d.parquet")
    with pytest.raises(ScoringRefused, match=r"a\.parquet and 1 more, which must have its columns, cannot be read"):
        score_files(scoring(stage, tmp_path / "a.parquet", tmp_path / "d.parquet"), tmp_path / "out")


def test_no_rows_leave_an_empty_part(stage: Stage, tmp_path: Path) -> None:
    table([]).write_parquet(tmp_path / "rows.parquet")
    for name, changes in {"now": {}, "then": {"as_of_us": NOW_US}}.items():
        found = read(score_files(scoring(stage, tmp_path / "rows.parquet", **changes), tmp_path / name))
        assert (found.height, found.columns) == (0, [*SCHEMA, *answers.ANSWER, "model", "version"])


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from serving_project import MODEL, load_project, open_home
from charkha.clock import SystemClock
from charkha.serving.bulk.files import row_files
from charkha.serving.bulk.run import Scoring, score_files
root = Path(sys.argv[1])
project = load_project(root)
with open_home(project.home) as home:
    scoring = Scoring(project=project, home=home, clock=SystemClock(), model=project.models[MODEL], version="v1",
                      files=row_files([str(root / "rows.parquet")], root), rows_at_once=20, as_of_us=int(sys.argv[2]))
    score_files(scoring, root / "out")
"""


def test_killed_again_and_again_it_ends_as_if_never_killed(tmp_path: Path) -> None:
    with open_stage(tmp_path, rules=RULES) as stage:
        stage.service.push("trips", [trip(n, CITIES[n % 3]) for n in range(50)])
        rows = table([(CITIES[n % 3], 0.1 * n, n % 7, None) for n in range(1500)]).with_columns(n=pl.arange(1500))
        rows.write_parquet(tmp_path / "rows.parquet")
        expected = read(score_files(scoring(stage, tmp_path / "rows.parquet", as_of_us=NOW_US), tmp_path / "whole"))
    command = [sys.executable, "-c", CHILD.format(tests=str(Path(__file__).parent)), str(tmp_path), str(NOW_US)]
    dice, killed = np.random.default_rng(5), 0
    for _ in range(4):
        with subprocess.Popen(command) as child:
            have, deadline = len(list((tmp_path / "out").glob("part-*.parquet"))), time.monotonic() + 60
            while child.poll() is None and time.monotonic() < deadline:
                if len(list((tmp_path / "out").glob("part-*.parquet"))) > have + dice.integers(1, 5):
                    os.kill(child.pid, signal.SIGKILL)
                    killed += 1
                    break
                time.sleep(0.002)
    assert killed >= 3
    subprocess.run(command, check=True)
    assert read(sorted((tmp_path / "out").glob("part-*.parquet"))).equals(expected)
