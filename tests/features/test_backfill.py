"""From files to files: the same features as in memory, whatever the stretches and buckets, through any death."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from attrs import evolve

import charkha as ck
from charkha.engines.local import LocalEngine
from charkha.features.backfill import BackfillRefused, backfill, with_times
from charkha.features.declared import DataError
from charkha.features.offline import offline_features
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.reading import Sources
from charkha.features.rows import read_rows
from charkha.storage.parts import PartsRefused

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
FIELDS = {"id": int, "shop": str, "card": int, "at": datetime, "known_at": datetime, "amount": float, "city": str}
SALES = ck.Source("sales", FIELDS, ck.parquet("sales-*.parquet"), time="at", known="known_at", key="id")
VIEWS = (
    ck.FeatureView(
        "shop", ck.Entity("shop"), SALES, windows=[ck.count(over="6h"), ck.mean("amount", over=["1h", "7d"])]
    ),
    ck.FeatureView("card", ck.Entity("card"), SALES, latest=["amount", "city", "at"], max_age="2d"),
    ck.FeatureView(
        "pair", ck.Entity("pair", keys=["shop", "card"]), SALES, latest="amount", windows=[ck.count(over="1d")]
    ),
)
NAMES = tuple(name for view in VIEWS for name in feature_names(view))
PLAN = FeaturePlan(
    VIEWS, {"shop": str, "card": int}, "asked_at", {"twice": pl.col("card.amount") * 2}, (*NAMES, "twice")
)


def sales(seed: int, count: int, base: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    at = [BEGIN + timedelta(seconds=int(second)) for second in random.integers(0, 10 * 86_400, count)]
    late = [timedelta(seconds=int(second)) for second in random.integers(0, 7_200, count)]
    known = [
        None if number % 50 == 7 else moment + wait for number, (moment, wait) in enumerate(zip(at, late, strict=True))
    ]
    amount = [None if number % 11 == 0 else float(value) for number, value in enumerate(random.uniform(1, 99, count))]
    return pl.DataFrame(
        {
            "id": base + np.arange(count) - (np.arange(count) % 13 == 0),  # some are corrections of the row before
            "shop": [
                None if number % 97 == 5 else f"s{value}" for number, value in enumerate(random.integers(0, 7, count))
            ],
            "card": random.integers(-3, 4, count),
            "at": [None if number % 61 == 9 else moment for number, moment in enumerate(at)],
            "known_at": known,
            "amount": amount,
            "city": [f"c{value}" for value in random.integers(0, 5, count)],
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC"), "at": pl.Datetime("us", "UTC")},
    )


def write_world(root: Path, questions: int = 500) -> Path:
    for number in range(2):
        sales(number, 1500, 10_000 * number).write_parquet(root / f"sales-{number}.parquet")
    random = np.random.default_rng(9)
    asked = [BEGIN + timedelta(seconds=int(second)) for second in random.integers(0, 11 * 86_400, questions)]
    cards, shops = random.integers(-3, 5, questions), random.integers(0, 9, questions)
    frame = pl.DataFrame(
        {"shop": [f"s{value}" for value in shops], "card": cards, "asked_at": asked, "label": cards > 0}
    )
    frame.with_columns(shop=pl.when(pl.int_range(pl.len()) % 40 == 3).then(None).otherwise("shop")).write_parquet(
        root / "questions.parquet"
    )
    return root


def in_memory(root: Path) -> pl.DataFrame:
    asked = with_times(PLAN, pl.read_parquet(root / "questions.parquet"))
    rows = {"sales": read_rows(SALES, root)}
    return offline_features(PLAN, asked.select(*PLAN.request, "_at_us"), rows, LocalEngine(1))


def read(parts: list[Path]) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(part) for part in parts])


@pytest.mark.parametrize(
    ("rows_at_once", "memory_rows", "bucket_rows"),
    [(1 << 20, 1 << 20, 1 << 20), (100, 1 << 20, 400), (499, 0, 100), (100, 2999, 1 << 20), (100, 3000, 3000)],
)
def test_the_same_features_as_in_memory(tmp_path: Path, rows_at_once: int, memory_rows: int, bucket_rows: int) -> None:
    root = write_world(tmp_path)
    sources = Sources(root, {"sales": SALES}, memory_rows=memory_rows, bucket_rows=bucket_rows)
    parts = backfill(PLAN, root / "questions.parquet", sources, tmp_path / "out", rows_at_once=rows_at_once)
    found = read(parts)
    assert len(parts) == -(-500 // rows_at_once)
    assert found.columns == ["shop", "card", "asked_at", "label", *PLAN.names]
    assert found.select(PLAN.names).equals(in_memory(root))
    assert found.select("shop", "card", "label").equals(
        pl.read_parquet(root / "questions.parquet").select("shop", "card", "label")
    )


def test_what_fails_on_a_row_is_the_same_as_in_memory_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_world(tmp_path)
    number = pl.col("shop").str.slice(1).cast(pl.Int64)
    odd = pl.when(number > 4).then(pl.lit("odd")).otherwise(pl.col("shop").str.slice(1)).cast(pl.Int8)
    plan = evolve(PLAN, expressions={"odd": odd}, names=("odd",), defaults={"odd": -1})
    found = read(backfill(plan, root / "questions.parquet", Sources(root, {"sales": SALES}), tmp_path / "out"))
    asked = with_times(plan, pl.read_parquet(root / "questions.parquet"))
    shops = [None if shop is None else int(shop[1:]) for shop in asked["shop"]]
    assert found["odd"].to_list() == [None if shop is None else -1 if shop > 4 else shop for shop in shops]
    spine, rows = asked.select(*plan.request, "_at_us"), {"sales": read_rows(SALES, root)}
    assert found.select("odd").equals(offline_features(plan, spine, rows, LocalEngine(1)))
    assert f"odd could not be evaluated for {found['odd'].to_list().count(-1)} of 500 rows" in caplog.text


def test_a_part_that_is_there_is_kept_and_another_backfill_is_refused(tmp_path: Path) -> None:
    root, told = write_world(tmp_path), []
    sources = Sources(root, {"sales": SALES})
    questions, out = root / "questions.parquet", tmp_path / "out"
    parts = backfill(PLAN, questions, sources, out, rows_at_once=100, on_progress=lambda *what: told.append(what))
    assert told[:2] == [(0, 500, "looking through sales"), (0, 500, "joining shop")]
    assert told[-1] == (500, 500, "done")
    before = read(parts)
    parts[2].unlink()
    times = {part: part.stat().st_mtime_ns for part in parts if part.exists()}
    assert read(backfill(PLAN, questions, sources, out, rows_at_once=100)).equals(before)
    assert all(part.stat().st_mtime_ns == time for part, time in times.items())
    with pytest.raises(PartsRefused, match="those of another"):
        backfill(PLAN, questions, sources, out, rows_at_once=99)
    sales(5, 10, 90_000).write_parquet(root / "sales-2.parquet")
    with pytest.raises(PartsRefused, match="those of another"):
        backfill(PLAN, questions, sources, out, rows_at_once=100)


def test_a_part_that_was_spoilt_since_it_was_written_is_made_anew(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    sources, questions, out = Sources(root, {"sales": SALES}), root / "questions.parquet", tmp_path / "out"
    parts = backfill(PLAN, questions, sources, out, rows_at_once=100)
    before = read(parts)
    whole = parts[1].read_bytes()
    parts[0].write_bytes(b"")
    parts[1].write_bytes(whole[: len(whole) // 2])
    parts[2].write_bytes(whole[:200] + bytes(200) + whole[400:])
    pl.read_parquet(parts[3]).head(99).write_parquet(parts[3])
    kept = parts[4].stat().st_mtime_ns
    assert read(backfill(PLAN, questions, sources, out, rows_at_once=100)).equals(before)
    assert parts[4].stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda asked: asked.drop("card"), r"'card': expected a column of int, got no such column"),
        (lambda asked: asked.drop("asked_at"), r"'asked_at': expected the time of each question, a Datetime, got no"),
        (lambda asked: asked.with_columns(pl.col("card") + 0.5), r"'card': expected a column of int, got Float64"),
        (lambda asked: asked.with_columns(pl.col("asked_at").dt.epoch("s")), r"'asked_at': .* got Int64"),
        (lambda asked: asked.with_columns(twice=1.0), r"'twice': expected no column called as a feature"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(tmp_path: Path, change: Any, says: str) -> None:
    root = write_world(tmp_path)
    change(pl.read_parquet(root / "questions.parquet")).write_parquet(root / "odd.parquet")
    with pytest.raises(BackfillRefused, match=says):
        backfill(PLAN, root / "odd.parquet", Sources(root, {"sales": SALES}), tmp_path / "out")
    (root / "odd.parquet").write_text("no Parquet")
    with pytest.raises(BackfillRefused, match="cannot be read"):
        backfill(PLAN, root / "odd.parquet", Sources(root, {"sales": SALES}), tmp_path / "out")
    assert backfill(PLAN, root / "questions.parquet", Sources(root, {"sales": SALES}), tmp_path / "out")


def test_a_question_without_a_time_has_no_features_and_changes_none(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    asked = pl.read_parquet(root / "questions.parquet")
    nobody = asked.head(1).with_columns(asked_at=pl.lit(None, pl.Datetime("us", "UTC")))
    pl.concat([nobody, asked]).write_parquet(root / "more.parquet")
    found = read(backfill(PLAN, root / "more.parquet", Sources(root, {"sales": SALES}), tmp_path / "out"))
    assert found.select(PLAN.names).row(0) == (None,) * len(PLAN.names)
    assert found.select(PLAN.names)[1:].equals(in_memory(root))


def test_no_questions_leave_an_empty_part(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    pl.read_parquet(root / "questions.parquet").clear().write_parquet(root / "none.parquet")
    found = read(backfill(PLAN, root / "none.parquet", Sources(root, {"sales": SALES}), tmp_path / "out"))
    assert (found.height, found.columns[4:]) == (0, list(PLAN.names))


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_backfill import PLAN, SALES, Sources, backfill
root = Path(sys.argv[1])
backfill(PLAN, root / "questions.parquet", Sources(root, {{"sales": SALES}}), root / "out", rows_at_once=20)
"""


