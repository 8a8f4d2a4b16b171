"""The credit example: its data, its definition, and the two trainings of its story."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from attrs import evolve

from charkha.clock import SimulatedClock, parse_time
from charkha.engines.local import LocalEngine
from charkha.spec.durations import DAY_US
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home
from charkha.training.pipeline import Candidate, Order, train
from charkha.training.tracking import NoTracker

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "credit"
NAME = "charged_off"


@pytest.fixture(scope="module")
def loans() -> pl.DataFrame:
    return pl.read_parquet(FOLDER / "data" / "loans.parquet")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return evolve(load_project(FOLDER), home=tmp_path_factory.mktemp("credit") / "home")


@pytest.fixture(scope="module")
def home(project: Project) -> Iterator[Home]:
    with open_home(project.home) as home:
        yield home


def trained(project: Project, home: Home, as_of: str, champion: str | None) -> Candidate:
    order = Order(project.models[NAME], project.root, parse_time(as_of), f"{NAME}/{as_of}", champion)
    return train(order, home, SimulatedClock(parse_time(as_of)), LocalEngine(), NoTracker())


def test_the_definition_is_short() -> None:
    assert len((FOLDER / "definition.py").read_text().splitlines()) <= 120


def test_a_label_is_known_when_it_came_true_or_after_five_years(loans: pl.DataFrame) -> None:
    days = (pl.col("settled_at") - pl.col("approved_at")).dt.total_seconds() / 86_400
    late, soon = (loans.filter(pl.col("charged_off") == truth).select(days).to_series() for truth in (False, True))
    assert late.is_between(1824, 1827).all()
    assert soon.is_between(0, 1827).all()
    assert loans["loan_id"].n_unique() == loans.height


def test_a_model_of_1997_is_beaten_once_the_labels_of_2004_are_there(project: Project, home: Home) -> None:
    first = trained(project, home, "2002-05-01", None)
    assert first.passed
    later = trained(project, home, "2009-12-23", first.version)
    assert later.passed
    gain = next(gate.value for gate in later.manifest.gates if gate.name == "beats_champion log_loss")
    assert gain is not None
    assert gain.low > 0.1
    window = (parse_time("2009-12-23") - project.models[NAME].label.delay_us) // DAY_US
    assert window == parse_time("2004-12-22") // DAY_US
