"""`charkha data`: a contract suggested, checked, broken, and decided of; on the ratings of the quickstart."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from command_line import Shell

from charkha.clock import SystemClock
from charkha.features.quarantine import BatchBreaksContract, Gate
from charkha.features.rows import pushed_rows
from charkha.spec.project import load_project
from charkha.storage.home import open_project

CONTRACT = 'contract=ck.Contract(fields={"rating": ck.Expect(low=1, high=10, nulls=0)}, unique=True),'


@pytest.fixture
def shop(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_keyboard: Callable[[str], None]) -> Path:
    """A project whose ratings have a contract, and lie in a file of 20 good rows and one of 3 with a bad one."""
    monkeypatch.chdir(tmp_path)
    assert shell("init", "shop").code == 0
    folder = tmp_path / "shop"
    monkeypatch.chdir(folder)
    definition = Path("definition.py").read_text()
    bound = definition.replace('    key="rating_id",\n', f'    key="rating_id",\n    {CONTRACT}\n')
    Path("definition.py").write_text(bound.replace("ratings.parquet", "ratings-*.parquet"))
    rows = pl.read_parquet("data/ratings.parquet").head(23)
    rows.head(20).write_parquet("data/ratings-1.parquet")
    bad = pl.when(pl.int_range(pl.len()) == 1).then(11.0).otherwise(pl.col("rating"))
    rows.tail(3).with_columns(rating=bad).write_parquet("data/ratings-2.parquet")
    at_keyboard("asha")
    return folder


def hold(rows: int = 2) -> str:
    """Push rows of which the last breaks the contract; return the id under which they are kept."""
    project = load_project(Path())
    ratings = project.sources["ratings"]
    frame = pl.read_parquet("data/ratings.parquet").tail(rows).select(list(ratings.fields))
    bad = frame.with_columns(rating=pl.Series([5.0] * (rows - 1) + [0.0]))
    with open_project(project) as home, pytest.raises(BatchBreaksContract) as error:
        Gate(project.sources, home, SystemClock()).check("ratings", bad.rows())
    return str(error.value.batch)


@pytest.mark.usefixtures("shop")
def test_check_shows_what_is_broken_and_exits_with_1(shell: Shell) -> None:
    ended = shell("data", "check")
    assert ended.code == 1
    assert [line.split() for line in ended.out.splitlines()] == [
        ["batch", "rule", "rows", "share", "example"],
        ["ratings@data/ratings-2.parquet", "rating", "from", "1", "to", "10", "1", "33.33%", "11.0", "in", "row", "1"],
        ["broken:", "ratings@data/ratings-2.parquet"],
    ]
    shown = shell("data", "check", "ratings", "--json")
    assert (shown.code, shown.json["ok"]) == (1, False)
    first, second, whole = shown.json["batches"]
    assert [each["ok"] for each in (first, second, whole)] == [True, False, True]
    (violation,) = second["violations"]
    assert (violation["rule"], violation["rows"], violation["share"]) == ("rating from 1 to 10", 1, 1 / 3)
    assert violation["examples"][0]["rating"] == 11.0


@pytest.mark.usefixtures("shop")
def test_what_is_wrong_with_the_command_is_said(shell: Shell) -> None:
    for arguments, said in (
        (("data", "check", "rating"), "expected one of the project's sources (ratings), got 'rating'."),
        (("data", "check", "--as-of", "soon"), "expected a date or time such as 2013-04-01"),
        (("data", "quarantine", "ratings@data/ratings-2.parquet"), "setting a file aside needs a reason"),
        (("data", "quarantine", "ratings@data/ratings-2.parquet", "-m", " "), "expected a reason in words, got none"),
        (("data", "release", "ratings@data/ratings-2.parquet", "-m", ""), "expected a reason in words, got none"),
        (("data", "discard", "ratings-5", "-m", ""), "expected a reason in words, got none"),
        (("promote", "likes", "v1", "-m", ""), "expected a reason in words, got none"),
        (("rollback", "-m", ""), "expected a reason in words, got none"),
        (("kill", "-m", ""), "expected a reason in words, got none"),
        (("revive", "-m", "\t"), "expected a reason in words, got none"),
        (("keys", "revoke", "5f0c3a91d2e4", "-m", ""), "expected a reason in words, got none"),
        (("data", "quarantine", "ratings@x.parquet", "-m", "x"), "got 'x.parquet'"),
        (("data", "release", "ratings-5"), "Missing option '--reason'"),
        (("data", "release", "ratings-5", "-m", "x"), "expected a batch in quarantine (none), got 'ratings-5'"),
        (("data", "release", "../x", "-m", "x"), "batch in quarantine: expected letters, digits"),
        (("data", "discard", "ratings-5", "-m", "x"), "expected a batch in quarantine (none)"),
        (("data", "mend"), "No such command 'mend'"),
    ):
        ended = shell(*arguments)
        assert (ended.code, said in ended.err) == (2, True), ended.err


@pytest.mark.usefixtures("shop")
def test_a_file_is_set_aside_and_released(shell: Shell) -> None:
    early = shell("train")
    assert early.code == 1
    assert "'data/ratings-2.parquet' breaks its contract: expected rating from 1 to 10" in early.err
    name = "ratings@data/ratings-2.parquet"
    assert shell("data", "quarantine").out == "nothing is in quarantine\n"
    aside = shell("data", "quarantine", name, "--reason", "the import went wrong")
    assert (aside.code, aside.out) == (0, f"{name} is not read any more (decision 1)\n")
    listed = shell("data", "quarantine")
    assert listed.code == 0
    assert all(word in listed.out for word in (name, "aside", "the import went wrong"))
    checked = shell("data", "check")
    assert checked.code == 0
    assert f"{name} (aside)" in checked.out
    assert checked.out.endswith("kept: ratings, 2 files\n")
    again = shell("data", "quarantine", name, "-m", "again")
    assert (again.code, "was set aside by asha already: the import went wrong" in again.err) == (1, True)
    released = shell("data", "release", name, "--reason", "an eleven is an eleven", "--json")
    decision = released.json
    assert [decision[part] for part in ("action", "actor", "model")] == ["release", "asha", "source ratings"]
    assert shell("data", "check").code == 0
    assert shell("data", "quarantine").out == "nothing is in quarantine\n"
    (entry,) = shell("data", "quarantine", "--all", "--json").json["files"]
    assert (entry["file"], entry["state"], entry["mark"]["reason"]) == (name, "released", "an eleven is an eleven")
    history = shell("history").out
    assert "source ratings" in history
    assert shell("history", "--verify").code == 0


@pytest.mark.usefixtures("shop")
def test_a_push_is_looked_into_and_released_or_discarded(shell: Shell) -> None:
    name = hold()
    listed = shell("data", "quarantine")
    assert all(word in listed.out for word in (name, "held", "rating from 1 to 10"))
    looked = shell("data", "quarantine", name)
    assert looked.out.startswith(f"{name}  held, 2 rows of ratings\n")
    assert "expected rating from 1 to 10, got 1 of 2 rows that are not so, such as 0.0 in row 1" in looked.out
    assert "rating_id" in looked.out
    assert shell("data", "quarantine", name, "--json").json["report"]["id"] == name
    released = shell("data", "release", name, "--reason", "he liked it that little")
    assert (released.code, released.out) == (
        0,
        f"{name} is released: 2 accepted, 0 corrections, 0 duplicates (decision 2)\n",
    )
    again = shell("data", "release", name, "-m", "again")
    assert (again.code, "was released by asha already: he liked it that little" in again.err) == (1, True)
    other = hold(1)
    discarded = shell("data", "discard", other, "--reason", "a test")
    assert (discarded.code, discarded.out) == (0, f"{other} is discarded (decision 4)\n")
    project = load_project(Path())
    with open_project(project) as home:
        assert pushed_rows(project.sources["ratings"], home.log).height == 2
        assert [decision.action for decision in home.ledger.decisions()] == [
            "quarantine", "release", "quarantine", "discard",
        ]  # fmt: skip
    states = [each["state"] for each in shell("data", "quarantine", "--all", "--json").json["batches"]]
    assert states == ["released", "discarded"]


@pytest.mark.usefixtures("shop")
def test_a_suggestion_can_be_pasted(shell: Shell) -> None:
    ended = shell("data", "suggest", "--sample", "15")
    assert ended.code == 0
    assert "made of 15 of 23 rows" in ended.err
    definition = Path("definition.py").read_text()
    Path("definition.py").write_text(definition.replace(CONTRACT, ended.out))
    assert shell("check").code == 0
    whole = shell("data", "suggest", "ratings")
    Path("definition.py").write_text(definition.replace(CONTRACT, whole.out))
    assert shell("data", "check").code == 0
    Path("definition.py").write_text(definition.replace(CONTRACT, ""))
    free = shell("data", "check")
    assert (free.code, free.out) == (0, "no contract: ratings; make one: charkha data suggest ratings\n")


@pytest.mark.usefixtures("shop")
def test_a_source_without_rows_suggests_nothing(shell: Shell) -> None:
    for number in (1, 2):
        name = f"ratings@data/ratings-{number}.parquet"
        assert shell("data", "quarantine", name, "-m", "all of it").code == 0
    ended = shell("data", "suggest")
    assert (ended.code, "'ratings' has no rows to make a contract of" in ended.err) == (2, True)


@pytest.mark.usefixtures("shop")
def test_a_replay_heeds_what_was_decided_of_files(shell: Shell) -> None:
    assert "breaks its contract" in shell("replay").err
    assert shell("data", "quarantine", "ratings@data/ratings-2.parquet", "-m", "bad").code == 0
    for home in ((), ("--home", "elsewhere")):
        ended = shell(*home, "replay")
        assert ended.code == 1
        assert "breaks its contract" not in ended.err


def cut(name: str) -> None:
    """Leave only the beginning of a file, as a copy that was interrupted does."""
    path = Path(name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.usefixtures("shop")
def test_a_file_that_cannot_be_read_is_one_finding_among_others(shell: Shell) -> None:
    cut("data/ratings-1.parquet")
    ended = shell("data", "check")
    assert ended.code == 1
    assert "data/ratings-1.parquet' cannot be read as declared: " in ended.out
    assert "leave it out: charkha data quarantine ratings@data/ratings-1.parquet --reason …" in ended.out
    assert "ratings@data/ratings-2.parquet  rating from 1 to 10  1     33.33%" in ended.out
    assert "broken: ratings@data/ratings-1.parquet, ratings@data/ratings-2.parquet" in ended.out
    first, second, whole = shell("data", "check", "--json").json["batches"]
    assert (first["ok"], first["rows"], first["violations"]) == (False, 0, [])
    assert "cannot be read" in first["problem"]
    assert (second["ok"], second["problem"], whole["rows"]) == (False, "", 3)


@pytest.mark.usefixtures("shop")
def test_a_file_that_cannot_be_read_and_was_set_aside_is_as_if_it_were_not_there(shell: Shell) -> None:
    cut("data/ratings-2.parquet")
    assert shell("data", "quarantine", "ratings@data/ratings-2.parquet", "-m", "half a file").code == 0
    ended = shell("data", "check")
    assert (ended.code, "ratings@data/ratings-2.parquet (aside): source " in ended.out) == (0, True)
    assert "kept: ratings, 2 files" in ended.out
    assert "made of 20 of 20 rows" in shell("data", "suggest").err
    assert shell("data", "release", "ratings@data/ratings-2.parquet", "-m", "all the same").code == 0
    assert shell("data", "check").code == 1


@pytest.mark.usefixtures("shop")
def test_a_file_is_not_discarded(shell: Shell) -> None:
    ended = shell("data", "discard", "ratings@data/ratings-2.parquet", "-m", "x")
    assert ended.code == 2
    said = " ".join(ended.err.replace("│", " ").split())
    assert "got the file 'ratings@data/ratings-2.parquet': files are not discarded here. Set it aside: charkha" in said
