"""The files, or tables, that a declaration's path means: it may be a glob, or a folder of files as Spark writes it."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from charkha.features.declared import DataError
from charkha.spec.sources import Files, Source


def paths_of(source: Source, files: Files, root: Path) -> list[Path]:
    """Return the files, or the folders of tables, of a source in the order of their paths. Raises DataError for none.

    root: what a path that is not absolute is relative to. A folder becomes the files in it, at any depth. What a folder
    or a glob gives and is called `.name` or `_name` is no data, unless the path calls it so.
    """
    matches = _matches(files.pattern, root)
    found = (
        matches
        if files.format in ("delta", "iceberg")
        else sorted(dict.fromkeys(each for path in matches for each in _in(path)))
    )
    if not matches:
        where = "" if Path(files.pattern).is_absolute() else f" in {root}"
        raise DataError(
            f"source {source.name!r}: no file matches {files.pattern!r}{where}. Check the path, or its data"
        )
    if not found:
        raise DataError(
            f"source {source.name!r}: there is no file of data in the folder {str(matches[0])!r}. Check the path, or "
            "its data (a name that begins with '.' or '_' is none)"
        )
    return found


def _matches(pattern: str, root: Path) -> list[Path]:
    exact = root / pattern
    if exact.exists():
        return [exact]
    anchor = Path(Path(pattern).anchor) if Path(pattern).is_absolute() else root
    called = Path(pattern).relative_to(anchor) if Path(pattern).is_absolute() else Path(pattern)
    found = anchor.glob(str(called))
    return sorted(path for path in found if _is_data(path.relative_to(anchor).parts, called.parts))


def _in(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for each in path.rglob("*"):
        if each.is_file() and _is_data(each.relative_to(path).parts):
            yield each


def _is_data(parts: Sequence[str], called: Sequence[str] = ()) -> bool:
    """Say whether no part of a path is hidden. called: the parts of a pattern, which may mean such names."""
    meant = [each for each in called if _is_hidden(each)]
    return not any(_is_hidden(part) and not any(fnmatchcase(part, each) for each in meant) for part in parts)


def _is_hidden(part: str) -> bool:
    return part.startswith((".", "_")) and part != ".." and "=" not in part  # a folder such as `_lane=4` says a column
