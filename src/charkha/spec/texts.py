"""The texts that a project is made of: its settings and its Python files, on the disk or as they once were."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from attrs import frozen


class Texts(Protocol):
    """Where the settings and the Python files of a project are read."""

    def has(self, file: Path) -> bool:
        """Say whether there is such a file."""
        ...

    def read(self, file: Path) -> bytes:
        """Return what is in a file. Raises OSError."""
        ...


class OnDisk:
    """The texts as they are now. noted: what was read, by path."""

    def __init__(self) -> None:
        self.noted: dict[Path, bytes] = {}

    def has(self, file: Path) -> bool:
        """Say whether there is such a file now."""
        return file.is_file()

    def read(self, file: Path) -> bytes:
        """Return what is in a file now."""
        self.noted[file] = text = file.read_bytes()
        return text

    def taken(self) -> "Taken":
        """Return what was read."""
        return Taken(dict(self.noted))


@frozen
class Taken:
    """The texts as they were when a project was loaded: those that it is made of, by path, and no others."""

    by_path: Mapping[Path, bytes]

    def has(self, file: Path) -> bool:
        """Say whether there was such a file, and the project read it."""
        return file in self.by_path

    def read(self, file: Path) -> bytes:
        """Return what was in a file. Raises FileNotFoundError for one that was not read."""
        if file not in self.by_path:
            raise FileNotFoundError(file)
        return self.by_path[file]

    def has_folder(self, folder: Path) -> bool:
        """Say whether something was read below a folder."""
        return any(folder in file.parents for file in self.by_path)

    @cached_property
    def digest(self) -> str:
        """What tells these texts from others, in 12 characters."""
        texts = [f"{file} {hashlib.sha256(text).hexdigest()}" for file, text in sorted(self.by_path.items())]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]

    def changed(self) -> list[Path]:
        """Return the files that are otherwise on the disk by now, or gone."""
        return [file for file, text in self.by_path.items() if _now(file) != text]


def _now(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
