"""A home opens everything in one folder and closes it again."""

import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from charkha.spec.project import load_project
from charkha.storage import lmdb_environment
from charkha.storage.home import UnusableHome, open_home, open_project
from charkha.storage.ledger import UnusableLedger

DEFINITION = """
from datetime import datetime

import polars as pl

import charkha as ck

trips = ck.Source("trips", {"at": datetime, "city": str, "paid": float}, ck.csv("trips.csv"), time="at")
model = ck.Model(
    "big",
    label=ck.Label(trips, pl.col("paid") > 10, at="at", delay="1d"),
    request=["city"],
    features=[ck.RequestFeatures("asked", city=pl.col("city"))],
    estimator=ck.LightGBM(),
    purpose="test",
    owner="us",
)
"""


def test_a_home_keeps_everything_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a home?#%ä"
    with open_home(folder) as home:
        home.log.writer("events", "web-0").append([b"a"])
        home.tables.write("t", "one", pl.DataFrame({"a": [1]}))
        home.ledger.set_checkpoint("c", {"n": 1})
        with home.online.write() as writer:
            writer.put(b"k", b"v")
    with open_home(folder) as home:
        assert [record.payload for record in home.log.read("events")] == [b"a"]
        assert home.tables.parts("t") == ["one"]
        assert home.ledger.checkpoint("c") == {"n": 1}
        assert list(home.online.scan(b"")) == [(b"k", b"v")]
        assert home.bundles == folder / "bundles"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_two_homes_of_one_folder_are_one(tmp_path: Path) -> None:
    with open_home(tmp_path) as one, open_home(tmp_path, fsync="always") as other:
        with one.online.write() as writer:
            writer.put(b"k", b"v")
        one.log.writer("events", "web-0").append([b"a"])
        other.log.writer("events", "web-0").append([b"b"])
        assert list(other.online.scan(b"")) == [(b"k", b"v")]
        assert [record.payload for record in one.log.read("events")] == [b"a", b"b"]


def test_a_relative_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_home(Path("home")) as home:
        monkeypatch.chdir("/")
        home.log.writer("events", "web-0").append([b"a"])
    assert (tmp_path / "home" / "log").exists()


def test_the_ledger_can_be_elsewhere(tmp_path: Path) -> None:
    with open_home(tmp_path / "home", ledger_url=f"sqlite:///{tmp_path}/elsewhere.db") as home:
        home.ledger.set_checkpoint("c", {})
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "home" / "ledger.db").exists()


def test_a_home_whose_ledger_cannot_be_opened_holds_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(UnusableLedger):
        open_home(tmp_path, ledger_url="nonsense")
    with open_home(tmp_path) as home:
        home.ledger.set_checkpoint("c", {})


def counted(name: str, called: list[str]) -> Callable[[int], None]:
    """Return a function of `os` that writes down that it was called."""
    real = getattr(os, name)

    def count(descriptor: int) -> None:
        called.append(name)
        real(descriptor)

    return count


@pytest.mark.parametrize(
    ("settings", "syncs", "gigabytes"), [('fsync = "always"\nonline_gb = 1\n', True, 1), ("", False, 16)]
)
def test_the_settings_of_a_project_reach_the_log_the_tables_and_the_online_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, syncs: bool, gigabytes: int
) -> None:
    (tmp_path / "charkha.toml").write_text(f"[project]\n{settings}")
    (tmp_path / "definition.py").write_text(DEFINITION)
    called: list[str] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, counted(name, called))
    with open_project(load_project(tmp_path)) as home:
        home.log.writer("events", "web-0").append([b"a"])
        assert ("fdatasync" in called) is syncs
        called.clear()
        home.tables.write("t", "one", pl.DataFrame({"a": [1]}))
        assert ("fsync" in called) is syncs
        assert list(home.online.scan(b"")) == []
        handle = lmdb_environment._registry[(home.folder / "online").resolve()]._handle
        assert handle is not None
        assert handle.info()["map_size"] == gigabytes << 30


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UnusableHome, match="expected a folder for the home"):
        open_home(tmp_path / "home")
