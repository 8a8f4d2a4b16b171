"""Profiles that are kept, of the shape that a version was trained with, take the place of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from attrs import evolve, frozen
from drill_world import RESCORE, SPAN, traffic
from test_diagnosed import ONSET_US, WORLD, case_of

from charkha.bundles.profile import ProfileShape, learn_shape
from charkha.bundles.store import BundleStore, UnknownBundle
from charkha.monitoring.collect import profiles_table
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.kept import Kept, kept_tiles
from charkha.monitoring.parts import Part, day_of
from charkha.monitoring.performance import Span
from charkha.monitoring.tiles import tiles_of
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import INCIDENTS, inject
from charkha.operations.drills.fault import Fault
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import Home
from charkha.storage.parquet_tables import ParquetTables

MODEL = "late"
KINDS = {name: WORLD.predictions.schema[name] for name in WORLD.features}


def shape_of(seen: Traffic) -> ProfileShape:
    return learn_shape(seen.predictions.select(seen.features), seen.predictions["score"].to_numpy())


# What a version was trained on, in another season than it serves.
TRAINED = traffic(seed=99)
COLDER = evolve(TRAINED, predictions=TRAINED.predictions.with_columns(pl.col("sky.temp") - 6))
SHAPE = shape_of(COLDER)


@frozen
class Manifest:
    shape: ProfileShape


@frozen
class Bundles:
    shapes: Mapping[str, ProfileShape]

    def manifest(self, model: str, version: str) -> Manifest:
        if version not in self.shapes:
            raise UnknownBundle(model, version, Path(), list(self.shapes))
        return Manifest(self.shapes[version])


@frozen
class Tabled:
    tables: ParquetTables


def kept(
    folder: Path,
    seen: Traffic,
    shapes: Mapping[str, ProfileShape],
    *,
    cut: tuple[Span, ...] = (),
    features: Mapping[str, pl.DataType] = KINDS,
) -> Kept | None:
    tables = ParquetTables(folder)
    for (version,), rows in seen.predictions.partition_by("version", as_dict=True).items():
        part = Part(day_of(SPAN.since_us), str(version), 0, 1)
        tables.write(profiles_table(MODEL), part.name, tiles_of(SHAPE, str(version), rows))
    home, bundles = cast("Home", Tabled(tables)), cast("BundleStore", Bundles(shapes))
    return kept_tiles(home, MODEL, bundles, SPAN, cut, features=features)


@pytest.mark.parametrize("kind", ["unit_change", "null_flood", None])
def test_incidents_are_found_by_the_profiles_of_a_version(kind: str | None, tmp_path: Path) -> None:
    seen = WORLD if kind is None else inject(WORLD, Fault(kind, ONSET_US, subject="weather.temp"), RESCORE)
    profiles = kept(tmp_path, seen, {"v1": SHAPE})
    assert profiles is not None
    found = diagnose(evolve(case_of(seen), kept=profiles))
    assert found.cause == (INCIDENTS[kind].cause if kind else None)
    if kind:
        assert found.culprit.sources == ("weather",)
        assert found.began_us is not None
        assert abs(found.began_us - ONSET_US) <= 2 * HOUR_US


def two_versions() -> Traffic:
    every = TRAINED.predictions.with_row_index("_row")
    second = pl.when(pl.col("_row") % 2 == 0).then(pl.lit("v2")).otherwise("version")
    return evolve(TRAINED, predictions=every.with_columns(version=second).drop("_row"))


def test_versions_of_one_shape_are_looked_at_together(tmp_path: Path) -> None:
    found = kept(tmp_path, two_versions(), {"v1": SHAPE, "v2": SHAPE})
    assert found is not None
    assert found.tiles["rows"].sum() == TRAINED.predictions.height


@pytest.mark.parametrize("shapes", [{"v1": SHAPE, "v2": shape_of(TRAINED)}, {"v1": SHAPE}])
def test_rows_are_counted_where_versions_have_other_shapes_or_none(
    shapes: Mapping[str, ProfileShape], tmp_path: Path
) -> None:
    assert kept(tmp_path, two_versions(), shapes) is None


def test_rows_are_counted_where_other_features_were_served(tmp_path: Path) -> None:
    assert kept(tmp_path, TRAINED, {"v1": SHAPE}, features={**KINDS, "sky.wind": pl.Float64()}) is None
    assert kept(tmp_path, TRAINED, {"v1": SHAPE}, features={**KINDS, "sky.temp": pl.String()}) is None


def test_shadows_and_what_is_cut_out_are_not_counted(tmp_path: Path) -> None:
    unheard = TRAINED.predictions.with_columns(version=pl.lit("v2"), role=pl.lit("shadow"))
    both = evolve(TRAINED, predictions=pl.concat([TRAINED.predictions, unheard]))
    cut = Span(SPAN.since_us + 2 * DAY_US, SPAN.since_us + 3 * DAY_US)
    found = kept(tmp_path, both, {"v1": SHAPE}, cut=(cut,))
    assert found is not None
    inside = TRAINED.predictions["_at_us"].is_between(cut.since_us, cut.until_us, closed="left")
    assert found.tiles["rows"].sum() == (~inside).sum()
