"""What all commands share: help that teaches, exit codes, errors as one message, and a quick start."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Shell

from charkha.cli import check
from charkha.cli.commands import COMMANDS, GROUPS
from charkha.spec.faults import DefinitionError, Fault


def test_the_commands_are_those_promised(shell: Shell) -> None:
    ended = shell("--help")
    assert ended.code == 0
    listed = re.findall(r"│ ([a-z]+) +[A-Z]", ended.out)
    assert set(listed) >= {
        "init",
        "check",
        "train",
        "serve",
        "replay",
        "status",
        "promote",
        "rollback",
        "history",
        "demo",
    }


EVERY = [*COMMANDS, *(f"{name} {word}" for name, group in GROUPS.items() for word in group[0])]


@pytest.mark.parametrize("name", EVERY)
def test_the_help_of_a_command_teaches_by_example(shell: Shell, name: str) -> None:
    ended = shell(*name.split(), "--help")
    assert ended.code == 0
    assert "Usage: charkha " + name in ended.out
    assert re.search(rf"Examples\s+(charkha|cd|curl).*{'' if name == 'serve' else name}", ended.out)


@pytest.mark.parametrize("name", EVERY)
def test_every_option_says_what_it_does(shell: Shell, name: str) -> None:
    options = [line for line in shell(*name.split(), "--help").out.splitlines() if re.match(r"│ +[*]? *--", line)]
    assert options
    assert all(re.search(r"  [A-Z][^│]{10,}", line) for line in options), options


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = "import sys\nfrom charkha.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {
        "polars",
        "numpy",
        "sqlalchemy",
        "lmdb",
        "mlflow",
        "sklearn",
        "lightgbm",
        "granian",
        "msgspec",
    }
    assert heavy.isdisjoint(run.stderr.split())


def test_the_version_is_that_of_the_package(shell: Shell) -> None:
    ended = shell("--version")
    assert (ended.code, ended.out) == (0, "charkha 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("spin",), "No such command 'spin'"),
        (("check", "--jsn"), "No such option: --jsn"),
        (("promote", "likes"), "Missing argument 'VERSION'"),
        (("promote", "likes", "v1"), "Missing option '--reason'"),
        (("serve", "--port", "http"), "Invalid value for '--port'"),
        (("init", "../shop"), "expected letters, digits, - and _, beginning with a letter"),
    ],
)
def test_a_command_that_is_not_written_rightly_exits_with_2(
    shell: Shell, arguments: tuple[str, ...], expected: str
) -> None:
    ended = shell(*arguments)
    assert ended.code == 2
    assert expected in ended.err
    assert "Traceback" not in ended.err


def test_without_a_project_it_says_how_to_make_one(shell: Shell, tmp_path: Path) -> None:
    ended = shell("--project", str(tmp_path), "status")
    assert ended.code == 2
    assert ended.err.startswith(
        f"charkha: expected charkha.toml, or [tool.charkha] in pyproject.toml, in {tmp_path} or"
    )
    assert "charkha init NAME" in ended.err


def raising(error: BaseException) -> object:
    def raise_it(*_: object) -> object:
        raise error

    return raise_it


def test_charkhas_own_errors_are_shown_as_they_are(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault("model 'a', owner", "a text", "''", "Say who.")
    monkeypatch.setattr("charkha.spec.project.load_project", raising(DefinitionError([fault])))
    ended = shell("status")
    assert (ended.code, ended.out) == (1, "")
    assert (
        ended.err == "charkha: 1 fault in the definition:\n  1. model 'a', owner: expected a text, got ''. Say who.\n"
    )


def test_an_error_nobody_foresaw_is_one_message_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charkha.spec.project.load_project", raising(RuntimeError("the sky fell")))
    ended = shell("status")
    assert ended.code == 1
    assert ended.err == (
        "charkha: RuntimeError: the sky fell\n"
        "This was not foreseen. Run it again with --debug to see where it happened.\n"
    )


@pytest.mark.parametrize("arguments", [("--debug", "status"), ("status", "--debug")])
def test_debug_shows_where_an_error_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    from charkha.cli import main

    monkeypatch.setattr("charkha.spec.project.load_project", raising(RuntimeError("the sky fell")))
    with pytest.raises(RuntimeError, match="the sky fell"):
        main(arguments)


def test_ctrl_c_ends_with_130_and_no_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "session_of", raising(KeyboardInterrupt()))
    ended = shell("check")
    assert ended.code == 130
    assert "Traceback" not in ended.err


def test_no_color_is_honoured(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert shell("init", "shop").code == 0
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    assert not coloured.search(shell("--project", "shop", "check").out)
    monkeypatch.delenv("NO_COLOR")
    assert coloured.search(shell("--project", "shop", "check").out)


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "says"),
    [
        (["--project", "nowhere", "status"], 2, "ProjectNotFound", "nowhere"),
        (["status", "--unknown"], 2, "NoSuchOption", "--unknown"),
        (["score", "--input", "rows.csv", "--output", "o", "--bad-rows", "skip"], 2, "BadParameter", "got 'skip'"),
    ],
)
def test_with_json_a_failure_is_one_object_on_standard_error(
    shell: Shell, arguments: list[str], code: int, kind: str, says: str
) -> None:
    plain, ended = shell(*arguments), shell(*arguments, "--json")
    assert (ended.code, plain.code, ended.out) == (code, code, "")
    told = json.loads(ended.err)["error"]
    assert (told["kind"], says in told["message"]) == (kind, True)
    assert not told["message"].startswith("charkha:")
    assert ended.err.count("\n") == 1


def test_faults_with_json_keep_their_exit_code(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shell("init", "shop").code == 0
    assert shell("--project", str(tmp_path / "shop"), "check", "--json").json["ok"] is True
    (tmp_path / "shop" / "definition.py").write_text("import charkha as ck\nck.nothing\n")
    assert shell("--project", str(tmp_path / "shop"), "check", "--json").code == 1
