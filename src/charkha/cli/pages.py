"""Files that a command writes beside what it shows: pages in HTML, drafts in Markdown."""

from collections.abc import Callable
from pathlib import Path

import typer

Render = Callable[[], str]


class NotWritten(Exception):
    """A file that was asked for and could not be written; what was found was shown before."""

    def __init__(self, file: Path, reason: Exception) -> None:
        self.file, self.reason = file, reason
        words = reason.strerror if isinstance(reason, OSError) and reason.strerror else f"{reason}"
        super().__init__(
            f"expected to write {file}, got {type(reason).__name__}: {words}. All else was done, and is shown above; "
            "choose another file, or leave it out"
        )


def require_folder(option: str, file: Path | str | None) -> None:
    """Refuse a file whose folder is not there, before any work is done for it. Raises BadParameter."""
    if file is not None and not Path(file).absolute().parent.is_dir():
        raise typer.BadParameter(f"expected a folder that is there, got {Path(file).parent}.", param_hint=option)


def write_page(file: Path | None, render: Render) -> None:
    """Write what is rendered, if a file was asked for. Raises NotWritten, whatever kept it from being written."""
    if file is None:
        return
    try:
        file.write_text(render(), "utf-8")
    except Exception as error:
        raise NotWritten(file, error) from error
