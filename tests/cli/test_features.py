"""`charkha features` on a project that serves: the proof of no skew, and what features there are."""

import re
from pathlib import Path

import polars as pl
import pytest
from command_line import Shell

from charkha.cli import main
from charkha.clock import SimulatedClock, parse_time
from charkha.serving.service import Service
from charkha.spec.project import load_project
from charkha.storage.home import open_project

NOW_US = parse_time("2013-09-02T12:00:00Z")  # after all ratings


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `charkha init` leaves it, with a champion that has answered and been told of ratings."""
    folder = tmp_path_factory.mktemp("shops")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("CHARKHA_HOME", raising=False)
        for arguments in (["init", "shop"], ["--project", "shop", "train", "--as-of", "2013-08-25"]):
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            assert ended.value.code in (0, None)
        serve(folder / "shop")
    return folder / "shop"


def serve(root: Path) -> None:
    """Ask for predictions at noon of four days."""
    project = load_project(root)
    (model,) = project.models.values()
    asked = asked_about(root / "data" / "ratings.parquet").select(model.request)
    with open_project(project) as home:
        clock = SimulatedClock(NOW_US)
        service = Service(project, home, clock, "w0")
        service.refresh()
        for day in range(4):
            clock.advance_to(NOW_US + day * 86_400_000_000)
            service.predict(model.name, asked)
        service.close()


def asked_about(file: Path) -> pl.DataFrame:
    """Return three viewers, each with one of the three films that were rated most in the last days."""
    ratings = pl.read_parquet(file).sort("rated_at").tail(3000)
    films = ratings["movie_id"].value_counts(sort=True).sort("count", "movie_id", descending=True)["movie_id"][:3]
    return pl.DataFrame({"user_id": ratings["user_id"].unique(maintain_order=True)[:3], "movie_id": films})


@pytest.fixture
def here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shop)
    return shop


@pytest.mark.usefixtures("here")
def test_what_was_served_agrees(shell: Shell) -> None:
    ended = shell("features", "verify")
    assert ended.code == 0, ended.out
    assert ended.out.startswith("likes: 12 predictions of 2013-09-02T12:00:00Z to 2013-09-05T12:00:00Z, ")
    assert ended.out.endswith("all agree\n")
    part = shell("features", "verify", "likes", "--since", "2013-09-03", "--until", "2013-09-05", "--json")
    assert (part.code, part.json["agrees"], part.json["predictions"]) == (0, True, 6)
    assert shell("features", "verify", "--sample", "5", "--json").json["predictions"] == 5
    assert shell("features", "verify", "--until", "2013-01-01").out == "likes: no predictions to verify\n"


def test_what_differs_is_told_with_its_cause(shell: Shell, here: Path) -> None:
    """A rating is taken out of the file after the state was built from it."""
    file = here / "data" / "ratings.parquet"
    kept = file.read_bytes()
    try:
        without_newest(file)
        ended = shell("features", "verify")
        assert ended.code == 1, ended.out
        assert re.search(r"film.count_28d  4 of 12 differ, at most by 1\n", ended.out)
        assert re.search(
            r"   served \d+\.0, recomputed \d+\.0\n   prediction [0-9a-f-]{36}, v1 as champion\n", ended.out
        )
        assert "   vanished event, source ratings: row '" in ended.out
        found = shell("features", "verify", "--json")
        assert (found.code, found.json["agrees"]) == (1, False)
        assert found.json["features"][0]["first"]["cause"]["culprit"] == "source ratings"
    finally:
        file.write_bytes(kept)


def without_newest(file: Path) -> None:
    """Take the newest rating of the film out of the file that is asked about first."""
    ratings = pl.read_parquet(file)
    newest = ratings.filter(pl.col("movie_id") == asked_about(file)["movie_id"][0]).sort("rated_at")["rating_id"][-1]
    ratings.filter(pl.col("rating_id") != newest).write_parquet(file)


@pytest.mark.usefixtures("here")
def test_what_is_not_written_rightly_exits_with_2(shell: Shell) -> None:
    for arguments, said in (
        (("liks",), "expected one of the project's models (likes), got 'liks'"),
        (("--since", "yesterday"), "expected a date or time such as 2013-04-01"),
        (("--since", "2013-08-27", "--until", "2013-08-26"), "expected a time after --since 2013-08-27"),
        (("--sample", "0"), "Invalid value for '--sample'"),
    ):
        ended = shell("features", "verify", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err
