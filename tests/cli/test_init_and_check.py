"""`charkha init` leaves a few files that run, and `charkha check` finds what is wrong with them."""

from pathlib import Path

import pytest
from command_line import Shell

import charkha
from charkha.spec.project import load_project

ROOT = Path(charkha.__file__).resolve().parents[2]


@pytest.fixture
def shop(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert shell("init", "shop").code == 0
    return tmp_path / "shop"


def test_init_leaves_at_most_five_files_that_say_the_name(shop: Path) -> None:
    files = sorted(str(path.relative_to(shop)) for path in shop.rglob("*") if path.is_file())
    assert files == ["README.md", "charkha.toml", "data/ratings.parquet", "definition.py"]
    assert load_project(shop).name == "shop"
    assert (shop / "README.md").read_text().startswith("# shop\n")


def test_init_never_writes_into_a_folder_that_has_something(shell: Shell, shop: Path) -> None:
    (shop / "definition.py").write_text("mine = 1\n")
    ended = shell("init", "shop")
    assert ended.code == 2
    assert "expected a folder that is new or empty, 'shop' is neither" in ended.err
    assert (shop / "definition.py").read_text() == "mine = 1\n"


def test_the_quickstart_is_what_init_leaves() -> None:
    template, example = ROOT / "src/charkha/cli/template", ROOT / "examples/quickstart"
    names = ["README.md", "charkha.toml", "data/ratings.parquet", "definition.py"]
    assert [name for name in names if (template / name).read_bytes() != (example / name).read_bytes()] == []


def test_check_finds_no_fault_in_it(shell: Shell, shop: Path) -> None:
    ended = shell("--project", "shop", "check")
    assert ended.code == 0
    assert (
        "model likes, binary: 8 windowed, 0 latest and 1 request features from ratings; 1 gates, 0 rules" in ended.out
    )
    assert ended.out.endswith("no faults\n")
    assert shell("--project", "shop", "check", "--json").json == {
        "ok": True,
        "project": "shop",
        "models": ["likes"],
        "faults": [],
        "notices": [],
    }


def test_check_notices_files_that_are_not_there_yet(shell: Shell, shop: Path) -> None:
    (shop / "data" / "ratings.parquet").unlink()
    ended = shell("--project", "shop", "check")
    assert ended.code == 0
    assert "notice source 'ratings': no file matches 'data/ratings.parquet'" in " ".join(ended.out.split())
    assert shell("--project", "shop", "check", "--json").json["notices"]


def test_check_reports_all_faults_and_exits_with_1(shell: Shell, shop: Path) -> None:
    definition = shop / "definition.py"
    faulty = definition.read_text().replace('over="28d")', 'over="28 days")', 1).replace('key="rating_id"', 'key="id"')
    definition.write_text(faulty.replace('"log_loss")]', '"logloss")]'))
    ended = shell("--project", "shop", "check")
    assert ended.code == 1
    assert ended.out.splitlines()[:3] == [
        "1. source 'ratings', key",
        "   expected a field of source 'ratings', got 'id'",
        "   Fields of 'ratings': rating_id, user_id, movie_id, started_at, rated_at, rating.",
    ]
    assert ended.out.endswith("3 faults\n")
    found = shell("--project", "shop", "check", "--json")
    assert (found.code, found.json["ok"]) == (1, False)
    assert [fault["where"] for fault in found.json["faults"]] == [
        "source 'ratings', key",
        "view 'viewer', count(), over",
        "model 'likes', gate BeatsTrivial",
    ]
    assert set(found.json["faults"][0]) == {"where", "expected", "found", "remedy"}


def test_other_commands_tell_the_faults_too(shell: Shell, shop: Path) -> None:
    definition = shop / "definition.py"
    definition.write_text(definition.read_text().replace('owner="suggestions-team"', 'owner=""'))
    ended = shell("--project", "shop", "train")
    assert ended.code == 1
    assert ended.err.startswith("charkha: 1 fault in the definition:\n  1. model 'likes', owner: expected a text")
