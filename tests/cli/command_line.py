"""Running the command line inside a test, as a shell would see it."""

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from charkha.cli import main


@frozen
class Ended:
    """How a command ended: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The standard output, read as JSON."""
        return json.loads(self.out)


class Shell:
    """Runs commands and keeps what they write."""

    def __init__(self, capture: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch) -> None:
        self._capture, self._environment = capture, environment

    def __call__(self, *arguments: str) -> Ended:
        self._capture.readouterr()
        # `--home` sets it for the processes that a command starts; each command is one process, but here.
        self._environment.setenv("CHARKHA_HOME", "")
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = self._capture.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, written.out, written.err)


def trained_shop(folder: Path) -> Path:
    """Make a project as `charkha init` leaves it, with one version trained as of 25 August 2013; return where it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("CHARKHA_HOME", raising=False)
        for arguments in (["init", "shop"], ["--project", "shop", "train", "--as-of", "2013-08-25"]):
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            assert ended.value.code in (0, None)
    return folder / "shop"
