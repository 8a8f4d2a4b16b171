"""Files that commands write: a folder that is not there is told before the work, a file that fails after it."""

from pathlib import Path

import pytest
import typer
from command_line import Shell

from charkha.cli.pages import NotWritten, require_folder, write_page


@pytest.mark.parametrize(
    "command",
    [
        ("report", "drift", "--html", "nowhere/x.html"),
        ("drill", "--html", "nowhere/x.html"),
        ("backtest", "--html", "nowhere/x.html"),
        ("diagnose", "--report", "nowhere/x.html"),
        ("diagnose", "--postmortem", "nowhere/x.html"),
        ("history", "--export", "nowhere/x.html"),
        ("export", "airflow", "--output", "nowhere/x.html"),
        ("replay", "--json", "nowhere/x.html"),
    ],
)
def test_a_folder_that_is_not_there_is_refused_before_any_work(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: Shell
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell("init", "shop").code == 0
    monkeypatch.chdir("shop")
    found = shell(*command)
    assert (found.code, found.out) == (2, "")
    assert "expected a folder that is there, got nowhere." in found.err
    assert f"{command[-2]}" in found.err


def test_a_file_that_cannot_be_written_says_which_and_why(tmp_path: Path) -> None:
    with pytest.raises(NotWritten, match=r"expected to write .*, got IsADirectoryError: Is a directory\. All else"):
        write_page(tmp_path, lambda: "page")
    write_page(None, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    write_page(tmp_path / "x.html", lambda: "page")
    assert (tmp_path / "x.html").read_text("utf-8") == "page"


def test_a_file_in_a_folder_that_is_there_is_let_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (None, Path("x.html"), tmp_path / "x.html", "-", "x.json"):
        require_folder("--html", file)
    with pytest.raises(typer.BadParameter):
        require_folder("--html", Path("no/x.html"))
