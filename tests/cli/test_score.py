"""`charkha score` on a project with a champion."""

from pathlib import Path

import polars as pl
import pytest
from command_line import Shell, trained_shop

PAIRS = pl.DataFrame({"user_id": [9290, 1, 2] * 5, "movie_id": [1535108, 1535108, None] * 5, "mail": range(15)})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as `charkha init` leaves it, with a champion."""
    shop = trained_shop(tmp_path_factory.mktemp("scores"))
    PAIRS.write_parquet(shop / "pairs.parquet")
    return shop


@pytest.fixture
def here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shop)
    return shop


@pytest.mark.usefixtures("here")
def test_rows_are_scored_as_of_a_time_and_as_of_now(shell: Shell) -> None:
    ended = shell(
        "score", "--input", "pairs.parquet", "--as-of", "2013-08-25", "--output", "then", "--rows-at-once", "8"
    )
    assert (ended.code, ended.out) == (0, "15 rows scored by likes v1 as of 2013-08-25, in 2 parts: then\n")
    then = pl.read_parquet("then/part-*.parquet")
    assert then.columns[:3] == PAIRS.columns
    assert then["mail"].to_list() == list(range(15))
    assert then["score"].is_between(0, 1).all()
    assert {f"{at:%F}" for at in then["time"]} == {"2013-08-25"}
    now = shell("score", "likes", "-i", "pairs.parquet", "-o", "now", "--version", "v1", "--bad-rows", "null", "--json")
    assert (now.code, now.json["rows"], now.json["bad_rows"], now.json["version"]) == (0, 15, 0, "v1")
    found = pl.read_parquet(now.json["parts"])
    assert found.columns == [*then.columns, "problem"]
    assert shell("score", "-i", "pairs.parquet", "-o", "then", "--as-of", "2013-08-24").code == 1


@pytest.mark.usefixtures("here")
def test_scores_come_with_their_reasons(shell: Shell) -> None:
    ended = shell("score", "-i", "pairs.parquet", "-o", "why", "--as-of", "2013-08-25", "--explain", "2")
    assert (ended.code, ended.err) == (0, "")
    reasons = pl.read_parquet("why/part-*.parquet")["reasons"]
    assert {len(each) for each in reasons} <= {1, 2}
    assert all(each["contribution"] != 0 for row in reasons.to_list() for each in row)
    assert shell("score", "-i", "pairs.parquet", "-o", "why", "--as-of", "2013-08-25").code == 1


@pytest.mark.usefixtures("here")
def test_a_column_of_times_is_taken_by_its_name(shell: Shell) -> None:
    at = pl.datetime_range(pl.datetime(2013, 8, 1), pl.datetime(2013, 8, 15), "1d", time_zone="UTC", eager=True)
    PAIRS.with_columns(started_at=at, other=at).write_parquet("timed.parquet")
    assert shell("score", "-i", "timed.parquet", "-o", "timed").code == 0
    assert shell("score", "-i", "timed.parquet", "-o", "other", "--at", "other").code == 0
    timed, other = pl.read_parquet("timed/*.parquet"), pl.read_parquet("other/*.parquet")
    assert timed["time"].to_list() == at.to_list()
    assert timed.equals(other)


@pytest.mark.usefixtures("here")
def test_one_time_is_not_said_for_rows_that_have_their_own(shell: Shell) -> None:
    PAIRS.with_columns(started_at=pl.datetime(2013, 8, 1, time_zone="UTC")).write_parquet("own.parquet")
    ended = shell("score", "-i", "own.parquet", "-o", "own", "--as-of", "2013-08-25")
    assert ended.code == 2
    assert "without a time of their own, got the column 'started_at'" in " ".join(ended.err.replace("│", " ").split())
    assert not Path("own").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-i", "pairs.parquet", "--version", "v9"], 2, "expected a version of 'likes' (v1), got 'v9'"),
        (["-i", "pairs.parquet", "--at", "when"], 2, "expected a column of the input (user_id, movie_id, mail), got"),
        (["-i", "pairs.parquet", "--as-of", "2999-01-01"], 2, "expected a time that has come"),
        (["-i", "pairs.parquet", "--as-of", "2013-08-01", "--at", "mail"], 2, "got both"),
        (["-i", "pairs.parquet", "--explain", "51"], 2, "should be less than or equal to 50"),
        (["-i", "pairs.parquet", "--bad-rows", "skip"], 2, "expected refuse or null, got 'skip'"),
        (["-i", "nothing.parquet"], 1, "no file matches 'nothing.parquet'"),
        (["-i", "charkha.toml"], 1, "expected files of one format"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_meant_is_said(shell: Shell, arguments: list[str], code: int, says: str) -> None:
    ended = shell("score", *arguments, "-o", "odd")
    assert ended.code == code
    assert says in " ".join(ended.err.replace("│", " ").split())


def test_a_killed_champion_does_not_answer_in_bulk_either(shell: Shell, here: Path) -> None:
    assert shell("kill", "--reason", "it recommends withdrawn films").code == 0
    ended = shell("score", "-i", "pairs.parquet", "-o", "killed")
    assert (ended.code, "is killed: it recommends withdrawn films" in ended.err) == (1, True)
    assert "--version v1, or let the model answer again: charkha revive likes" in ended.err
    assert shell("score", "-i", "pairs.parquet", "-o", "killed", "--version", "v1").code == 0
    assert shell("revive", "--reason", "they are gone").code == 0
    assert (here / "killed").is_dir()
