"""`charkha backtest`, on the ratings of the quickstart."""

import shutil
from pathlib import Path

import pytest
from command_line import Shell

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
BRIEF = ("--since", "2013-08-20", "--until", "2013-08-30")


@pytest.fixture
def shell(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    shutil.copytree(QUICKSTART, tmp_path / "quickstart")
    monkeypatch.chdir(tmp_path / "quickstart")
    return shell


def test_policies_are_shown_side_by_side(shell: Shell) -> None:
    ended = shell("backtest", "likes", "--policy", "never,every:5d", "--html", "page.html", *BRIEF)
    assert ended.code == 0, ended.err
    for words in ("never", "every:5d", "2013-08", "short of best", "best: ", "page: page.html"):
        assert words in ended.out
    assert "every:5d" in Path("page.html").read_text("utf-8")


def test_json_has_all_of_it(shell: Shell) -> None:
    found = shell("backtest", "--policy", "every:5d", "--window", "all,decay:4d", "--json", "--price", "3600", *BRIEF)
    tried = found.json["tried"]
    assert [each["window"] for each in tried] == ["all", "decay:4d"]
    assert [len(each["retrainings"]) for each in tried] == [1, 1]
    assert tried[0]["overall"] != tried[1]["overall"]
    assert tried[0]["money"] == pytest.approx(tried[0]["train_cpu_seconds"])
    assert found.json["since"].startswith("2013-08-20")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--policy", "weakly"), "Did you mean weekly"),
        (("--window", "soon"), "expected a duration"),
        (("--look-every", "1h"), "goes by days"),
        (("--incident", "concept_sudden"), "kinds of incident in data"),
        (("--since", "2019-01-01"), "expected"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(shell: Shell, given: tuple[str, ...], words: str) -> None:
    refused = shell("backtest", "--policy", "never", *BRIEF, *given)
    assert refused.code == 2
    assert words in " ".join(refused.err.split())
