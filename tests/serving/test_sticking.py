"""Which entity it is that always meets the same version."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from attrs import evolve
from serving_project import DEFINITION, MODEL, NOW_US, SETTINGS, champion, deploy, write_bundle

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.features.feed import Feed
from charkha.serving.service import Service
from charkha.spec.checks.models import model_faults
from charkha.spec.model import Model
from charkha.spec.project import Project, load_project
from charkha.storage.home import open_home
from charkha.storage.ledger import Assignment

FIRST = '        ck.FeatureView("sky", ck.Entity("city")'
STOPS = """        ck.FeatureView("pace", ck.Entity("stops"), trips, windows=[ck.count(over="1h")]),
"""


@pytest.fixture
def two(tmp_path: Path) -> Project:
    """A project whose model has views of two entities, city and stops."""
    assert FIRST in DEFINITION
    (tmp_path / "charkha.toml").write_text(SETTINGS)
    (tmp_path / "definition.py").write_text(DEFINITION.replace(FIRST, STOPS + FIRST))
    (tmp_path / "weather.csv").write_text("city,rain,seen_at\nPune,2.5,2013-04-01T11:00:00\n")
    return load_project(tmp_path)


def sticking(project: Project, to: str | ck.Entity | None) -> Model:
    return evolve(project.models[MODEL], stick_to=to)


def versions_of(project: Project, model: Model, rows: Sequence[tuple[str, int]]) -> list[str]:
    """Return who answers rows of (city, stops) while a challenger has half of the entities."""
    project = evolve(project, models={**project.models, MODEL: model})
    with open_home(project.home) as home:
        clock = SimulatedClock(NOW_US)
        Feed(project.sources, project.views, home.log, home.online, clock).materialise(project.root, NOW_US)
        for version in ("v1", "v2"):
            write_bundle(project, home, version)
        deploy(home, champion("v1"), Assignment("v2", "challenger", 0.5))
        service = Service(project, home, clock, "w0")
        service.refresh()
        asked = [(city, 1.0, stops, True) for city, stops in rows]
        found = service.answer([service.ask_rows(MODEL, asked)])[0].versions
        service.close()
    return found


ROWS = [(city, stops) for city in "abcdefgh" for stops in range(8)]


@pytest.mark.parametrize(("to", "by"), [(None, 0), ("city", 0), ("stops", 1), (ck.Entity("stops"), 1)])
def test_an_entity_meets_one_version_whatever_it_meets_it_with(
    two: Project, to: str | ck.Entity | None, by: int
) -> None:
    versions = versions_of(two, sticking(two, to), ROWS)
    found = pl.DataFrame({"entity": [str(row[by]) for row in ROWS], "version": versions})
    assert found["version"].n_unique() == 2
    assert found.group_by("entity").agg(pl.col("version").n_unique())["version"].to_list() == [1] * 8


def test_keys_of_several_fields_and_of_no_view_stick_too(two: Project) -> None:
    assert sticking(two, ck.Entity("trip", keys=("city", "stops"))).sticky_fields == ("city", "stops")
    assert sticking(two, ck.Entity("pooled")).sticky_fields == ("pooled",)
    plain = evolve(two.models[MODEL], features=two.models[MODEL].request_features)
    assert plain.sticky_fields == ("city", "km", "stops", "pooled")


@pytest.mark.parametrize(
    ("to", "said"),
    [("town", "expected an entity of the model's views"), (ck.Entity("driver"), "expected entity key 'driver' in the")],
)
def test_what_it_sticks_to_is_checked(two: Project, to: str | ck.Entity | None, said: str) -> None:
    (fault,) = model_faults(sticking(two, to))
    assert said in str(fault)
    assert list(model_faults(sticking(two, "stops"))) == []
