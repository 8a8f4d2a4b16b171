"""Bulk scoring beside LightGBM's own batch predict: the same rows, the same trees, from file to file.

    .venv/bin/python benchmarks/scoring.py [--rows 1000000] [--trees 300] [--leaves 31] [--features 32]

A model of features that are the request's own numbers, so that what is measured is not their computing. Ours reads
Parquet, holds the rows to what requests are held to, scores, decides and writes Parquet; LightGBM has a matrix in
memory and leaves one there. Costs are processor time, medians of rounds that take turns.

The last line is JSON: {"claims": [{"name", "value", "target", "holds"}, …]}.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import lightgbm
import numpy as np
import polars as pl
from attrs import frozen
from claims import Measured, at_most, claim_lines, claims_json, exactly, in_words, judge
from measuring import header_lines

import charkha as ck
from charkha.bundles.bundle import Bundle
from charkha.bundles.encoding import FeatureColumn, FeatureSchema
from charkha.bundles.manifest import EstimatorSpec, Lineage, Manifest, RuntimeChoice
from charkha.bundles.profile import learn_shape, profile_of
from charkha.bundles.runtime_choice import choose_runtime
from charkha.bundles.store import BundleStore
from charkha.clock import SystemClock
from charkha.engines.local import LocalEngine
from charkha.features.plan import plan_features
from charkha.serving.bulk.answers import score_blocks
from charkha.serving.bulk.files import row_files
from charkha.serving.bulk.run import Scoring, score_files
from charkha.spec.model import FloatArray, Lesson, Model
from charkha.spec.project import Project
from charkha.storage.home import open_home

TITLE = "Bulk scoring, beside LightGBM's own batch predict."
FIGURES = (
    at_most("scoring", "bulk_scoring_cpu_over_lightgbm", 1.2),
    in_words("scoring", "bulk_scoring_cpu_over_lightgbm_from_file_to_file", "reported"),
    in_words("scoring", "bulk_scoring_cpu_by_native_over_lightgbm", "reported"),
    exactly("scoring", "bulk_scores_further_than_1e-6_from_lightgbm", 0),
    in_words("scoring", "bulk_scoring_rows_per_second", "reported"),
    in_words("scoring", "bulk_scoring_peak_rss_gib", "reported"),
)
TAUGHT, ROUNDS = 50_000, 3


@frozen
class Shape:
    """What is measured."""

    rows: int = 1_000_000
    trees: int = 300
    leaves: int = 31
    features: int = 32


def made_rows(count: int, features: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return numbers with nulls, and labels that depend on a third of them."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, features))
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    known = np.nan_to_num(matrix)
    signal = known[:, : features // 3 + 1].sum(axis=1) + known[:, 0] * known[:, 1] + rng.normal(size=count)
    return matrix, (signal > 0).astype(np.float64)


def declared(shape: Shape) -> Model:
    """Return a model whose features are the numbers of a request."""
    names = [f"x{number}" for number in range(shape.features)]
    fields: dict[str, Any] = {**dict.fromkeys(names, float), "bad": bool, "at": datetime}
    expressions: dict[str, Any] = {name: pl.col(name) for name in names}
    source = ck.Source("asked", fields, time="at")
    return ck.Model(
        "numbers",
        label=ck.Label(source, pl.col("bad"), at="at", delay="1d"),
        request=names,
        features=[ck.RequestFeatures("of", **expressions)],
        estimator=ck.LightGBM(trees=shape.trees, leaves=shape.leaves, early_stopping=None),
        purpose="operations",
        owner="benchmark",
    )


def write_bundles(model: Model, folder: Path) -> tuple[bytes, RuntimeChoice]:
    """Write "v1", by the runtime that is chosen, and "v2", by LightGBM itself; return the trees and the choice."""
    schema = FeatureSchema(tuple(FeatureColumn(name, "numeric") for name in plan_features(model).names))
    matrix, labels = made_rows(TAUGHT, len(schema.columns), 0)
    state = model.estimator.fit(Lesson("binary", (matrix, labels), (matrix[:0], labels[:0]), (), 1))
    choice = choose_runtime("lightgbm", state, matrix[:5000])
    frame = pl.DataFrame(dict(zip(schema.names, matrix[:1000].T, strict=True)))
    profile = learn_shape(frame, labels[:1000])
    for version, runtime in {"v1": choice, "v2": RuntimeChoice(name="native", rows=0)}.items():
        manifest = Manifest(
            model=model.name,
            version=version,
            task="binary",
            created_us=0,
            as_of_us=0,
            estimator=EstimatorSpec("lightgbm"),
            runtime=runtime,
            plan_json=plan_features(model).to_json(),
            schema=schema,
            threshold=0.5,
            reference=profile_of(profile, frame, labels[:1000]),
            shape=profile,
            lineage=Lineage(
                fingerprint="0", rows=0, definition_digest="0", as_of_us=0, seed=1, versions={}, source_rows={}
            ),
            purpose=model.purpose,
            owner=model.owner,
            positive_share=0.5,
        )
        BundleStore(folder).write(manifest, state, "# Made for a benchmark")
    return state, choice


def cpu_seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return what a piece of work takes: of all processors, and on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(shape: Shape, folder: Path, threads: int = 2) -> Iterator[tuple[str, Measured]]:
    """Yield the figures of FIGURES. folder: to work in."""
    model = declared(shape)
    project = Project("numbers", folder, folder / "home", {model.name: model})
    matrix, _ = made_rows(shape.rows, shape.features, 1)
    pl.DataFrame(dict(zip(model.request, matrix.T, strict=True))).write_parquet(folder / "rows.parquet")
    with open_home(folder / "home") as home:
        state, choice = write_bundles(model, home.bundles)
        files = row_files(["rows.parquet"], folder)
        booster = lightgbm.Booster(model_str=state.decode())
        bundles = {version: BundleStore(home.bundles).read(model.name, version) for version in ("v1", "v2")}
        frame = pl.DataFrame(dict(zip(bundles["v1"].manifest.schema.names, matrix.T, strict=True)))

        def from_file_to_file(number: int) -> None:
            told: dict[str, Any] = {"as_of_us": 0, "engine": LocalEngine(threads)}
            scoring = Scoring(
                project=project, home=home, clock=SystemClock(), model=model, version="v1", files=files, **told
            )
            score_files(scoring, folder / f"out-{number}")

        def scored(bundle: Bundle) -> FloatArray:
            return score_blocks(bundle, frame, LocalEngine(threads))

        works: dict[str, Callable[[int], object]] = {
            "lightgbm": lambda number: booster.predict(matrix, num_threads=threads),
            "ours": lambda number: scored(bundles["v1"]),
            "native": lambda number: scored(bundles["v2"]),
            "files": from_file_to_file,
        }
        for bundle in bundles.values():
            bundle.score(frame[:1000])
        rounds = [
            {name: cpu_seconds(partial(work, number)) for name, work in works.items()} for number in range(ROUNDS)
        ]
        cpu, wall = ({name: median(each[name][at] for each in rounds) for name in works} for at in (0, 1))
        expected = np.asarray(booster.predict(matrix, num_threads=threads))
        found = pl.read_parquet(folder / "out-0" / "part-*.parquet")["score"].to_numpy()
        same = scored(bundles["v1"]).tobytes() == found.tobytes()
    beside = f"LightGBM {lightgbm.__version__} {cpu['lightgbm']:.1f} CPU s, {threads} threads, {shape.rows:,} rows"
    lead = cpu["lightgbm"]
    yield "bulk_scoring_cpu_over_lightgbm", Measured(cpu["ours"] / lead, f"{cpu['ours']:.1f}, {choice.name}; {beside}")
    note = f"{cpu['files']:.1f}, with reading, checks, decisions, writing; {beside}"
    yield "bulk_scoring_cpu_over_lightgbm_from_file_to_file", Measured(cpu["files"] / lead, note)
    yield "bulk_scoring_cpu_by_native_over_lightgbm", Measured(cpu["native"] / lead, f"{cpu['native']:.1f}; {beside}")
    far = int((np.abs(found - expected) > 1e-6).sum())
    yield "bulk_scores_further_than_1e-6_from_lightgbm", Measured(far, f"of {len(found):,}", met=same and far == 0)
    note = f"from file to file, {wall['files']:.1f} s on the wall; LightGBM {wall['lightgbm']:.1f} s"
    yield "bulk_scoring_rows_per_second", Measured(shape.rows / wall["files"], note)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield "bulk_scoring_peak_rss_gib", Measured(peak, "with the matrix for LightGBM, and its predictions")


def main() -> int:
    """Run the benchmark and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("rows", "trees", "leaves", "features"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Shape(), name))
    shape = Shape(**vars(parser.parse_args()))
    print(*header_lines("the working tree", TITLE), f"sizes      {shape}", sep="\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="charkha-scoring-") as folder:
        claims = judge(dict(measure(shape, Path(folder))), {}, FIGURES)
    print("", *claim_lines(claims), "", claims_json(claims), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
