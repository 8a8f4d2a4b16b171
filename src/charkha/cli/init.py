"""`charkha init`: a project of five files at most, with data, that runs as it is."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from charkha.cli.session import session_of

EXAMPLES = {"init": ("charkha init suggestions", "cd suggestions && charkha check && charkha train")}
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
TEMPLATE_NAME = "quickstart"


def init(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The project's name, and that of its new folder.")],
) -> None:
    """Start a project: one folder with a small model on real data, to run first and to change then.

    The example predicts whether a viewer will give a film 8 points or more, from what both had got lately.
    """
    if not NAME.fullmatch(name):
        raise typer.BadParameter("expected letters, digits, - and _, beginning with a letter.", param_hint="NAME")
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise typer.BadParameter(f"expected a folder that is new or empty, {name!r} is neither.", param_hint="NAME")
    written = copy_template(files("charkha.cli") / "template", folder, name)
    out = session_of(context).out
    for path in written:
        out.print(f"  {path}", highlight=False)
    out.print(f"\nNext:\n  cd {name}\n  charkha check\n  charkha train\n  charkha serve", highlight=False)


def copy_template(template: Traversable, folder: Path, name: str) -> list[Path]:
    """Copy the template's files into a folder and return their paths; the project is called `name`."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for item in sorted(template.iterdir(), key=lambda item: item.name):
        target = folder / item.name
        if item.is_dir() and not item.name.startswith(("_", ".")):
            written += copy_template(item, target, name)
        elif item.is_file():
            target.write_bytes(renamed(item, name))
            written.append(target)
    return written


def renamed(item: Traversable, name: str) -> bytes:
    """Return a template file's content; the settings and the read-me speak of `name`."""
    content = item.read_bytes()
    return (
        content.replace(TEMPLATE_NAME.encode(), name.encode())
        if item.name in ("charkha.toml", "README.md")
        else content
    )
