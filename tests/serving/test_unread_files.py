"""A server that has its state, and files that came later and break their contract."""

import json
from pathlib import Path

import polars as pl
import pytest
from server_process import server
from serving_project import DEFINITION, champion, deploy, write_bundle, write_project

import charkha as ck
from charkha.features.batches import Batch, batches_of
from charkha.features.data_decisions import Word
from charkha.features.file_decisions import mark_file
from charkha.features.file_marks import Mark
from charkha.serving.unread_files import unread_files
from charkha.spec.project import load_project
from charkha.storage.home import open_home
from charkha.storage.segment_log import SegmentLog

SCHEMA = {"km": float}


def trips(contract: ck.Contract | None = None) -> ck.Source:
    kept = contract or ck.Contract(fields={"km": ck.Expect(low=0)}, where={"not 13": pl.col("km") != 13})
    return ck.Source("trips", SCHEMA, ck.csv("trips-*.csv"), static=True, contract=kept)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the batches that were read."""
    names: list[str] = []
    reading = Batch.read

    def noted(self: Batch) -> pl.DataFrame:
        names.append(self.name)
        return reading(self)

    monkeypatch.setattr(Batch, "read", noted)
    return names


def look(folder: Path, source: ck.Source) -> list[str]:
    return unread_files({"trips": source}, folder, SegmentLog(folder / "log"), folder / "home" / "judged.json")


def test_a_broken_file_is_told_at_each_start_and_read_once(tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "trips-1.csv").write_text("km\n1\n")
    assert look(tmp_path, trips()) == []
    (tmp_path / "trips-2.csv").write_text("km\n-1\n13\n")
    (said,) = look(tmp_path, trips())
    assert said.startswith("source 'trips': 'trips-2.csv' breaks its contract: expected km at least 0")
    assert "charkha data check trips" in said
    assert look(tmp_path, trips()) == [said]
    assert read == ["trips-1.csv", "trips-2.csv"]
    (tmp_path / "trips-2.csv").write_text("km\n1\n")
    assert look(tmp_path, trips()) == []
    assert read == ["trips-1.csv", "trips-2.csv", "trips-2.csv"]


def test_another_contract_judges_anew(tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "trips-1.csv").write_text("km\n14\n")
    assert look(tmp_path, trips()) == []
    (said,) = look(tmp_path, trips(ck.Contract(where={"not 14": pl.col("km") != 14})))
    assert "not 14" in said
    assert len(read) == 2


@pytest.mark.parametrize("mark", ["aside", "released"])
def test_what_a_person_decided_is_not_told(tmp_path: Path, read: list[str], mark: Mark) -> None:
    (tmp_path / "trips-1.csv").write_text("km\n-1\n")
    with open_home(tmp_path) as home:
        mark_file(home, trips(), tmp_path, "trips-1.csv", mark=mark, word=Word("asha", "known", 1))
    assert look(tmp_path, trips()) == []
    assert read == []
    if mark == "released":
        (tmp_path / "trips-1.csv").write_text("km\n-2\n")
        assert len(look(tmp_path, trips())) == 1


def test_a_memory_that_is_spoilt_is_made_anew(tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "trips-1.csv").write_text("km\n-1\n")
    (said,) = look(tmp_path, trips())
    (tmp_path / "home" / "judged.json").write_text('{"trips": {"trips-1.csv"')
    assert look(tmp_path, trips()) == [said]
    assert look(tmp_path, trips()) == [said]
    assert len(read) == 2


def test_what_cannot_be_read_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (said,) = look(tmp_path, trips())
    assert said.startswith("source 'trips': no file matches 'trips-*.csv'")
    (tmp_path / "trips-1.csv").write_text("km\nfar\n")
    (said,) = look(tmp_path, trips())
    assert "cannot be read as declared" in said


def test_a_file_that_is_gone_by_then_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trips-1.csv").write_text("km\n1\n")
    listing = batches_of

    def gone(source: ck.Source, root: Path) -> list[Batch]:
        found = listing(source, root)
        (root / "trips-1.csv").unlink()
        return found

    monkeypatch.setattr("charkha.serving.unread_files.batches_of", gone)
    (said,) = look(tmp_path, trips())
    assert said.startswith("source 'trips': ")
    assert "No such file" in said


def test_a_server_that_has_its_state_starts_and_warns(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    contract = 'seen_at", contract=ck.Contract(fields={"rain": ck.Expect(low=0)})'
    (tmp_path / "definition.py").write_text(DEFINITION.replace('seen_at"\n)', f"{contract}\n)"))
    with open_home(project.home) as home:
        write_bundle(load_project(tmp_path), home, "v1")
        deploy(home, champion("v1"))
    with server(tmp_path):
        pass
    assert warnings(tmp_path) == []
    with (tmp_path / "weather.csv").open("a") as file:
        file.write("Pune,-5.0,2013-03-31T00:00:00\n")
    with server(tmp_path) as running:
        client = running.client()
        assert client.get("/healthz")[0] == 200
        client.close()
    (message,) = warnings(tmp_path)
    assert message.startswith("not read: source 'weather': 'weather.csv' breaks its contract")


def warnings(folder: Path) -> list[str]:
    lines = map(json.loads, (folder / "server.log").read_text().splitlines())
    return [line["message"] for line in lines if line["level"] == "warning"]
