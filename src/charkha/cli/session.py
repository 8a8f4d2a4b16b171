"""What a command works with: the project it was asked for, and the two streams it speaks to."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pwd import getpwuid
from typing import TYPE_CHECKING

import typer
from rich.console import Console

if TYPE_CHECKING:
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.home import Home


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One run of the command line.

    folder: where to look for the project. home: in place of the project's own, or None.
    out: for results. err: for progress and remarks, so that results can be piped.
    """

    folder: Path
    home: Path | None
    out: Console
    err: Console

    def project(self) -> "Project":
        """Return the project, loaded and checked. Raises ProjectNotFound and DefinitionError."""
        from charkha.spec.project import HOME_VARIABLE, load_project

        if self.home is not None:
            # Through the environment, so that the processes a command starts have the same home.
            os.environ[HOME_VARIABLE] = str(self.home.absolute())
        return load_project(self.folder)

    def print_json(self, value: object) -> None:
        """Print a value as indented JSON, never wrapped or coloured."""
        sys.stdout.write(as_json(value))
        sys.stdout.flush()


def session_of(context: typer.Context) -> Session:
    """Return the session that the shared options describe."""
    session = context.find_object(Session)
    if session is None:
        raise RuntimeError("a command was called without the options that all commands share")
    return session


def as_json(value: object) -> str:
    """Return a value of dicts, lists, Structs and attrs classes as indented JSON with a newline at its end."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


@contextmanager
def opened(project: "Project") -> "Iterator[Home]":
    """Open a project's home for the time of a command."""
    from charkha.storage.home import open_project

    with open_project(project) as home:
        yield home


@contextmanager
def opened_to_read(project: "Project") -> "Iterator[Home]":
    """Open a project's home for a command that only looks.

    A project's own home may not be there yet, and is made. Raises BadParameter when one that was named is not there.
    """
    from charkha.spec.project import HOME_VARIABLE

    if os.environ.get(HOME_VARIABLE) and not project.home.is_dir():
        raise typer.BadParameter(
            f"expected a home that is there, got {project.home}: no such folder. A command that writes makes it.",
            param_hint="--home",
        )
    with opened(project) as home:
        yield home


def choose_model(project: "Project", name: str | None) -> "Model":
    """Return the model of a name, or the only one there is. Raises BadParameter."""
    models: Mapping[str, Model] = project.models
    if name is None and len(models) == 1:
        return next(iter(models.values()))
    if name is not None and name in models:
        return models[name]
    known = ", ".join(models)
    found = "no name" if name is None else repr(name)
    raise typer.BadParameter(f"expected one of the project's models ({known}), got {found}.", param_hint="MODEL")


def person() -> str:
    """Return who is at the keyboard, for the ledger: whose process this is, whatever the environment says."""
    number = os.getuid()
    try:
        return getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"  # a container may run as a number that has no name