def test_killed_again_and_again_it_ends_as_if_never_killed(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    command = [sys.executable, "-c", CHILD.format(tests=str(Path(__file__).parent)), str(root)]
    dice = np.random.default_rng(11)
    killed = 0
    for _ in range(5):
        with subprocess.Popen(command) as child:
            have, deadline = len(list((root / "out").glob("part-*.parquet"))), time.monotonic() + 30
            while child.poll() is None and time.monotonic() < deadline:
                if len(list((root / "out").glob("part-*.parquet"))) > have + dice.integers(1, 4):
                    os.kill(child.pid, signal.SIGKILL)
                    killed += 1
                    break
                time.sleep(0.002)
    assert killed >= 3
    assert subprocess.run(command, check=True).returncode == 0
    assert read(sorted((root / "out").glob("part-*.parquet"))).select(PLAN.names).equals(in_memory(root))


def test_a_static_source_whose_keys_repeat(tmp_path: Path) -> None:
    """Its rows have no times of their own: of two rows of one key, the later one is its correction."""
    root = write_world(tmp_path)
    shops = ck.Source("shops", {"shop": str, "size": float}, ck.parquet("shops.parquet"), key="shop", static=True)
    pl.DataFrame({"shop": ["s1", "s2", "s1"], "size": [1.0, 2.0, 3.0]}).write_parquet(root / "shops.parquet")
    plan = FeaturePlan(
        (ck.FeatureView("place", ck.Entity("shop"), shops, latest="size"),),
        {"shop": str},
        "asked_at",
        {},
        ("place.size",),
    )
    found = read(backfill(plan, root / "questions.parquet", Sources(root, {"shops": shops}), tmp_path / "out"))
    expected = {"s1": 3.0, "s2": 2.0}
    assert found["place.size"].to_list() == [expected.get(shop) for shop in found["shop"]]


def test_times_in_text_are_read_as_training_reads_them(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    frame = pl.concat([sales(number, 300, 1000 * number) for number in range(2)]).drop_nulls("at")
    frame.write_csv(root / "sales.csv")
    source = ck.Source("sales", FIELDS, ck.csv("sales.csv"), time="at", known="known_at", key="id")
    view = ck.FeatureView("card", ck.Entity("card"), source, latest=["amount", "at"])
    plan = FeaturePlan((view,), {"card": int}, "asked_at", {}, ("card.amount", "card.at"))
    found = read(backfill(plan, root / "questions.parquet", Sources(root, {"sales": source}), tmp_path / "out"))
    asked = with_times(plan, pl.read_parquet(root / "questions.parquet"))
    rows = {"sales": read_rows(source, root)}
    assert found.select(plan.names).equals(offline_features(plan, asked.select("card", "_at_us"), rows, LocalEngine(1)))
    (root / "sales.csv").write_text(frame.write_csv().replace("2024-01-0", "the day ", 1))
    with pytest.raises(DataError, match="cannot be read as declared"):
        backfill(plan, root / "questions.parquet", Sources(root, {"sales": source}), tmp_path / "again")


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    with pytest.raises(PartsRefused, match="expected a folder that can be made"):
        backfill(PLAN, root / "questions.parquet", Sources(root, {"sales": SALES}), root / "questions.parquet")
